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
from filiation.origin.heads import in_heads, moved, paired_heads
from filiation.origin.matching import nearest, same_position
from filiation.origin.pairing import Pairing, Plan, expert_pairs, ffn_views
from filiation.origin.scale import wide
from filiation.origin.units import Doubles, Floats, Integers, Units, signed_agreement
from filiation.origin.weighing import (
    Experts,
    Weighing,
    both_count,
    chosen,
    weighing,
    weighing_of_values,
)

#: Mean cosine of a layer's matched units from which their contents agree (evidence contract, section 4; ADR 0013).
WEIGHT_COSINE = 0.5


def ffn_cosines(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> Doubles:
    """Return the cosine of each matched FFN unit of a layer pair with its partner, times what the unit counts.

    Units are matched by position where that agrees better than by content. Signs are aligned by majority of the
    unit's signed contents, so a flipped unit counts by what it holds. The mean is the figure of the layer pair.
    """
    bases = pairing.suspect.basis, pairing.candidate.basis, pairing.suspect.shut, pairing.candidate.shut
    where = pairing.suspect.component, pair, pairing.rows_of(pair[0]), pairing.match_anywhere
    key = (bases, *where, plan.seed, plan.whole, chosen(pairing, pair, plan))

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
        if _dense_beside_experts(experts) and known and not pairing.rows_of(pair[0]):
            return _beside_experts(views, weighed, plan.rng(f"experts/{pair}"))
        return np.concatenate(cosines) if cosines else np.zeros(0)

    return pairing.suspect.cache.known(key, measured)


def _dense_beside_experts(experts: Sequence[Experts]) -> bool:
    return len(experts) > 1 and all(mine is None for mine, _ in experts)


def _beside_experts(
    views: Sequence[tuple[Units, Units]], weighed: Sequence[Weighing | None], rng: np.random.Generator
) -> Doubles:
    """Return the cosines of a dense network's units beside the units of all experts, or of these beside it.

    Of both ways the one that agrees less: a network that was spread over experts is found in all of them together,
    and one expert of several that holds it does not speak for the others.
    """
    dense = _matched_cosines(views[0][0], *_pooled([c for _, c in views], weighed, rng))
    turned = [w and w.turned() for w in weighed]
    experts = [_matched_cosines(c, s, rng, w) for (s, c), w in zip(views, turned, strict=True)]
    return min(dense, np.concatenate(experts), key=lambda x: float(x.mean()) if len(x) else 0.0)


def _pooled(
    experts: Sequence[Units], weighed: Sequence[Weighing | None], rng: np.random.Generator
) -> tuple[Units, np.random.Generator, Weighing | None]:
    """Return the units of all experts as those of one network, numbered one expert after another."""
    width = 1 + max(int(c.position.max(initial=0)) for c in experts)
    position = np.concatenate([c.position + n * width for n, c in enumerate(experts)])
    signed = [np.concatenate(rows) for rows in zip(*(c.signed for c in experts), strict=True)]
    units = replace(
        experts[0],
        content=np.concatenate([c.content for c in experts]),
        position=position,
        block=np.zeros_like(position),
        signed=tuple(signed),
    )
    known = [w for w in weighed if w is not None]
    if len(known) < len(experts):
        return units, rng, None
    counts = np.concatenate(
        [np.pad(w.candidate[:width], (0, max(0, width - len(w.candidate)))) for w in known]
    )
    other = float(np.mean([w.other for w in known]))
    return units, rng, replace(known[0], candidate=counts, other=other)


def experts_alike(pairing: Pairing, pair: tuple[int, int], plan: Plan) -> tuple[int, ...]:
    """Return which experts hold what a dense network of the other model holds; none where both or neither is dense."""
    views, experts = ffn_views(pairing, pair, with_down=plan.whole), expert_pairs(pairing, pair)
    if len(views) != len(experts) or len(experts) < 2:
        return ()
    rng, found = plan.rng(f"experts/{pair}"), list[int]()
    for (s, c), (mine, theirs) in zip(views, experts, strict=True):
        if (mine is None) == (theirs is None):
            return ()
        weighed = weighing(pairing, pair, (mine, theirs), (s, c), plan)
        if mine is None:
            s, c, weighed = c, s, weighed and weighed.turned()
        cosines = _matched_cosines(s, c, rng, weighed)
        number = theirs if mine is None else mine
        if number is not None and len(cosines) and cosines.mean() >= WEIGHT_COSINE:
            found.append(number)
    return tuple(found)


def value_contents(pairing: Pairing, plan: Plan, layers: Sequence[int]) -> dict[int, float]:
    """Return the mean cosine of matched value channels (with their outputs) of these suspect layers."""
    found: dict[int, float] = {}
    for i, j in pairing.layers:
        if i not in layers or not both_count(pairing, (i, j), plan, "attn"):
            continue
        s, c = value_units(pairing.suspect, i), value_units(pairing.candidate, j)
        if s is None or c is None or s.content.shape[1] != c.content.shape[1]:
            continue
        if len(s.signed) != len(c.signed) or any(
            a.shape[1] != b.shape[1] for a, b in zip(s.signed, c.signed, strict=True)
        ):
            continue
        weighed = weighing_of_values(pairing, (i, j), plan)
        heads = paired_heads(s, c, plan.rng(f"heads/{(i, j)}"))
        if heads is None or (weighed is None and len(s) != len(c)):
            continue  # heads that do nothing can be added to any model: what they hold counts where it is weighed
        s = in_heads(s, heads)
        if weighed is not None:
            weighed = replace(weighed, suspect=moved(weighed.suspect, heads, weighed.stride))
        cosines = _matched_cosines(s, c, plan.rng(f"values/{i}"), weighed)
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
    lengths = spread(a, moment) * spread(b, moment)
    return products / np.where(lengths > 0, lengths, 1.0)


def _plain(a: Floats, b: Floats) -> Doubles:
    lengths = np.linalg.norm(wide(a), axis=1).astype(np.float64) * np.linalg.norm(wide(b), axis=1)
    return np.einsum("ij,ij->i", a, b, dtype=np.float64) / np.where(lengths > 0, lengths, 1.0)


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
