"""The probe's tests on real models behind llama.cpp: ``python -m benchmarks.probe_real SECTION ... [options]``.

``same``     SmolLM2-135M-Instruct (Q4_0) against itself in two server processes, over and over: false alarms of the
             exact tests at alpha 0.01, prompts as raw completions.
``alike``    the same once, with the model of the next line as control, for as long as the test goes on: support.
``stranger`` the same against a model of the same shape and tokenizer with other weights: detections.
``swap``     the reference's own server behind a relay (benchmarks/probe_proxy.py) that sends a share of the requests to
             another real model: detections, and the pairs that they took. Rows are kept in ``swap.jsonl`` by the logs
             and not asked again: a run that was cut off goes on; remove the file after a change of the test.
``layer``    output layer and tokenizer of the published file, Q8_0, Q4_0, a short fine-tune and the stranger, each held
             against the parent in float and against its own file. Controls: Gemma 3 270M's output layer over the tokens
             both have, and the candidate's own rows permuted.
``derived``  the fine-tune, strangers and Gemma 3 270M, each against SmolLM2 as parent and others as controls.

Needs the extra ``serve``; torch where the fine-tune is not there yet: the environment of ``make test-real`` has both.
A line is printed after every run, so that a run that is stopped has shown what it measured. The exchanges of ``same``
and ``stranger`` are kept; benchmarks/probe_peers.py hands them to another test.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

from benchmarks.probe_proxy import relayed
from filiation import checkpoint
from filiation.behaviour import derived, output_layer, same_model, tokenizer
from filiation.behaviour.candidates import open_all
from filiation.behaviour.heads import of_checkpoint
from filiation.behaviour.records import Found
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Capabilities
from filiation.endpoint.session import Session, agreed
from filiation.evidence import Outcome
from filiation.lab.laws import Rate
from filiation.lab.tables import table
from tests.real import children, gemma, siblings
from tests.real.servers import real_model

ALPHA = 0.01
GEMMA = "Gemma 3"
# What tests/real/test_probe.py finds out about this server; finding it out every time would be most of the requests.
LLAMA = Capabilities(chat=True, completions=True, usage=True, top_logprobs=-1)
RAW = Capabilities(chat=False, completions=True, usage=True)
"""Of a server that takes raw completions only: prompts without the template's tokens take half the time."""


@contextmanager
def asked(models: Mapping[str, Path], able: Capabilities, log: Path | None = None) -> Generator[Session]:
    """Serve a model for each role, every one in a process of its own, and ask them two requests at a time."""
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
    with ExitStack() as stack:
        endpoints: list[Endpoint] = []
        for role, file in models.items():
            served = stack.enter_context(real_model(file, role, slots=1))
            endpoints.append(Endpoint(role, served.url, served.model, "llama-server"))
        session = Session(
            endpoints,
            budget=Budget(requests=100_000, concurrency=2),
            seed=1,
            consent=agreed,
            log=log,
            capabilities=dict.fromkeys(models, able),
        )
        yield stack.enter_context(session)


def load() -> str:
    """Return the machine's load and the time."""
    return f"load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%H:%M:%S}"


def compared(name: str, suspect: Path, options: argparse.Namespace) -> None:
    """Run the test of the same model many times, each with prompts of its own."""
    rejected: Counter[str] = Counter()
    requests = done = 0
    models = {"suspect": suspect, "reference": same()}
    with asked(models, RAW, options.logs / f"{name}.jsonl") as session:
        for seed in range(options.first, options.first + options.runs):
            found = same_model.run(session, setting(seed, options.pairs))
            p = next(e.p_value for e in found.evidence if e.id.endswith("/by=permutation"))
            done, requests = done + 1, requests + found.test.requests
            rejected["permutation alone"] += p is not None and p <= ALPHA
            rejected["betting alone"] += 10 ** found.test.figures["wealth"][-1][1] >= 1 / ALPHA
            rejected["both, level shared"] += found.test.p is not None and found.test.p <= ALPHA
            rejected["contradicted"] += found.test.outcome is Outcome.CONTRADICTED
            rejected["supported"] += found.test.outcome is Outcome.SUPPORTED
            print(
                f"run {done}: {said(found)}, p {found.test.p}, permutation p {p}, {dict(rejected)}, {load()}",
                flush=True,
            )
    rows = [[name, str(Rate(count, done))] for name, count in rejected.items()]
    print(table(["rule", f"of {done} runs of {options.pairs} pairs"], rows))
    print(f"{requests} requests")


