"""Other tools on the same endpoints: ``python -m benchmarks.probe_peers [NAME ...]``.

Each is installed into an environment of its own and asked as its documentation says (benchmarks/probe_peer_calls.py),
in the smallest setting that its documentation leaves open, with answers as long as it asks for. The known model is
SmolLM2-135M-Instruct (Q4_0) behind llama.cpp. The endpoint in question is the same file in a second process; its Q8_0;
other weights of the same shape and tokenizer; Gemma 3 270M; by ``--case`` also the same behind a reseller that renames
it, adds a system prompt and multiplies the token counts, and a short fine-tune. All requests pass a relay on loopback
that counts them. ``filiation`` asks the same endpoints.

What a tool said is kept line by line in FOLDER/probe_peers.jsonl: a run that was cut off goes on. A run that takes
longer than ``--limit`` is ended, counted apart as not finished, and not started again.

``model-equality-testing`` is a test and no client: it gets the answers of ``benchmarks.probe_real same stranger``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

from benchmarks.probe_proxy import relayed
from benchmarks.probe_real import LLAMA, RAW, load, said, same, setting
from filiation.behaviour import same_model, tokenizer
from filiation.behaviour.candidates import open_all
from filiation.behaviour.prompts import cell_of
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Answer, Call, Failure
from filiation.endpoint.replay import Replay
from filiation.endpoint.session import Session, agreed
from filiation.errors import LogError
from filiation.lab.laws import Rate
from filiation.lab.tables import table
from tests.real import children, gemma, siblings
from tests.real.servers import real_model, reseller

ROOT = Path(__file__).resolve().parents[1]
ALPHA = 0.01
OWN = "filiation"
PACKAGES: Mapping[str, tuple[str, ...]] = {
    # It imports tqdm and transformers and asks for neither.
    "model-equality-testing": (
        "model-equality-testing==0.0.2",
        "torch==2.13.0",
        "tqdm",
        "transformers==5.23.0",
    ),
    "llm-provenance-probe": ("llm-provenance-probe==0.41.0",),
    "tokenwatt-verify": ("tokenwatt-verify==0.1.1",),
    "knowlyr-modelaudit": ("knowlyr-modelaudit[blackbox]==0.4.1",),
}
LONGEST = {"llm-provenance-probe": 1}
"""The most tokens of an answer, where only the token counts are looked at."""


def installed(name: str) -> Path | None:
    """Return the interpreter of a tool's environment; None where it cannot be installed."""
    folder = ROOT / "build" / "probe-peers" / name
    stamp = folder / ".installed"
    python = folder / "bin" / "python"
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES[name]]
        if subprocess.run(command, check=False).returncode:
            return None
        stamp.touch()
    return python


