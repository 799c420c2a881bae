"""Key-value heads converted to another number: pooled, picked or repeated (arXiv 2305.13245)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.derivation.heads import Attention
from filiation.derivation.reading import row_cosines
from filiation.origin.units import Floats

#: Mean cosine of converted heads below which no conversion is claimed.
FITS = 0.3


@dataclass(frozen=True, eq=False)
class Conversion:
    """How the suspect's kv heads were made: ``method`` is ``mean``, ``first``, ``repeat`` or ``weights``.

    ``keys`` and ``values`` ``(heads_s, heads_c)`` make the suspect's heads from the candidate's.
    """

    method: str
    keys: Floats
    values: Floats
    agreement: float


def convert_heads(s: Attention, c: Attention) -> Conversion | None:
    """Return the conversion that fits best, None where none of them does."""
    best: Conversion | None = None
    for method, pool in _candidates(s.kv, c.kv):
        found = Conversion(method, pool, pool, _agreement(s, c, pool, pool))
        if best is None or found.agreement > best.agreement + 1e-6:
            best = found
    free = _fitted(s, c)
    if free is not None and (best is None or free.agreement > best.agreement + 0.05):
        best = free
    return best if best is not None and best.agreement >= FITS else None


def _candidates(mine: int, theirs: int) -> list[tuple[str, Floats]]:
    if theirs % mine == 0:
        share = theirs // mine
        mean = np.repeat(np.eye(mine, dtype=np.float32), share, axis=1) / np.float32(share)
        first: Floats = np.zeros((mine, theirs), np.float32)
        first[np.arange(mine), np.arange(mine) * share] = 1.0
        return [("mean", mean), ("first", first)]
    if mine % theirs == 0:
        return [("repeat", np.repeat(np.eye(theirs, dtype=np.float32), mine // theirs, axis=0))]
    return []


def _fitted(s: Attention, c: Attention) -> Conversion | None:
    """Return free weights of whole heads by least squares: heads picked, reordered or weighted."""
    weights = [_solve(a, b) for a, b in ((s.k, c.k), (s.v, c.v))]
    return Conversion("weights", weights[0], weights[1], _agreement(s, c, weights[0], weights[1]))


def _solve(mine: Floats, theirs: Floats) -> Floats:
    a, b = theirs.reshape(len(theirs), -1).astype(np.float64), mine.reshape(len(mine), -1).astype(np.float64)
    gram = a @ a.T
    ridge = 1e-6 * float(np.trace(gram)) / len(gram)
    return np.linalg.solve(gram + ridge * np.eye(len(gram)), a @ b.T).T.astype(np.float32)


def _agreement(s: Attention, c: Attention, keys: Floats, values: Floats) -> float:
    made = [(s.k, np.tensordot(keys, c.k, 1)), (s.v, np.tensordot(values, c.v, 1))]
    flat = [(a.reshape(-1, a.shape[2]), b.reshape(-1, b.shape[2])) for a, b in made]
    return float(np.mean([row_cosines(a, b).mean() for a, b in flat]))
