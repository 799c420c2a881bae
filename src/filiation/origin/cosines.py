"""How alike matched units of two models are: the cosine of what they hold, whatever their labels.

Units count by their effect, and what they read by what they are given, where a model is read whole (ADR 0017): rows
that change nothing could be anybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filiation.origin.effects import spread
from filiation.origin.gather import value_units
from filiation.origin.matching import nearest, same_position
from filiation.origin.pairing import Pairing, Plan, expert_pairs, ffn_views
from filiation.origin.units import Doubles, Floats, Integers, Units, signed_agreement
from filiation.origin.weighing import Weighing, both_count, weighing, weighing_of_values

#: Mean cosine of a layer's matched units from which their contents agree (evidence contract, section 4; ADR 0013).
WEIGHT_COSINE = 0.5


def ffn_cosines(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> Doubles:
    """Return the cosine of each matched FFN unit of a layer pair with its partner, times what the unit counts.

    Units are matched by position where that agrees better than by content. Signs are aligned by majority of the
    unit's signed contents, so a flipped unit counts by what it holds. The mean is the figure of the layer pair.
    """
    bases = pairing.suspect.basis, pairing.candidate.basis
    where = pairing.suspect.component, pair, pairing.rows_of(pair[0]), pairing.match_anywhere
    key = (bases, *where, plan.seed, plan.whole)

    def measured() -> Doubles:
        views = ffn_views(pairing, pair, with_down=plan.whole)
        experts = expert_pairs(pairing, pair)
        known = len(experts) == len(views)
        weighed = [
            weighing(pairing, pair, e, v, plan) if known else None
            for e, v in zip(experts[: len(views)], views, strict=True)
        ]
        cosines = [
            _matched_cosines(s, c, plan.rng(f"weights/{pair}"), w)
            for (s, c), w in zip(views, weighed, strict=True)
        ]
        return np.concatenate(cosines) if cosines else np.zeros(0)

    return pairing.suspect.cache.known(key, measured)


def value_contents(pairing: Pairing, plan: Plan, layers: Sequence[int]) -> dict[int, float]:
    """Return the mean cosine of matched value channels (with their outputs) of these suspect layers."""
    found: dict[int, float] = {}
    for i, j in pairing.layers:
        if i not in layers or not both_count(pairing, (i, j), plan, "attn"):
            continue
        s, c = value_units(pairing.suspect, i), value_units(pairing.candidate, j)
        if s is None or c is None or s.content.shape != c.content.shape:
            continue
        cosines = _matched_cosines(s, c, plan.rng(f"values/{i}"), weighing_of_values(pairing, (i, j), plan))
        if len(cosines):
            found[i] = float(cosines.mean())
    return found


def _matched_cosines(s: Units, c: Units, rng: np.random.Generator, weighed: Weighing | None) -> Doubles:
    # Clones carry no label and hold what they hold all the same.
    s, c = (s.alive(), c.alive()) if weighed is None else (s.filled(), c.filled())
    matches = [nearest(s, c, rng), same_position(s, c)]
    if np.array_equal(matches[0], matches[1]):
        matches = matches[:1]
    if weighed is None:
        candidates = [_cosines(s, c, match) for match in matches]
    else:
        candidates = [_counted(s, c, match, weighed) for match in matches]
    filled = [x for x in candidates if len(x)]
    return max(filled, key=lambda x: float(x.mean())) if filled else np.zeros(0)


def _counted(s: Units, c: Units, match: Integers, weighed: Weighing) -> Doubles:
    """Return the cosines times what each unit counts (their mean is the figure), as the more reserved model sees it."""
    found = np.flatnonzero(match >= 0)
    partners = np.full(len(s), -1, np.int64)
    partners[found] = weighed.number(c)[match[found]]
    counts = len(s) * weighed.share(weighed.number(s), partners)
    mine, theirs = s.take(found), c.take(match[found])
    seen: list[Doubles] = []
    for moment in weighed.moments:
        cosines = np.zeros(len(s))
        cosines[found] = _given(mine, theirs, moment)
        seen.append(counts * cosines)
    return min(seen, key=lambda x: float(x.mean()) if len(x) else 0.0)


def _given(s: Units, c: Units, moment: Floats) -> Doubles:
    """Return the cosine of each unit with its partner on inputs of this second moment."""
    if s.paired:
        half = s.content.shape[1] // 2
        reads = _on_inputs(s.content[:, :half], c.content[:, :half], moment)
        return (reads + _plain(s.content[:, half:], c.content[:, half:])) / 2
    content = _on_inputs(s.content, c.content, moment)
    content = np.abs(content) if s.sign_free else content
    if not s.signed or not c.signed:
        return content
    signed = _on_inputs(s.signed[0], c.signed[0], moment)
    for mine, theirs in zip(s.signed[1:], c.signed[1:], strict=True):
        signed = signed + _plain(mine, theirs)
    return (content + np.abs(signed)) / (1 + len(s.signed))


def _on_inputs(a: Floats, b: Floats, moment: Floats) -> Doubles:
    given = a * moment if moment.ndim == 1 else a @ moment
    products = np.einsum("ij,ij->i", given, b, dtype=np.float64)
    return products / np.maximum(spread(a, moment) * spread(b, moment), 1e-30)


def _plain(a: Floats, b: Floats) -> Doubles:
    lengths = np.linalg.norm(a, axis=1).astype(np.float64) * np.linalg.norm(b, axis=1)
    return np.einsum("ij,ij->i", a, b, dtype=np.float64) / np.maximum(lengths, 1e-30)


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
    """Return whether the matched units of at least half of the paired layers agree in what they hold.

    Layers that do nothing to speak of are left aside.
    """
    layers = [p for p in pairing.layers if both_count(pairing, p, plan)]
    means = [float(x.mean()) for p in layers if len(x := ffn_cosines(pairing, p, plan))]
    return bool(layers) and 2 * sum(m >= WEIGHT_COSINE for m in means) >= len(layers)
