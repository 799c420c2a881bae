"""The promises on the tests of ``filiation probe`` that rest on statistics, on simulated answers.

    PYTHONPATH=. .venv/bin/python -m benchmarks.probe_tests [--runs 500] [--rows "same model"]

prints false alarms of each exact test at alpha = 0.01 with the 95 % Clopper-Pearson interval, then what is detected and
after how many pairs. Endpoints are categorical laws in memory (tests/behaviour/laws.py); the statistics are the
program's own. One control each: with more, all have to be beaten, which only lowers the rate. Minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
from scipy.stats import binomtest

from filiation.behaviour import derived, distilled, exclusive, mistakes, same_model
from filiation.behaviour.items import Choice, Item
from filiation.behaviour.permutation import Stratum, two_sample
from filiation.behaviour.records import Found
from filiation.endpoint.model import Ask
from filiation.evidence import Outcome
from tests.behaviour.asker import Law, Scripted, said
from tests.behaviour.laws import (
    PROMPT_LOGPROBS,
    Greedy,
    Model,
    Scorer,
    Teacher,
    World,
    examinee,
    pairs_needed,
)

ALPHA = 0.01
ITEMS = tuple(Item(f"What is on slip {n}?", (f"char{n}",), (f"bad{n}",)) for n in range(60))
CHOICES = tuple(Choice(f"Q{n}?", tuple(f"o{k}" for k in range(4)), n % 4) for n in range(150))
POOL = tuple(f"control-{n}" for n in range(1, 6))


def says(found: Found, outcome: Outcome = Outcome.SUPPORTED) -> bool:
    """Whether a test came to an outcome."""
    return found.test.outcome is outcome


def betting(seed: int) -> bool:
    """Whether the bet alone rejects an equal model within 800 pairs."""
    return pairs_needed(World(seed).pairs(800), ALPHA) is not None


def permutation(seed: int) -> bool:
    """Whether the permutation test alone rejects an equal model on 200 prompts."""
    pairs = World(seed, cells=26).pairs(200)
    return two_sample([Stratum(c, (x,), (y,)) for c, x, y in pairs], seed, 999).p <= ALPHA


def same(seed: int, share: float = 0.0, **changes: object) -> Found:
    """Run the whole test on a model of which ``share`` is exchanged for another, one control beside."""
    own, other = Model(1000 + 3 * seed), Model(1001 + 3 * seed)
    laws = {"suspect": Model(1000 + 3 * seed, toward=other, share=share), "reference": own}
    played = Scripted(laws | {"control-1": Model(1002 + 3 * seed)}, seed=seed)
    setting = same_model.Setting(
        **{"seed": seed, "permutations": 999, "controls": ("control-1",), "alpha": ALPHA} | changes  # type: ignore[arg-type]
    )
    return same_model.run(played, setting)


def halfway(seed: int) -> bool:
    """Whether a suspect that lies halfway towards the control is called the same model by the bet on agreement."""
    control = Model(1001 + 3 * seed)
    laws = {"suspect": Model(1000 + 3 * seed, toward=control, share=0.5), "reference": Model(1000 + 3 * seed)}
    setting = same_model.Setting(seed=seed, controls=("control-1",), pairs=100, most=100, permutations=99)
    found = same_model.run(Scripted(laws | {"control-1": control}, seed=seed), setting)
    return found.test.figures["alike_log10_e"] >= 2.0


def derivation(seed: int, loyalty: float = 0.0, parents: int = 1) -> bool:
    """Whether a suspect is called derived; ``loyalty`` is how often it follows the first parent."""
    roles = tuple(f"parent-{n}" for n in range(parents))
    laws = {role: Greedy(100 * seed + n) for n, role in enumerate(("control-1", *roles))}
    suspect = Greedy(100 * seed + 50, parent=laws[roles[0]], loyalty=loyalty)
    setting = derived.Setting(seed=seed, parents=roles, controls=("control-1",), prompts=200, alpha=ALPHA)
    return says(derived.run(Scripted(laws | {"suspect": suspect}), setting))


def likelihood(seed: int, gain: float = 0.0) -> bool:
    """Whether a student is called distilled by likelihood; ``gain`` in nats per token."""
    laws: dict[str, Law] = {"suspect": Scorer(gain), "base": Scorer(), "teacher": Teacher("t")}
    laws |= {"control-1": Teacher("u")}
    able = {"suspect": PROMPT_LOGPROBS, "base": PROMPT_LOGPROBS}
    setting = distilled.Setting(seed=seed, base="base", controls=("control-1",), permutations=999, prompts=40)
    return says(distilled.run(Scripted(laws, able, seed=seed), setting))


def text(seed: int, loyalty: float = 0.0) -> bool:
    """Whether a student is called similar by its words."""
    roles = ("teacher", "base", "control-1")
    laws = {role: Greedy(100 * seed + n, words=8) for n, role in enumerate(roles)}
    student = Greedy(100 * seed + 50, parent=laws["teacher"], loyalty=loyalty, words=8)
    setting = distilled.Setting(seed=seed, base="base", controls=roles[2:], words=200)
    return says(distilled.run(Scripted(laws | {"suspect": student}), setting))


def knower(right: float) -> Law:
    """Return an endpoint that knows an item with chance ``right``."""

    def law(ask: Ask, rng: np.random.Generator) -> str:
        item = int(said(ask).split("slip ")[1].split("?")[0])
        return f"char{item}" if rng.random() < right else "I do not know."

    return law


def exclusivity(seed: int, right: float = 0.2) -> bool:
    """Whether a suspect is said to know the items; the control knows a fifth."""
    played = Scripted({"suspect": knower(right), "control-1": knower(0.2)}, seed=seed)
    setting = exclusive.Setting(ITEMS, "ab" * 32, controls=("control-1",), alpha=ALPHA)
    return says(exclusive.run(played, setting))


def mistaken(seed: int, loyalty: float = 0.0) -> bool:
    """Whether two models are called associated by their mistakes."""
    parent = examinee(1000 * seed + 1)
    laws = {"parent": parent, "suspect": examinee(1000 * seed + 2, parent=parent, loyalty=loyalty)}
    laws |= {role: examinee(1000 * seed + 10 + n) for n, role in enumerate(POOL)}
    return says(mistakes.run(Scripted(laws), mistakes.Setting(CHOICES, "cd" * 32, pool=POOL)))


def shown(wanted: str, name: str, test: Callable[[int], bool], runs: int) -> None:
    """Run a test on ``runs`` seeds and print how often it came out, if its name holds what is wanted."""
    if wanted not in name:
        return
    hits = sum(test(seed) for seed in range(runs))
    low, high = binomtest(hits, runs).proportion_ci(0.95)
    print(f"| {name} | {hits} of {runs} | {100 * low:.1f} - {100 * high:.1f} % |", flush=True)


def false_alarms(runs: int, wanted: str) -> None:
    """Print the table of false alarms."""
    row = partial(shown, wanted)
    print(
        f"\nFalse alarms at alpha = {ALPHA}, simulated\n\n| test | rejected | 95 % interval |\n| --- | --- | --- |"
    )
    row("same model: betting alone, 800 pairs", betting, runs)
    row("same model: permutation alone, 200 prompts", permutation, runs)
    row(
        "same model: contradicted, 60 pairs",
        lambda s: says(same(s, pairs=60, most=60), Outcome.CONTRADICTED),
        runs,
    )
    row(
        "same model: contradicted, 40 pairs at first and up to 600",
        lambda s: says(same(s, pairs=40, most=600), Outcome.CONTRADICTED),
        runs,
    )
    row(
        "same model: supported, half exchanged, 40 pairs at first and up to 600",
        lambda s: says(same(s, 0.5, pairs=40, most=600)),
        runs,
    )
    row("same model: bet on agreement, suspect halfway to the control", halfway, runs)
    row("derived: one parent, one control", derivation, runs)
    row("derived: best of six parents", lambda s: derivation(s, parents=6), runs)
    row("distilled: likelihood, one control", likelihood, runs)
    row("distilled: text, one control", text, runs)
    row("exclusive data: one control", exclusivity, runs)
    row("shared mistakes: pool of five", mistaken, runs)


def detections(runs: int, wanted: str) -> None:
    """Print the tables of detections."""
    row = partial(shown, wanted)
    print("\nDetected by the bet at alpha = 0.01\n\n| exchanged | within | detected | median pairs |")
    print("| --- | --- | --- | --- |")
    for share, most in ((1.0, 800), (0.5, 1500), (0.25, 3000), (0.1, 3000)):
        if wanted not in "the bet":
            break
        needed = [pairs_needed(World(5000 + seed, share=share).pairs(most), ALPHA) for seed in range(runs)]
        seen = sorted(most + 1 if n is None else n for n in needed)
        print(
            f"| {100 * share:.0f} % | {most} | {sum(n is not None for n in needed)} of {runs} | {median(seen):.0f} |"
        )
    print("\nOutcomes of whole runs\n\n| run | came out | 95 % interval |\n| --- | --- | --- |")
    few = max(runs // 4, 20)
    row("same model, the same: supported", lambda s: says(same(s)), few)
    row(
        "same model, the same, 40 pairs at first and up to 600: supported",
        lambda s: says(same(s, pairs=40, most=600)),
        few,
    )
    row("same model, full swap: contradicted", lambda s: says(same(s, 1.0), Outcome.CONTRADICTED), few)
    row(
        "same model, 10 % exchanged, searched for in 3,000 pairs: contradicted",
        lambda s: says(same(s, 0.1, most=3000, settle=False), Outcome.CONTRADICTED),
        few,
    )
    row("derived, follows the parent on 30 % of prompts", lambda s: derivation(s, 0.3), few)
    row("distilled, 0.2 nats per token", lambda s: likelihood(s, 0.2), few)
    row("distilled by text, 30 % of words", lambda s: text(s, 0.3), few)
    row("exclusive data, 60 % known", lambda s: exclusivity(s, 0.6), few)
    row("shared mistakes, 60 % shared", lambda s: mistaken(s, 0.6), few)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500, help="simulated runs for each row of false alarms")
    parser.add_argument("--rows", default="", help="only the rows that have this in their name")
    options = parser.parse_args()
    false_alarms(options.runs, options.rows)
    detections(min(options.runs, 100), options.rows)


if __name__ == "__main__":
    main()
