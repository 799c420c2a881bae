"""Measuring the matched parts of a component: all of them, or the rows and roles that a sampled reading looks at."""

from __future__ import annotations

from collections.abc import Sequence

from filiation.anatomy.model import Part
from filiation.derivation.frame import LayerFrame, layer_matches, outer_matches
from filiation.derivation.matched import Matched
from filiation.derivation.measure import Measured, measure
from filiation.derivation.reading import Case
from filiation.origin.ledger import Ledger
from filiation.origin.pairing import Plan

#: Rows of each matrix that a sampled reading looks at.
SAMPLED_ROWS = 32
#: Where every read is a request, the rows that the exact tests read are measured and no others.
READ_ALREADY = ("gate", "up")


def measure_all(
    case: Case, frames: Sequence[LayerFrame], ledger: Ledger
) -> tuple[tuple[Measured, ...], tuple[Measured, ...]]:
    """Measure every part that the budget allows; whether values lie on a lattice is looked at in two layers first."""
    matched = [ledger.attempt(lambda f=f: list(layer_matches(case, f)), []) for f in frames]
    wanted = [[m for m in found if case.whole or _worth_sampling(m.mine, case.plan)] for found in matched]
    probes = sorted({0, len(frames) // 2}) if frames else []
    first = _measure_some(case, [m for n in probes for m in wanted[n]], ledger, lattices=True)
    seen = any(m.lattice is not None for m in first)
    others = [m for n, matches in enumerate(wanted) if n not in probes for m in matches]
    rest = _measure_some(case, others, ledger, lattices=seen)
    found = [] if case.frugal else ledger.attempt(lambda: list(outer_matches(case)), [])
    outer = [m for m in found if case.whole or m.mine.role == "embedding"]
    inner = sorted((*first, *rest), key=lambda m: m.layer or 0)
    return tuple(inner), tuple(_measure_some(case, outer, ledger, lattices=True))


def _measure_some(
    case: Case, matches: Sequence[Matched], ledger: Ledger, *, lattices: bool
) -> list[Measured]:
    """Measure parts; large models' two at a time, since reading and adding up leave the interpreter free."""
    rows = None if case.whole else SAMPLED_ROWS

    def one(match: Matched) -> Measured | None:
        rng = case.rng(f"rows/{match.mine.tensor}/{match.mine.role}")
        window = case.window(match.mine.layer) if case.frugal else None
        by_row = rows is None and not case.plan.whole and match.mine.role in READ_ALREADY
        return ledger.attempt(
            lambda: measure(match, rng, rows=rows, window=window, lattices=lattices, by_row=by_row), None
        )

    if not case.whole or case.plan.whole or ledger.budget is not None:
        return [m for m in map(one, matches) if m is not None]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2, thread_name_prefix="filiation-measure") as pool:
        return [m for m in pool.map(one, matches) if m is not None]


def _worth_sampling(part: Part, plan: Plan) -> bool:
    if len(part.shape) < 2:
        return False
    return part.role in READ_ALREADY or not plan.frugal
