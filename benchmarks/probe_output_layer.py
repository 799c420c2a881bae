"""The output layer identified from log-probabilities: ``python -m benchmarks.probe_output_layer [--served]``.

The head is SmolLM2-135M-Instruct's (pinned wheel); controls are its rows in other orders, the token embedding of
all-MiniLM-L6-v2 over the tokens both have, and made heads of the same width with the same direction of token frequency.
``--served`` asks the real model behind llama.cpp's server over HTTP (extra ``serve``), as ``filiation probe`` does.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filiation import checkpoint
from filiation.behaviour import identity, output_layer, tokenizer
from filiation.behaviour.candidates import shipped_candidates
from filiation.behaviour.heads import Head, of_checkpoint, of_matrix
from filiation.behaviour.regression import regress
from filiation.endpoint.model import Asker
from tests.behaviour.asker import Scripted
from tests.behaviour.scripted import FULL, IDS, Layered
from tests.real import fetch


def with_frequencies(head: Head, seed: int) -> Head:
    """Return a made head of the same size that shares the direction in which frequent tokens lie, and nothing else."""
    everything = np.concatenate([head.rows(ids) for ids in np.array_split(np.arange(head.size), 16)])
    frequency = everything @ everything.mean(0)
    frequency = (frequency - frequency.mean()) / frequency.std()
    draw = np.random.default_rng(seed)
    matrix = draw.standard_normal(everything.shape) * everything.std()
    matrix += np.outer(frequency, draw.standard_normal(head.width)) * everything.std()
    return of_matrix(f"made-{seed}", matrix, vocabulary=head.vocabulary, gain=head.gain)


def report(name: str, asker: Asker, head: Head, controls: Sequence[Head]) -> None:
    """Run the test and print its residuals."""
    start = time.perf_counter()
    found = output_layer.run(asker, output_layer.Setting(head, tuple(controls)))
    if "residuals" not in found.test.figures:
        print(f"{name}: {found.test.outcome} ({found.test.reason})")
        return
    rows = found.test.figures["residuals"]
    own = rows[0]["held_out"]
    by_kind: dict[str, float] = {}
    for row in rows[1:]:
        by_kind[row["name"]] = row["held_out"]
    shown = ", ".join(f"{n} {v:.3g}" for n, v in by_kind.items())
    best = min(by_kind.values())
    ellipse = found.test.figures["ellipse"]
    print(
        f"{name}: {found.test.outcome}; held-out 1-R2 {own:.3g} (sd {rows[0]['sd_nats']:.2g} nats), controls {shown};"
        f" 10^{math.log10(best / own):.1f} below the best; noise floor {found.test.figures['noise_floor']:.2g};"
        f" {found.test.requests} requests; {time.perf_counter() - start:.1f} s"
    )
    if ellipse is not None:
        ratios = ellipse["ratios"]
        print(
            f"  |x|^2/d {min(ratios):.4f} to {max(ratios):.4f}, with a permuted gain {ellipse['control']:.4f}"
        )


def simulated(head: Head, controls: Sequence[Head]) -> None:
    """The head in numpy, the transport faked: full precision, noise, rounding, changed weights, another model."""
    report("full precision", Scripted({"suspect": Layered(head)}, FULL), head, controls)
    report(
        "batches of 128 ids, noise 0.01",
        Scripted({"suspect": Layered(head, noise=0.01)}, IDS),
        head,
        controls,
    )
    report("rounded to 4 decimals", Scripted({"suspect": Layered(head, digits=4)}, FULL), head, controls)
    other = with_frequencies(head, 99)
    report("another model", Scripted({"suspect": Layered(other)}, FULL), head, controls)
    everything = np.concatenate([head.rows(ids) for ids in np.array_split(np.arange(head.size), 16)])
    for change in (1e-4, 1e-3, 1e-2, 5e-2, 0.2, 0.5):
        noise = np.random.default_rng(3).standard_normal(everything.shape)
        moved = of_matrix("moved", everything + change * everything.std() * noise, gain=head.gain)
        moved = replace(moved, vocabulary=head.vocabulary)
        report(f"weights changed by {change:g}", Scripted({"suspect": Layered(moved)}, FULL), head, ())


def in_sample(head: Head) -> None:
    """The in-sample residuals of the study, on the same counts of tokens."""
    values = Layered(head).logprobs("a prompt")
    order = np.random.default_rng(7).permutation(head.size)
    from filiation.behaviour.heads import permuted

    for n in (600, 700, 1000, 2000, 5000):
        fit, test = order[:n], order[n : n + 500]
        rows = [
            regress(h, fit, values[fit, None], test, values[test, None]).in_sample
            for h in (head, permuted(head, 1))
        ]
        print(f"in-sample 1-R2 on {n} tokens: true head {rows[0]:.2g}, rows permuted {rows[1]:.3f}")


def served(head: Head, controls: Sequence[Head]) -> None:
    """The real model over HTTP: tokenizer, output layer, identity, as the command runs them."""
    from filiation.endpoint.budget import Budget
    from filiation.endpoint.serving.local import serve
    from filiation.endpoint.session import Session, agreed

    with serve(fetch.path("smollm2"), name="acme-large", threads=1) as model:
        budget = Budget(requests=400, concurrency=1)
        with Session([model.endpoint("suspect")], budget=budget, seed=1, consent=agreed) as session:
            print(f"served: capabilities {session.records['suspect'].capabilities}")
            found = tokenizer.run(session, tokenizer.Setting(shipped_candidates()))
            effects = {e.name: e.value for e in found.test.effect}
            print(f"served, tokenizer: {found.test.outcome} {found.test.figures.get('identified')} {effects}")
            for row in found.test.figures.get("candidates", ()):
                print(f"  {row['name']}: against {row['against']}, {row['recounted']}, {row['spelt']}")
            report("served, true head", session, head, controls)
            report("served, another head", session, with_frequencies(head, 98), (head, *controls))
            said = identity.run(session, identity.Setting(languages=("en", "zh"), max_tokens=40))
            print(f"served, identity: {[(e.name, e.value, e.low, e.high) for e in said.test.effect]}")
            print(f"  attention: {identity.contradiction(said, found)}")


def main() -> None:
    """Print the residuals."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--served", action="store_true")
    options = parser.parse_args()
    head = of_checkpoint(checkpoint.open(str(fetch.path("smollm2"))), "SmolLM2")
    embedding = of_checkpoint(checkpoint.open(str(fetch.folder("minilm"))), "MiniLM embedding")
    controls = (embedding, with_frequencies(head, 1), with_frequencies(head, 2))
    if options.served:
        served(head, controls)
        return
    in_sample(head)
    simulated(head, controls)


if __name__ == "__main__":
    main()