def alike(options: argparse.Namespace) -> None:
    """Ask two equal endpoints and a control until the test may speak for the same model, or for ``--most`` pairs."""
    models = {"suspect": same(), "reference": same(), "control-1": siblings.stranger(1)}
    with asked(models, RAW) as session:
        how = replace(setting(options.first, options.pairs), controls=("control-1",), most=options.most)
        test = same_model.run(session, how).test
    agreed_on = {e.name: f"{e.value:.2f}" for e in test.effect if e.name.startswith("agreement_")}
    facts = {
        "outcome": f"{test.outcome}" + (f" ({test.reason})" if test.reason else ""),
        "pairs": test.figures["pairs"],
        "log10 e for the same model": f"{test.figures['alike_log10_e']:.2f}",
        "on telling prompts": test.figures["alike"]["control-1"]["prompts"],
        "smallest exchanged share that would have been seen": test.smallest_effect
        and test.smallest_effect.value,
        "p": f"{test.p:.2g}",
        **agreed_on,
        "requests": test.requests,
    }
    print(table(["alike", ""], [[name, str(value)] for name, value in facts.items()]))


def swapped(options: argparse.Namespace) -> None:
    """Exchange a share of the answers of one of two equal endpoints for another model's, and run the test."""
    store = options.logs / "swap.jsonl"
    store.parent.mkdir(parents=True, exist_ok=True)
    lines = store.read_text(encoding="utf-8").splitlines() if store.is_file() else ()
    known: dict[str, dict[str, Any]] = {entry["key"]: entry for entry in map(json.loads, lines)}
    others = {"stranger": lambda: siblings.stranger(1), GEMMA: gemma.gguf}
    taken: list[dict[str, Any]] = []
    for seed in range(options.first, options.first + options.runs):
        for share in options.share:
            fixed = ["swap", options.other, share, seed, options.pairs, options.most]
            key = "/".join(map(str, fixed))
            if key not in known:
                entry = {"key": key, **exchanged(others[options.other](), share, seed, options)}
                with store.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
                known[key] = entry
            taken.append(known[key])
            print(taken[-1], load(), flush=True)
    rows = [_share(share, [row for row in taken if row["share"] == share]) for share in options.share]
    heads = ["exchanged", "contradicted", "the bet won", "after pairs", "agreement", "p", "other outcomes"]
    print(table([*heads, "requests"], rows))


