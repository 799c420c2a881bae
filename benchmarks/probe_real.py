"""The probe's tests on real models behind llama.cpp: ``python -m benchmarks.probe_real SECTION ... [options]``.

``same``     SmolLM2-135M-Instruct (Q4_0) against itself in two server processes, over and over: false alarms of the
             exact tests at alpha 0.01, prompts as raw completions.
``stranger`` the same against a model of the same shape and tokenizer with other weights: detections.
``layer``    output layer and tokenizer: itself, Q8_0, Q4_0, a short fine-tune and the stranger against the published
             file. Controls: Gemma 3 270M's output layer over the tokens both have, and the file's own rows permuted.
``derived``  the fine-tune, strangers and Gemma 3 270M, each against SmolLM2 as parent and others as controls.

Needs the extra ``serve``; torch where the fine-tune is not there yet: the environment of ``make test-real`` has both.
A line is printed after every run, so that a run that is stopped has shown what it measured. The exchanges of ``same``
and ``stranger`` are kept; benchmarks/probe_peers.py hands them to another test.
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
from filiation.endpoint.model import Capabilities
from filiation.endpoint.session import Session, agreed
from filiation.evidence import Outcome
from filiation.lab.laws import Rate
from filiation.lab.tables import table
from tests.real import children, gemma, siblings
from tests.real.servers import real_model

ALPHA = 0.01
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


def same() -> Path:
    """Return SmolLM2-135M-Instruct in Q4_0, which llama.cpp is fastest with."""
    return siblings.requantised(GGMLQuantizationType.Q4_0)


def setting(seed: int, pairs: int) -> same_model.Setting:
    """Return the setting of a run: English prompts, the language that SmolLM2 knows."""
    return same_model.Setting(seed, pairs=pairs, most=pairs, languages=("en",), alpha=ALPHA)


def layers(options: argparse.Namespace) -> None:
    """Hold the published file's output layer and tokenizer against what several files answer."""
    parent = checkpoint.open(str(siblings.gguf()))
    head = of_checkpoint(parent, "SmolLM2")
    controls = (of_checkpoint(checkpoint.open(str(gemma.gguf())), "Gemma 3"),)
    candidates, unusable = open_all({"SmolLM2 (file)": str(siblings.gguf())})
    rows: list[list[str]] = []
    for name, file in (
        ("itself", siblings.gguf()),
        ("Q8_0", siblings.requantised(GGMLQuantizationType.Q8_0)),
        ("Q4_0", siblings.requantised(GGMLQuantizationType.Q4_0)),
        ("fine-tune", siblings.tuned(children.fine_tuned())),
        ("stranger", siblings.stranger(1)),
    ):
        with asked({"suspect": file}, LLAMA) as session:
            layer = output_layer.run(session, output_layer.Setting(head, controls))
            found = tokenizer.run(session, tokenizer.Setting(candidates, unusable, "SmolLM2 (file)"))
        below = {e.name: e.value for e in layer.test.effect}["log10_below_best_control"]
        held_out = {row["name"]: row["held_out"] for row in layer.test.figures["residuals"]}
        own, other = held_out.pop("SmolLM2"), held_out.pop("Gemma 3")
        rows.append([name, said(layer), f"{own:.2g}", f"{other:.2g}", f"{min(held_out.values()):.2g}"])
        rows[-1] += [f"{below:.1f}", said(found), str(layer.test.requests + found.test.requests)]
        print(rows[-1], load(), flush=True)
    heads = ["suspect", "output layer", "held-out 1-R2", "Gemma 3's head", "best row-permuted head"]
    print(table([*heads, "powers of ten below the best", "tokenizer", "requests"], rows))


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
    sections = {
        "same": lambda o: compared("same", same(), o),
        "stranger": lambda o: compared("stranger", siblings.stranger(1), o),
        "layer": layers,
        "derived": descent,
    }
    parser.add_argument("sections", nargs="+", choices=sections)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run; the others follow")
    parser.add_argument("--pairs", type=int, default=20)
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
