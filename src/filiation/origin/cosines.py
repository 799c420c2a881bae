"""How alike matched units of two models are: the cosine of what they hold, whatever their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filiation.origin.gather import value_units
from filiation.origin.matching import nearest, same_position
from filiation.origin.pairing import Pairing, Plan, ffn_views
from filiation.origin.units import Doubles, Integers, Units, signed_agreement

#: Mean cosine of a layer's matched units from which their contents agree (evidence contract, section 4; ADR 0013).
WEIGHT_COSINE = 0.5


def ffn_cosines(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> Doubles:
    """Return the cosine of each matched FFN unit of a layer pair with its partner.

    Units are matched by position where that agrees better than by content. Signs are aligned by majority of the
    unit's signed contents, so a flipped unit counts by what it holds.
    """
    bases = pairing.suspect.basis, pairing.candidate.basis
    where = pairing.suspect.component, pair, pairing.window, pairing.match_anywhere
    key = (bases, *where, plan.seed, plan.whole)

    def measured() -> Doubles:
        views = ffn_views(pairing, pair, with_down=plan.whole)
        cosines = [_matched_cosines(s.alive(), c.alive(), plan.rng(f"weights/{pair}")) for s, c in views]
        return np.concatenate(cosines) if cosines else np.zeros(0)

    return pairing.suspect.cache.known(key, measured)


def value_contents(pairing: Pairing, plan: Plan, layers: Sequence[int]) -> dict[int, float]:
    """Return the mean cosine of matched value channels (with their outputs) of these suspect layers."""
    found: dict[int, float] = {}
    for i, j in pairing.layers:
        if i not in layers:
            continue
        s, c = value_units(pairing.suspect, i), value_units(pairing.candidate, j)
        if s is None or c is None or s.content.shape != c.content.shape:
            continue
        cosines = _matched_cosines(s.alive(), c.alive(), plan.rng(f"values/{i}"))
        if len(cosines):
            found[i] = float(cosines.mean())
    return found


def _matched_cosines(s: Units, c: Units, rng: np.random.Generator) -> Doubles:
    matches = [nearest(s, c, rng), same_position(s, c)]
    if np.array_equal(matches[0], matches[1]):
        return _cosines(s, c, matches[0])
    candidates = [_cosines(s, c, match) for match in matches]
    filled = [x for x in candidates if len(x)]
    return max(filled, key=lambda x: float(x.mean())) if filled else np.zeros(0)


def _cosines(s: Units, c: Units, match: Integers) -> Doubles:
    found = np.flatnonzero(match >= 0)
    if not len(found):
        return np.zeros(0)
    mine, theirs = s.take(found), c.take(match[found])
    content = np.einsum("ij,ij->i", mine.normed, theirs.normed, dtype=np.float64)
    if not s.signed or not c.signed:
        return content
    signed = np.abs(signed_agreement(mine, replace(theirs), np.arange(len(found))))
    return (content + signed) / (1 + len(s.signed))


def contents_agree(pairing: Pairing, plan: Plan) -> bool:
    """Return whether the matched units of at least half of the paired layers agree in what they hold."""
    means = [float(x.mean()) for p in pairing.layers if len(x := ffn_cosines(pairing, p, plan))]
    return 2 * sum(m >= WEIGHT_COSINE for m in means) >= len(pairing.layers)