def exchanged(other: Path, share: float, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run the test once against a relay in front of the reference's own server; return what came out of it."""
    with ExitStack() as stack:
        true = stack.enter_context(real_model(same(), "reference", slots=1))
        away = stack.enter_context(real_model(other, "other", slots=1))
        relay = stack.enter_context(relayed(true, other=away, share=share, seed=seed))
        ends = [
            Endpoint(r, s.url, s.model, "llama-server")
            for r, s in (("suspect", relay.served), ("reference", true))
        ]
        budget = Budget(requests=100_000, concurrency=2)
        able = {end.role: RAW for end in ends}
        session = Session(ends, budget=budget, seed=seed, consent=agreed, capabilities=able)
        how = replace(setting(seed, options.pairs), most=options.most, settle=False)
        found = same_model.run(stack.enter_context(session), how)
        sent = [relay.elsewhere, relay.count]
    effects = {e.name: e.value for e in found.test.effect}
    return {
        "share": share,
        "sent": sent,
        "outcome": said(found),
        "p": found.test.p,
        "crossed": found.test.figures["crossed"],
        "pairs": found.test.figures["pairs"],
        "agreement": [effects["agreement_suspect"], effects["agreement_itself"]],
        "requests": found.test.requests,
    }


def _share(share: float, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    contradicted = sum(row["outcome"] == "contradicted" for row in rows)
    won = [row["crossed"] for row in rows if row["crossed"]]
    agreed_on = ", ".join("{:.2f} / {:.2f}".format(*row["agreement"]) for row in rows)
    rest = Counter(row["outcome"] for row in rows if row["outcome"] != "contradicted")
    return [
        f"{share:.0%}",
        str(Rate(contradicted, len(rows))),
        f"{len(won)} of {len(rows)}",
        ", ".join(map(str, won)) or "-",
        agreed_on,
        ", ".join(f"{row['p']:.2g}" for row in rows),
        "; ".join(f"{n} {what}" for what, n in rest.items()) or "-",
        ", ".join(str(row["requests"]) for row in rows),
    ]


def same() -> Path:
    """Return SmolLM2-135M-Instruct in Q4_0, which llama.cpp is fastest with."""
    return siblings.requantised(GGMLQuantizationType.Q4_0)


def setting(seed: int, pairs: int) -> same_model.Setting:
    """Return the setting of a run: English prompts, the language that SmolLM2 knows."""
    return same_model.Setting(seed, pairs=pairs, most=pairs, languages=("en",), alpha=ALPHA)


def layers(options: argparse.Namespace) -> None:
    """Hold the output layers of the parent in float and of each file itself against what the file answers."""
    controls = (of_checkpoint(checkpoint.open(str(gemma.gguf())), GEMMA),)
    parent = of_checkpoint(checkpoint.open(str(children.base())), "the parent, in float")
    candidates, unusable = open_all({"SmolLM2 (file)": str(siblings.gguf())})
    rows: list[list[str]] = []
    for name, file in (
        ("parent (Q4_1)", siblings.gguf()),
        ("Q8_0", siblings.requantised(GGMLQuantizationType.Q8_0)),
        ("Q4_0", siblings.requantised(GGMLQuantizationType.Q4_0)),
        ("fine-tune (Q8_0)", siblings.tuned(children.fine_tuned())),
        ("stranger (Q8_0)", siblings.stranger(1)),
    ):
        own = of_checkpoint(checkpoint.open(str(file)), "its own file")
        with asked({"suspect": file}, LLAMA) as session:
            spelt = tokenizer.run(session, tokenizer.Setting(candidates, unusable, "SmolLM2 (file)"))
            for head in (parent, own):
                layer = output_layer.run(session, output_layer.Setting(head, controls))
                rows.append([name, head.name, said(layer), *residuals(layer, head.name), said(spelt)])
                rows[-1].append(f"{layer.test.requests} + {spelt.test.requests}")
                print(rows[-1], load(), flush=True)
    heads = [
        "served",
        "candidate",
        "output layer",
        "held-out 1-R2",
        "nats",
        f"{GEMMA}'s head",
        "best permuted",
    ]
    print(table([*heads, "powers of ten below the best", "tokenizer", "requests"], rows))


def residuals(layer: Found, name: str) -> list[str]:
    """Return the candidate's held-out residual beside those of the controls, and how far below the best it lies."""
    below = {e.name: e.value for e in layer.test.effect}["log10_below_best_control"]
    found = {row["name"]: row for row in layer.test.figures["residuals"]}
    own, other = found.pop(name), found.pop(GEMMA)
    shown = [own["held_out"], own["sd_nats"], other["held_out"], min(r["held_out"] for r in found.values())]
    return [*(f"{value:.2g}" for value in shown), f"{below:.1f}"]


def descent(options: argparse.Namespace) -> None:
    """Ask whether a fine-tune, and models that do not come from it, continue as SmolLM2 does, beyond controls."""
    tuned, other, noise = siblings.tuned(children.fine_tuned()), gemma.gguf(), siblings.stranger(2)
    rows: list[list[str]] = []
    for name, suspect, controls in (
        ("fine-tune", tuned, {"Gemma 3": other, "stranger 2": noise}),
        ("stranger 1", siblings.stranger(1), {"Gemma 3": other, "stranger 2": noise}),
        ("Gemma 3", other, {"fine-tune": tuned, "stranger 2": noise}),
        ("Gemma 3, no control that writes English", other, {"stranger 2": noise}),
    ):
        roles = {f"control-{n}": file for n, file in enumerate(controls.values(), 1)}
        with asked({"suspect": suspect, "parent": siblings.gguf(), **roles}, RAW) as session:
            how = derived.Setting(1, parents=("parent",), controls=tuple(roles), prompts=options.prompts)
            found = derived.run(session, how)
        agreed_on = ", ".join(f"{e.value:.2f}" for e in found.test.effect)
        rows.append([name, ", ".join(controls), agreed_on, said(found), f"{found.test.p:.2g}"])
        rows[-1].append(str(found.test.requests))
        print(rows[-1], load(), flush=True)
    heads = ["suspect", "controls", "agreement with parent, controls", "derived from SmolLM2", "largest p"]
    print(table([*heads, "requests"], rows))


def said(found: Found) -> str:
    """Return a test's outcome, with its reason if there is one."""
    return str(found.test.outcome) + (f" ({found.test.reason})" if found.test.reason else "")


def main() -> None:
    """Print the sections that were named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections: dict[str, Callable[[argparse.Namespace], None]] = {
        "same": lambda o: compared("same", same(), o),
        "alike": alike,
        "stranger": lambda o: compared("stranger", siblings.stranger(1), o),
        "swap": swapped,
        "layer": layers,
        "derived": descent,
    }
    parser.add_argument("sections", nargs="+", choices=sections)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run; the others follow")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--most", type=int, default=600, help="pairs that `swap` and `alike` may use")
    parser.add_argument(
        "--share", type=float, nargs="*", default=[1.0, 0.5, 0.25], help="exchanged, of `swap`"
    )
    parser.add_argument(
        "--other", choices=("stranger", GEMMA), default="stranger", help="who answers, of `swap`"
    )
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument(
        "--logs",
        type=Path,
        default=Path("build/bench-probe"),
        help="where the logs of `same` and `stranger` go",
    )
    options = parser.parse_args()
    for section in options.sections:
        began = time.monotonic()
        print(f"{section}: {load()}", flush=True)
        sections[section](options)
        print(f"{section}: {time.monotonic() - began:.0f} s, {load()}\n", flush=True)


if __name__ == "__main__":
    main()