def called(name: str, python: Path, given: Mapping[str, Any], limit: float | None = None) -> dict[str, Any]:
    """Ask a tool; what it says of errors, or that it ran out of its time, comes back in place of an answer."""
    # -P: modules of benchmarks/ must not stand in for packages of their names.
    command = [str(python), "-P", str(ROOT / "benchmarks" / "probe_peer_calls.py"), name]
    surroundings = {**os.environ, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    surroundings.pop("PYTHONPATH", None)
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=surroundings, start_new_session=True
    )
    try:
        out, errors = process.communicate(json.dumps(given), timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with whatever the tool started itself
        process.communicate()
        return {"not finished": f"{limit:.0f} s"}
    if process.returncode:
        return {"error": (errors.strip().splitlines() or ["nothing was said"])[-1][:200]}
    return json.loads(out.strip().splitlines()[-1])


@dataclass(frozen=True)
class Case:
    """An endpoint in question; ``kin``: what it is to the known one, in {"same", "child", "other"}."""

    name: str
    kin: str
    file: Callable[[], Path]
    sold: bool = False


CASES = (
    Case("same file", "same", same),
    Case("Q8_0", "child", lambda: siblings.requantised(GGMLQuantizationType.Q8_0)),
    Case("other weights, same tokenizer", "other", lambda: siblings.stranger(1)),
    Case("Gemma 3 270M", "other", gemma.gguf),
    Case("same file, resold", "same", same, sold=True),
    Case("fine-tune", "child", lambda: siblings.tuned(children.fine_tuned())),
)
USUAL = tuple(case.name for case in CASES[:4])


@dataclass(frozen=True)
class Reading:
    """How a tool's verdicts are read.

    Attributes:
        key: which part of its answer is the verdict.
        alarm: the verdict that it raises, ``on`` kin for which it is right; on any of ``wrong`` it is a false alarm.
            Kin in neither are shown and not judged.
    """

    key: str
    alarm: str
    on: tuple[str, ...]
    wrong: tuple[str, ...]


READINGS: Mapping[str, Reading] = {
    "knowlyr-modelaudit": Reading("verdict", "likely_derived", ("same", "child"), ("other",)),
    "tokenwatt-verify": Reading("verdict", "inconsistent", ("other",), ("same", "child")),
    OWN: Reading("same model", "contradicted", ("other",), ("same",)),
}


class Store:
    """What was said, one JSON line each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "probe_peers.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else ()
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        self.rows[row["key"]] = row
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def endpoints(
    name: str, python: Path | None, store: Store, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Ask a tool about every case, as often as is wanted, and return its rows; what is known is not asked again."""
    rows: list[dict[str, Any]] = []
    for case in (case for case in CASES if case.name in (options.case or USUAL)):
        # Questions and answers of this one are fixed: a second run would read its own cache.
        runs = 1 if name == "knowlyr-modelaudit" else options.runs
        for run in range(1, runs + 1):
            fixed = [options.own_pairs] if name == OWN else [options.limit, options.rounds, options.questions]
            key = "/".join(map(str, [name, case.name, run, *fixed]))
            if key not in store.rows:
                store.add(
                    {"key": key, "tool": name, "case": case.name, **once(name, python, case, run, options)}
                )
                print(store.rows[key], load(), flush=True)
            rows.append(store.rows[key])
    return rows


def once(name: str, python: Path | None, case: Case, run: int, options: argparse.Namespace) -> dict[str, Any]:
    """Serve both models and ask the tool once; return what it said, the requests it made and the seconds it took."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        # knowlyr-modelaudit asks four at a time.
        known = stack.enter_context(real_model(same(), "known", slots=4))
        served = stack.enter_context(real_model(case.file(), case.name.replace(" ", "-"), slots=4))
        if case.sold:
            served = stack.enter_context(reseller(served, Path(folder) / "reseller"))
        one, other = (stack.enter_context(relayed(s, longest=LONGEST.get(name))) for s in (known, served))
        began = time.monotonic()
        if python is None:
            found = own(one.served.url, other.served.url, case, run, options)
        else:
            given = {
                "reference": {"url": one.served.url, "model": one.served.model},
                "suspect": {"url": other.served.url, "model": other.served.model},
                # What it keeps does not say how many questions it asked.
                "folder": str(options.out / f"{name}-{options.questions}-cache"),
                "rounds": options.rounds,
                "questions": options.questions,
            }
            found = called(name, python, given, options.limit)
        seconds = round(time.monotonic() - began)
        return {"said": found, "requests": one.count + other.count, "seconds": seconds}


def own(known: str, asked: str, case: Case, run: int, options: argparse.Namespace) -> dict[str, Any]:
    """Ask filiation: the same model? and, the same tokenizer?"""
    ends = [
        Endpoint("reference", known, "known", "llama-server"),
        Endpoint("suspect", asked, "asked", "llama-server"),
    ]
    # Raw completions take half the time; a reseller takes conversations only.
    able = LLAMA if case.sold else RAW
    with Session(
        ends,
        budget=Budget(requests=10_000, concurrency=2),
        seed=run,
        consent=agreed,
        capabilities={"reference": able, "suspect": able},
    ) as session:
        equal = same_model.run(session, setting(run, options.own_pairs))
        candidates, unusable = open_all({"SmolLM2": str(siblings.gguf())})
        counted = tokenizer.run(session, tokenizer.Setting(candidates, unusable, "SmolLM2"))
    found = {"same model": str(equal.test.outcome), "reason": equal.test.reason, "p": equal.test.p}
    return found | {"tokenizer": said(counted), "requests": [equal.test.requests, counted.test.requests]}


def verdicts(name: str, rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a line per endpoint: what a tool said, how often, what else it said, requests and seconds a run."""
    key = READINGS[name].key if name in READINGS else ""
    lines: list[list[str]] = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = [row for row in rows if row["case"] == case]
        told = Counter(_verdict(row["said"], key) for row in mine)
        rest = {k: v for k, v in mine[0]["said"].items() if k != key}
        took = [", ".join(str(row[what]) for row in mine) for what in ("requests", "seconds")]
        lines.append([name, case, "; ".join(f"{n} {what}" for what, n in told.items()), shown(rest), *took])
    return lines


def _verdict(found: Mapping[str, Any], key: str) -> str:
    return next(
        (f"{k}: {found[k]}" for k in ("error", "not finished") if k in found), str(found.get(key, "-"))
    )


def judged(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a tool's false alarms and detections; runs that did not finish count for neither."""
    reading, kin = READINGS[name], {case.name: case.kin for case in CASES}
    done = [row for row in rows if reading.key in row["said"]]
    cells: list[str] = []
    for on in (reading.wrong, reading.on):
        those = [row["said"][reading.key] == reading.alarm for row in done if kin[row["case"]] in on]
        cells.append(f"{Rate(sum(those), len(those))}, on: {', '.join(on)}" if those else "not measured")
    return [name, f"`{reading.alarm}`", *cells, str(len(rows) - len(done))]


def shown(found: Mapping[str, Any]) -> str:
    """Return an answer in one cell."""
    return "; ".join(f"{key}: {json.dumps(value)}" for key, value in found.items()).replace('"', "")


class Listening:
    """Passes a log's answers on and keeps those to the probes of a run."""

    def __init__(self, log: Path) -> None:
        self.replay = Replay(log)
        self.records = self.replay.records
        self.allowance = self.replay.allowance
        self.heard: list[tuple[Call, Answer | Failure]] = []

    def ask(self, calls: list[Call]) -> tuple[Answer | Failure, ...]:
        """Answer from the log."""
        answers = self.replay.ask(calls)
        self.heard += zip(calls, answers, strict=True)
        return answers


def recorded(log: Path, pairs: int) -> list[dict[str, list[tuple[str, str]]]]:
    """Return each run's answers by side, with the kind of question for the prompt, as far as the log goes."""
    listening, runs = Listening(log), []
    for seed in range(1, 10_000):
        listening.heard = []
        try:
            same_model.run(listening, setting(seed, pairs))  # type: ignore[arg-type]
        except LogError:
            break
        run: dict[str, list[tuple[str, str]]] = {"reference": [], "suspect": []}
        for call, answer in listening.heard:
            if isinstance(answer, Answer):
                run[call.role].append((cell_of(str(call.ask.prompt)) or "", answer.text))
        runs.append(run)
    return runs


def equality(python: Path, options: argparse.Namespace) -> list[list[str]]:
    """Hand the recorded runs to the two-sample test."""
    name = "model-equality-testing"
    rows: list[list[str]] = []
    for case in ("same", "stranger"):
        log = options.logs / f"{case}.jsonl"
        if not log.exists():
            rows.append([name, case, f"not run: no {log}; run benchmarks.probe_real {case} first", "0"])
            continue
        runs = recorded(log, options.pairs)
        found = called(name, python, {"runs": runs, "characters": 16, "draws": 1000})
        if "p" not in found:
            rows.append([name, case, shown(found), "0"])
            continue
        ps = found["p"]
        below = Rate(sum(p <= ALPHA for p in ps), len(ps))
        said = f"rejected at {ALPHA}: {below}; p printed as 0: {sum(p == 0 for p in ps)}"
        rows.append([name, case, said, f"{sum(len(s) for r in runs for s in r.values()) // len(runs)} a run"])
    return rows


def main() -> None:
    """Ask the tools that were named, or all, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*PACKAGES, OWN]
    parser.add_argument("names", nargs="*", choices=[*names, []], default=names)
    known = [case.name for case in CASES]
    parser.add_argument(
        "--case", action="append", default=[], choices=known, help="only this one; repeatable"
    )
    parser.add_argument("--logs", type=Path, default=Path("build/bench-probe"))
    parser.add_argument("--out", type=Path, default=Path("build/bench-probe"), help="where answers are kept")
    parser.add_argument("--pairs", type=int, default=20, help="pairs of a run in the logs")
    parser.add_argument("--own-pairs", type=int, default=60, help="pairs of a run of filiation's")
    parser.add_argument(
        "--runs", type=int, default=3, help="on each endpoint, where a run draws its questions"
    )
    parser.add_argument(
        "--rounds", type=int, default=10, help="of tokenwatt-verify: its verdict takes 20 pairs"
    )
    parser.add_argument("--questions", type=int, default=8, help="of knowlyr-modelaudit, out of its 20")
    parser.add_argument("--limit", type=float, default=900.0, help="seconds that a run may take")
    options = parser.parse_args()
    store, alarms, plain, lines = Store(options.out), list[list[str]](), list[list[str]](), list[list[str]]()
    for name in options.names:
        python = None if name == OWN else installed(name)
        if python is None and name != OWN:
            plain.append([name, "-", "not run: it could not be installed", "0"])
        elif python is not None and name == "model-equality-testing":
            plain += equality(python, options)
        else:
            rows = endpoints(name, python, store, options)
            lines += verdicts(name, rows)
            alarms += [judged(name, rows)] if name in READINGS else []
    if plain:
        print(table(["tool", "endpoint in question", "what it says", "requests"], plain))
    if lines:
        print(table(["tool", "endpoint", "verdict", "first run, beside it", "requests", "seconds"], lines))
    if alarms:
        print(table(["tool", "alarm", "false alarms", "detections", "not finished"], alarms))


if __name__ == "__main__":
    main()
