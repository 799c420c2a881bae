"""Other tools on the same endpoints: ``python -m benchmarks.probe_peers [NAME ...]``.

Each is installed into an environment of its own and asked as its documentation says (benchmarks/probe_peer_calls.py).
The known model is SmolLM2-135M-Instruct (Q4_0) behind llama.cpp. The endpoint in question is the same file in a second
process; the same behind a reseller that renames it, adds a system prompt and multiplies the token counts; a short
fine-tune; other weights of the same shape and tokenizer; Gemma 3 270M. All requests pass a counter on loopback, which
also bounds the length of an answer.

``model-equality-testing`` is a test and no client: it gets the answers of ``benchmarks.probe_real same stranger``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.probe_real import same, setting
from filiation.behaviour import same_model
from filiation.behaviour.prompts import cell_of
from filiation.endpoint.model import Answer, Call, Failure
from filiation.endpoint.replay import Replay
from filiation.errors import LogError
from filiation.lab.laws import Rate
from filiation.lab.tables import table
from tests.real import children, gemma, siblings
from tests.real.servers import Served, real_model, reseller

ROOT = Path(__file__).resolve().parents[1]
ALPHA = 0.01
ROUNDS = 10
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
LONGEST = {"knowlyr-modelaudit": 200, "tokenwatt-verify": 64, "llm-provenance-probe": 1}
"""The most tokens of an answer; the tools ask for up to 600, which a processor takes minutes for."""


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


def called(name: str, python: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Ask a tool; what it says of errors comes back in place of an answer."""
    done = subprocess.run(
        # -P: modules of benchmarks/ must not stand in for packages of their names.
        [str(python), "-P", str(ROOT / "benchmarks" / "probe_peer_calls.py"), name],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["nothing was said"])[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


class Counter(ThreadingHTTPServer):
    """Passes requests on, counts those that ask for an answer, and bounds how long that may be."""

    daemon_threads = True

    def __init__(self, behind: Served, longest: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind, self.longest, self.count = behind, longest, 0


class _Passing(BaseHTTPRequestHandler):
    server: Counter

    def do_GET(self) -> None:
        self._pass(None)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.count += 1
        body["max_tokens"] = min(body.get("max_tokens") or self.server.longest, self.server.longest)
        self._pass(json.dumps(body).encode())

    def _pass(self, body: bytes | None) -> None:
        url = self.server.behind.url.removesuffix("/v1") + self.path
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=600) as reply:
                status, kind, content = reply.status, reply.headers["Content-Type"], reply.read()
        except urllib.error.HTTPError as error:
            status, kind, content = error.code, error.headers["Content-Type"], error.read()
        self.send_response(status)
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def counted(behind: Served, longest: int) -> Generator[tuple[dict[str, str], Counter]]:
    """Put a counter before a server; gives what a tool needs to ask it."""
    server = Counter(behind, longest)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield {"url": f"http://127.0.0.1:{server.server_port}/v1", "model": behind.model}, server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Case:
    """An endpoint in question."""

    name: str
    file: Path
    sold: bool = False


def cases(wanted: Sequence[str]) -> list[Case]:
    """Return the endpoints in question."""
    known = (
        Case("same", same()),
        Case("same, resold", same(), sold=True),
        Case("fine-tune", siblings.tuned(children.fine_tuned())),
        Case("stranger, same tokenizer", siblings.stranger(1)),
        Case("Gemma 3 270M", gemma.gguf()),
    )
    return [case for case in known if not wanted or case.name in wanted]


def endpoints(name: str, python: Path, options: argparse.Namespace) -> list[list[str]]:
    """Ask a tool about every case and return its rows."""
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder, real_model(same(), "known") as known:
        for number, case in enumerate(cases(options.case)):
            with ExitStack() as stack:
                served = stack.enter_context(real_model(case.file, f"asked-{number}"))
                if case.sold:
                    served = stack.enter_context(reseller(served, Path(folder) / "reseller"))
                reference, one = stack.enter_context(counted(known, LONGEST[name]))
                suspect, other = stack.enter_context(counted(served, LONGEST[name]))
                given = {
                    "reference": reference,
                    "suspect": suspect,
                    "folder": folder,
                    "rounds": options.rounds,
                }
                found = called(name, python, given)
            rows.append([name, case.name, shown(found), str(one.count + other.count)])
            print(rows[-1], flush=True)
    return rows


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
    """Ask the tools that were named, or all, and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*PACKAGES, []], default=list(PACKAGES))
    parser.add_argument("--case", action="append", default=[], help="only this endpoint; repeatable")
    parser.add_argument("--logs", type=Path, default=Path("build/bench-probe"))
    parser.add_argument("--pairs", type=int, default=20, help="pairs of a run in the logs")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of tokenwatt-verify")
    options = parser.parse_args()
    rows: list[list[str]] = []
    for name in options.names:
        python = installed(name)
        if python is None:
            rows.append([name, "-", "not run: it could not be installed", "0"])
        elif name == "model-equality-testing":
            rows += equality(python, options)
        else:
            rows += endpoints(name, python, options)
        print(table(["tool", "endpoint in question", "what it says", "requests"], rows), flush=True)


if __name__ == "__main__":
    main()
