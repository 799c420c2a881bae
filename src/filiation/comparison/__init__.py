"""The walk: open -> name the parts -> pair -> test -> derive -> judge -> report."""

from __future__ import annotations

from collections.abc import Sequence

from filiation.checkpoint.named import refuse_repeated, refuse_same_weights
from filiation.comparison.assembly import assemble, overall_verdict
from filiation.comparison.opening import Progress, make_plan, open_model
from filiation.comparison.pair import Pair, examine_pair
from filiation.errors import UsageError
from filiation.evidence import Report

__all__ = [
    "Pair",
    "Progress",
    "assemble",
    "compare_models",
    "examine_pair",
    "make_plan",
    "open_model",
    "overall_verdict",
]


def compare_models(
    suspect: str,
    candidates: Sequence[str],
    *,
    full: bool = False,
    budget: int | None = None,
    base: str | None = None,
    seed: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare one suspect with one or several candidates and return the report; see :func:`filiation.compare`."""
    if not candidates:
        raise UsageError(
            "There is nothing to compare with.",
            next_step="Name at least one candidate: filiation compare S C",
        )
    refuse_repeated(candidates)
    _refuse_seed(seed)
    tell = progress or _silent
    mine = open_model(suspect, base, budget, tell, role="suspect")
    others = [open_model(c, None, budget, tell, role="candidate") for c in candidates]
    refuse_same_weights(candidates, [other.checkpoint for other in others])
    pairs = [
        examine_pair(mine, other, make_plan(mine, other, budget, seed), n, full=full, progress=tell)
        for n, other in enumerate(others)
    ]
    command = {
        "name": "compare",
        "suspect": suspect,
        "candidates": list(candidates),
        "full": full,
        "budget": budget,
        "base": base,
        "seed": seed,
    }
    return assemble(mine, others, pairs, overall_verdict(mine, others, pairs), command)


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def _refuse_seed(seed: str | None) -> None:
    """Refuse a word that could not be written down in a report and given again."""
    if seed is not None and (not seed.strip() or not seed.isprintable()):
        raise UsageError(
            "The word given with --seed is empty or cannot be printed.",
            reason="Whoever verifies the report has to give the same word.",
            next_step="Write it in letters and digits, such as --seed 'drawn 2026-05-04: 7 19 23'.",
        )
