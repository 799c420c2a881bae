"""Do units hold alike contents where no basis is common? Profiles inside either model, weighed by effect (ADR 0017)."""

from __future__ import annotations

import numpy as np

from filiation.origin.basis_free import Ranges, basis_free_units, disjoint_ranges
from filiation.origin.pairing import Pairing, Plan, expert_pairs
from filiation.origin.units import Floats, Integers, Units, unit_rows
from filiation.origin.weighing import Experts, weighing_apart


def profiles_agree(pairing: Pairing, plan: Plan) -> tuple[float | None, bool]:
    """Return the share of units that find one partner by two disjoint parts of their basis-free profiles.

    By what the gate reads from the anchors, and by the products of up rows and down columns; without a gate by what
    the units read and write. The anchors are paired by number; strangers whose units were arranged share no profile
    all the same. Units without effect can be put into any model with the profiles of another, in a basis of their
    own: so each unit counts by its effect, as matched units do, looked at from either model; the lesser share counts.

    Returns:
        The mean over the layers (and experts) whose units could be weighed; where none could, over all of them, each
        unit alike. And whether that figure may be relied on: under a budget only where something was weighed.
    """
    ranges = disjoint_ranges(pairing.suspect.ffn_width, plan.rng("basis free"))
    plain: list[float] = []
    by_effect: list[float] = []
    for pair in pairing.layers if ranges is not None else ():
        for experts in expert_pairs(pairing, pair):
            found = None if ranges is None else _partners(pairing, pair, experts, ranges)
            if ranges is None or found is None:
                continue
            plain.append(float((found[0] >= 0).mean()))
            weighed = weighing_apart(pairing, pair, experts, ranges.check, plan)
            if weighed is not None:
                units = np.arange(*ranges.check)
                shares = weighed.share(units, found[0]), weighed.turned().share(units, found[1])
                by_effect.append(min(float(s.sum()) for s in shares))
    figures = by_effect or plain
    return (float(np.mean(figures)) if figures else None), bool(by_effect) or not plan.frugal


def _partners(
    pairing: Pairing, pair: tuple[int, int], experts: Experts, ranges: Ranges
) -> tuple[Integers, Integers] | None:
    """Return each unit's partner in the other model by number, -1 where the parts of its profile name different ones.

    Those of the suspect's units, then those of the candidate's.
    """
    s = basis_free_units(pairing.suspect, pair[0], ranges.anchors, ranges.check, experts[0])
    c = basis_free_units(pairing.candidate, pair[1], ranges.anchors, ranges.check, experts[1])
    if s is None or c is None or s.content.shape != c.content.shape:
        return None
    size = ranges.anchors[1] - ranges.anchors[0]
    first, last = (
        unit_rows(s.content[:, part]) @ unit_rows(c.content[:, part]).T
        for part in (slice(0, size), slice(-size, None))
    )
    return _agreed(first, last, c), _agreed(first.T, last.T, s)


def _agreed(first: Floats, last: Floats, others: Units) -> Integers:
    best = first.argmax(axis=1)
    return np.where(best == last.argmax(axis=1), others.position[best], -1)
