"""How alike two models' norm gains are: they start from constants and carry labels only through training."""

from __future__ import annotations

import numpy as np

from filiation.origin.gather import gain_units
from filiation.origin.matching import nearest
from filiation.origin.pairing import Pairing, Plan, paired_gains
from filiation.origin.units import Units
from filiation.origin.weighing import both_count


def gains_alike(pairing: Pairing, plan: Plan) -> tuple[float | None, float | None, int]:
    """Return mean correlation, share of channels in place, number of norms; None after a rotation.

    Norms of branches that do next to nothing in one of the models are left out.
    """
    basis = pairing.suspect.basis
    if basis.matrix is not None:
        return None, None, 0
    mine, theirs = paired_gains(pairing, lambda pair, role: _norm_counts(pairing, pair, role, plan))
    if len(mine) < 3:
        return None, None, len(mine)
    mine = mine if basis.suspect_columns is None else mine[:, basis.suspect_columns]
    theirs = basis.candidate(theirs)
    if mine.shape[1] != theirs.shape[1]:
        return None, None, len(mine)
    correlation = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(mine, theirs, strict=True)]))
    s, c = _bounded(gain_units(mine)), _bounded(gain_units(theirs))
    match = nearest(s, c, plan.rng("history"))
    return correlation, float((c.position[match] == s.position).mean()), len(mine)


def _norm_counts(pairing: Pairing, pair: tuple[int, int], role: str, plan: Plan) -> bool:
    """Return whether the branch that a norm belongs to does anything to speak of in both models."""
    return both_count(pairing, pair, plan, "attn" if "attn" in role else "ffn")


def _bounded(units: Units, most: int = 2048) -> Units:
    return units if len(units) <= most else units.take(np.arange(most))
