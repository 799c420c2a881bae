"""Paired scalings: one matrix of a pair scaled up unit by unit, the other down, which leaves the function as it was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.derivation.reading import norms
from filiation.origin.scale import energy, held
from filiation.origin.units import Doubles, Floats

#: A paired scaling must explain this share of the difference, and spread by at least this much (nats).
EXPLAINS = 0.5
SPREAD = 0.02


@dataclass(frozen=True, eq=False)
class Scaling:
    """Factors of the first matrix's units ``(n,)``; the second carries their inverse. ``spread`` is in nats."""

    factor: Floats | Doubles
    spread: float


def paired_scaling(first_s: Floats, first_c: Floats, second_s: Floats, second_c: Floats) -> Scaling | None:
    """Return the scaling that pairs of equally numbered units ask for, None where it explains too little.

    Args:
        first_s, first_c: rows ``(n, m)`` of the first matrix, the candidate's already matched and flipped.
        second_s, second_c: rows of the second.
    """
    rows = [norms(m) for m in (first_s, first_c, second_s, second_c)]
    live = np.all([r > 0 for r in rows], axis=0)
    if live.sum() < 2:
        return None
    a, b, c, d = (np.where(live, r, 1.0) for r in rows)
    log = 0.5 * (np.log(a) - np.log(b) - np.log(c) + np.log(d))
    log = np.where(live, log, 0.0)
    spread = float(log[live].std())
    if spread < SPREAD and abs(float(log[live].mean())) < SPREAD:
        return None
    factor = np.exp(log)
    before = _distance(first_s, first_c) + _distance(second_s, second_c)
    after = _distance(first_s, first_c, factor) + _distance(second_s, second_c, 1 / factor)
    if after > (1 - EXPLAINS) * before:
        return None
    return Scaling(held(factor), spread)


def _distance(s: Floats, c: Floats, factor: Doubles | None = None) -> float:
    """Return the squared difference over the squared norm of the suspect's rows."""
    moved = c if factor is None else c * held(factor)[:, None]
    own = float(energy(s))
    return float(energy(s - moved)) / own if own > 0 else 0.0
