"""The probe's tests on real models behind llama.cpp: ``python -m benchmarks.probe_real SECTION ... [options]``.

``same``     SmolLM2-135M-Instruct against itself in two server processes, over and over: false alarms of the exact
             tests at alpha 0.01. The reference is asked twice, as in every run of the test.
``stranger`` the same against a model of the same shape and tokenizer with other weights: detections.
``layer``    output layer and tokenizer: itself, Q8_0, Q4_0 and the stranger against the published file.
``derived``  a short fine-tune (made by torch, environment ``lab``: ``tests.real.children``) and the stranger, each
             against SmolLM2 as parent and a second stranger as control.

Needs the extra ``serve``. A line is printed after every run, so that a run that is stopped has shown what it measured.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gguf import GGMLQuantizationType

from filiation import checkpoint
from filiation.behaviour import derived, output_layer, same_model, tokenizer
from filiation.behaviour.candidates import open_all
from filiation.behaviour.heads import of_checkpoint
from filiation.behaviour.records import Found
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.session import Session, agreed
from filiation.evidence import Outcome
from filiation.lab.laws import Rate
from filiation.lab.tables import table
from tests.real import siblings
from tests.real.servers import real_model

ALPHA = 0.01


@contextmanager
def asked(models: Mapping[str, Path], seed: int = 1) -> Generator[Session]:
    """Serve a model for each role, every one in a process of its own, and ask them two requests at a time."""
    with ExitStack() as stack:
        endpoints: list[Endpoint] = []
        for role, file in models.items():
            served = stack.enter_context(real_model(file, role, slots=1))
            endpoints.append(Endpoint(role, served.url, served.model, "llama-server"))
        budget = Budget(requests=100_000, concurrency=2)
        yield stack.enter_context(Session(endpoints, budget=budget, seed=seed, consent=agreed))


def load() -> str:
    """Return the machine's load and the time."""
    return f"load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%H:%M:%S}"


def compared(suspect: Path, options: argparse.Namespace) -> None:
    """Run the test of the same model many times, each with prompts of its own."""
    rejected: Counter[str] = Counter()
    requests = done = 0
    with asked({"suspect": suspect, "reference": siblings.gguf()}) as session:
        for seed in range(options.first, options.first + options.runs):
            setting = same_model.Setting(
                seed, pairs=options.pairs, most=options.pairs, languages=("en",), alpha=ALPHA
            )
            found = same_model.run(session, setting)
            p = next(e.p for e in found.evidence if e.id.endswith("/by=permutation"))
            done, requests = done + 1, requests + found.test.requests
            rejected["permutation alone"] += p is not None and p <= ALPHA
            rejected["betting alone"] += 10 ** found.test.figures["wealth"][-1][1] >= 1 / ALPHA
            rejected["both, level shared"] += found.test.p is not None and found.test.p <= ALPHA
            rejected["contradicted"] += found.test.outcome is Outcome.CONTRADICTED
            rejected["supported"] += found.test.outcome is Outcome.SUPPORTED
            print(
                f"run {done}: {found.test.outcome} ({found.test.reason}), permutation p {p}, {load()}",
                flush=True,
            )
    rows = [[name, str(Rate(count, done))] for name, count in rejected.items()]
    print("\n".join(table(["rule", f"of {done} runs of {options.pairs} pairs"], rows)))
    print(f"{requests} requests")


def layers(options: argparse.Namespace) -> None:
    """Hold the published file's output layer and tokenizer against what several files answer."""
    parent = checkpoint.open(str(siblings.gguf()))
    head = of_checkpoint(parent, "SmolLM2")
    candidates, unusable = open_all({"SmolLM2 (file)": str(siblings.gguf())})
    rows: list[list[str]] = []
    for name, file in (
        ("itself", siblings.gguf()),
        ("Q8_0", siblings.requantised(GGMLQuantizationType.Q8_0)),
        ("Q4_0", siblings.requantised(GGMLQuantizationType.Q4_0)),
        ("stranger", siblings.stranger(1)),
    ):
        with asked({"suspect": file}) as session:
            layer = output_layer.run(session, output_layer.Setting(head))
            found = tokenizer.run(session, tokenizer.Setting(candidates, unusable, "SmolLM2 (file)"))
        below = {e.name: e.value for e in layer.test.effect}.get("log10_below_best_control")
        held_out = layer.test.figures["residuals"][0]["held_out"]
        rows.append([name, said(layer), f"{held_out:.2g}", f"{below:.1f}", said(found)])
        print(rows[-1], load(), flush=True)
    heads = ["suspect", "output layer", "held-out 1-R2", "powers of ten below the best control", "tokenizer"]
    print("\n".join(table(heads, rows)))


def descent(options: argparse.Namespace) -> None:
    """Ask whether a fine-tune, and a stranger, continue as SmolLM2 does, beyond another model."""
    suspects = {"stranger": siblings.stranger(1)}
    if options.tuned is not None:
        suspects = {"fine-tune": siblings.tuned(options.tuned), **suspects}
    rows: list[list[str]] = []
    for name, file in suspects.items():
        models = {"suspect": file, "parent": siblings.gguf(), "control-1": siblings.stranger(2)}
        with asked(models) as session:
            setting = derived.Setting(
                1, parents=("parent",), controls=("control-1",), prompts=options.prompts
            )
            found = derived.run(session, setting)
        rows.append([name, said(found), f"{found.test.p}", str(found.test.requests)])
        print(rows[-1], load(), flush=True)
    print("\n".join(table(["suspect", "derived", "p", "requests"], rows)))


def said(found: Found) -> str:
    """Return a test's outcome, with its reason if there is one."""
    return str(found.test.outcome) + (f" ({found.test.reason})" if found.test.reason else "")


def main() -> None:
    """Print the sections that were named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sections = {
        "same": lambda o: compared(siblings.gguf(), o),
        "stranger": lambda o: compared(siblings.stranger(1), o),
        "layer": layers,
        "derived": descent,
    }
    parser.add_argument("sections", nargs="+", choices=sections)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run; the others follow")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument(
        "--tuned", type=Path, help="folder of a fine-tune: tests.real.children.fine_tuned() makes one"
    )
    options = parser.parse_args()
    for section in options.sections:
        began = time.monotonic()
        print(f"{section}: {load()}", flush=True)
        sections[section](options)
        print(f"{section}: {time.monotonic() - began:.0f} s, {load()}\n", flush=True)


if __name__ == "__main__":
    main()
