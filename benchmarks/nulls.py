"""Observed label counts of independent models against their promised laws: counts, not adjectives.

Over every independent pair of the demo models, every layer and every symmetry; then over random relabellings of
derived models, where the answer must be "as independent" because the labels have been drawn anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from filiation import __version__, anatomy, checkpoint
from filiation.anatomy.model import Anatomy
from filiation.comparison import compare_models
from filiation.evidence import Evidence, Relation, Report, Status, Wing
from filiation.origin import TESTS, Outcome
from filiation.origin.examine import examine
from filiation.origin.gather import Side, ffn_units, value_units
from filiation.origin.pairing import Plan
from filiation.origin.tokens import shared_tokens
from filiation.origin.units import Units, relabelled

MODELS = Path(__file__).resolve().parent.parent / "examples" / "models"
#: Demo models that descend from one draw of initial weights; every other model shares nothing but the recipe with them.
LINEAGE = ("base", "fine-tuned", "continued", "laundered", "moe-upcycled", "same-init")
STRANGERS = ("twin",)
DRAWS = 1000


@dataclass
class Tally:
    """One test over many label sets."""

    label_sets: int = 0
    units: int = 0
    observed: float = 0.0
    expected: float = 0.0
    largest: float = -np.inf
    over: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0, 3: 0})
    mean_e: float = 0.0

    def add(self, log10_e: float, observed: float, expected: float, units: int) -> None:
        """Count one label set."""
        self.label_sets += 1
        self.units += units
        self.observed += observed
        self.expected += expected
        self.largest = max(self.largest, log10_e)
        self.mean_e += 10.0**log10_e
        for line in self.over:
            self.over[line] += log10_e >= line


def table(zoo: Path | None = None) -> dict[str, Any]:
    """Print the tables; ``zoo`` is a folder of further twins, made by ``filiation lab demo-models --zoo``.

    Returns what reports carry as their ``validation``: the counts, and nothing that they do not say.
    """
    strangers = {name: MODELS / name for name in STRANGERS}
    if zoo is not None:
        strangers |= {
            folder.name: folder for folder in sorted(zoo.iterdir()) if (folder / "config.json").is_file()
        }
    places = {name: MODELS / name for name in LINEAGE} | strangers
    pairs = [(a, b) for a in strangers for b in places if a != b and not (b in strangers and b < a)]
    models = {name: anatomy.dissect(checkpoint.open(str(place))) for name, place in places.items()}
    print(f"\n{len(pairs)} independent pairs, each examined both ways; strangers: {', '.join(strangers)}")
    reports = [compare_models(str(places[a]), [str(places[b])]) for a, b in _both_ways(pairs)]
    _verdicts(reports)
    tallies = _independent(models, pairs)
    _print("independent pairs of the demo models", tallies)
    _print(f"{DRAWS} random relabellings of layer 0 of `continued` against `base`", _relabelled(models))
    return {"null": _counts(pairs, reports, tallies), "likeness": _likeness(reports)}


def _counts(
    pairs: list[tuple[str, str]], reports: Sequence[Report], tallies: Mapping[str, Tally]
) -> dict[str, Any]:
    """Return how many pairs of which models, what was concluded, and single e-values against their promise."""
    label_sets = sum(t.label_sets for t in tallies.values())
    lines = sorted(next(iter(tallies.values())).over)
    return {
        "version": __version__,
        "models": "demo models and further strangers: 6 layers, width 64, one recipe, one text",
        "pairs": len(pairs),
        "comparisons": len(reports),
        "none_found": sum(r.verdict.relation is Relation.NONE_FOUND for r in reports),
        "largest_log10_e": max(round(r.verdict.log10_e or 0.0, 2) for r in reports),
        "label_sets": label_sets,
        "reached": {str(line): sum(t.over[line] for t in tallies.values()) for line in lines},
        "allowed": {str(line): label_sets // 10**line for line in lines},
    }


def _likeness(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the range of each similarity statistic; the two directions of a pair are one pair."""
    found: dict[str, list[float]] = defaultdict(list)
    for report in reports:
        for e in report.evidence:
            if e.wing is Wing.LIKENESS and e.statistic is not None:
                found[e.test].append(e.statistic)
    return {
        test: {"low": round(min(v), 4), "high": round(max(v), 4), "pairs": len(v) // 2}
        for test, v in sorted(found.items())
    }


def _both_ways(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [*pairs, *((b, a) for a, b in pairs)]


def _verdicts(reports: Sequence[Report]) -> None:
    """Print what whole comparisons conclude."""
    found: dict[str, list[float]] = defaultdict(list)
    for verdict in (report.verdict for report in reports):
        found[str(verdict.relation)].append(-np.inf if verdict.log10_e is None else verdict.log10_e)
    print("\n## Null: verdicts on independent pairs\n")
    print("| relation | comparisons | largest log10 e |")
    print("| --- | --- | --- |")
    for relation, values in sorted(found.items()):
        print(f"| `{relation}` | {len(values)} | {max(values):.2f} |")


def _independent(models: dict[str, Anatomy], pairs: list[tuple[str, str]]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = defaultdict(Tally)
    for a, b in _both_ways(pairs):
        plan = Plan(f"{a}/{b}", whole=True)
        found = examine(
            models[a], models[b], "language", plan, shared_tokens(models[a], models[b], plan), TESTS
        )
        for record in found.evidence():
            _count(tallies, record)
    return tallies


def _count(tallies: dict[str, Tally], record: Evidence) -> None:
    if record.status is Status.APPLIED and record.log10_e is not None:
        found = (record.log10_e, record.statistic or 0.0, record.expected or 0.0, record.n or 0)
        tallies[record.test].add(*found)


def _relabelled(models: dict[str, Anatomy]) -> dict[str, Tally]:
    tallies: dict[str, Tally] = defaultdict(Tally)
    rng = np.random.default_rng(20261121)
    s, c = Side(models["continued"]), Side(models["base"], is_suspect=False)
    views: dict[str, tuple[Units | None, Units | None]] = {
        "ffn": (ffn_units(s, 0), ffn_units(c, 0)),
        "value": (value_units(s, 0), value_units(c, 0)),
    }
    for name, (mine, theirs) in views.items():
        assert mine is not None
        assert theirs is not None
        for _ in range(DRAWS):
            drawn = relabelled(mine, rng)
            for test in TESTS:
                outcome = test.measure(drawn, theirs, rng)
                if isinstance(outcome, Outcome):
                    log10_e = outcome.log_e / np.log(10)
                    tallies[f"{name}: {test.name}"].add(
                        log10_e, outcome.statistic, outcome.expected, outcome.n
                    )
    return tallies


def _print(title: str, tallies: dict[str, Tally]) -> None:
    print(f"\n## Null: {title}\n")
    print(
        "| test | label sets | units | observed | expected | largest log10 e | mean e | >= 10 | >= 100 | >= 1000 |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in sorted(tallies):
        t = tallies[name]
        print(
            f"| {name} | {t.label_sets} | {t.units:,} | {t.observed:.0f} | {t.expected:.0f} | {t.largest:.2f} | "
            f"{t.mean_e / t.label_sets:.3f} | {t.over[1]} | {t.over[2]} | {t.over[3]} |"
        )


if __name__ == "__main__":
    table()
