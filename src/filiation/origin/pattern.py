"""Patterns along the index: an order that can be read off one model's contents was not arbitrary, so it is no label.

The order of a layer that was sorted or pruned by importance, padded at its end or widened by cloning follows its
contents (evidence contract, section 2). Each check here reads one model alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from filiation.origin.scale import wide
from filiation.origin.sorting import distinct, quantile
from filiation.origin.units import Doubles, Floats, Integers, Units

#: z at which a pattern counts as found. Far out, because similarities are not normal.
PATTERN_Z = 7.0
#: Mean similarity of units at one distance from which on they are clones, whose signs are one coin.
CLONES_ALIKE = 0.5
#: Distances along the index that are looked at besides neighbours: these shares of the number of units.
_SHARES = (2, 3, 4, 8)
_SKETCH = 64
#: Units below which echoes are not looked for.
FEWEST = 16
#: p-value at which a trend along the index counts as found.
TREND_P = 1e-6
_AMONG = 128
#: Difference, relative to the largest, below which quantities are equal: some roundings of float32.
_ROUNDING = 1e-6


def order_is_arbitrary(units: Units) -> bool:
    """Return whether nothing in one model's contents speaks against its order being an arbitrary label.

    False where positions follow the units' norms or their likeness to the others (sorted or pruned by
    importance), or where units at a fixed distance are alike (sorted by something else, cloned in a pattern, padded).
    Reads one model only. Under an arbitrary order it is False with probability below about one in a million for each
    quantity, which is all it can add to an e-value's mean.
    """
    return stands_arbitrarily(_traits(units.alive()))


@dataclass(frozen=True, eq=False)
class Traits:
    """What patterns along the index are looked for in, of units that carry labels.

    Attributes:
        position, block: ``(n,)``.
        sketch: ``(n, at most 64)`` contents as :func:`sketched` gives them.
        sizes: lengths of the contents and of each of the signed ones, ``(n,)`` each.
        likeness: ``(n,)`` mean similarity to those at the rows of :func:`among`.
        sign_free: compare ``|cosine|``.
        one_run: the blocks are windows of one layer, whose positions follow one another: sixteen neighbours show no
            trend, blocks from all over a layer do.
    """

    position: Integers
    block: Integers
    sketch: Floats
    sizes: tuple[Floats, ...]
    likeness: Floats
    sign_free: bool = False
    one_run: bool = False

    def __len__(self) -> int:
        return len(self.position)


def stands_arbitrarily(traits: Traits) -> bool:
    """Return whether nothing in these traits speaks against the order being arbitrary."""
    return not _has_trend(traits) and not any(z >= PATTERN_Z for z, _ in _echoes(traits))


def signs_are_free(units: Units) -> bool:
    """Return whether no pattern of clones is found among the units (clones flip together: one coin, not two)."""
    traits = _traits(units.alive(), trend=False)
    return not any(z >= PATTERN_Z and alike >= CLONES_ALIKE for z, alike in _echoes(traits))


def _traits(units: Units, *, trend: bool = True) -> Traits:
    sketch = sketched(units.normed) if len(units) >= FEWEST else units.normed
    if not trend or not len(units):
        return Traits(units.position, units.block, sketch, (), np.zeros(0, np.float32), units.sign_free)
    sizes = tuple(lengths(m) for m in (units.content, *units.signed))
    cosines = units.normed @ units.normed[among(len(units))].T
    likeness = (np.abs(cosines) if units.sign_free else cosines).mean(axis=1)
    one_run = units.kind == "ffn"
    return Traits(units.position, units.block, sketch, sizes, likeness, units.sign_free, one_run)


def lengths(rows: Floats) -> Floats:
    """Return the length of each row."""
    rows = wide(rows)
    return np.sqrt(np.einsum("ij,ij->i", rows, rows)).astype(np.float32, copy=False)


def among(n: int) -> Integers:
    """Return the rows of a fixed sample of ``n`` units."""
    return np.random.default_rng(2).permutation(n)[:_AMONG]


def _echoes(units: Traits) -> list[tuple[float, float]]:
    """Return for each distance along the index: z of the number of alike pairs, and their mean similarity.

    A pair is alike when its similarity lies in the upper tenth of all pairs.
    """
    if len(units) < FEWEST:
        return []
    rows = units.sketch
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, len(rows), (2, min(20_000, 2000 + 4 * len(rows))))
    apart = (one != other) & (units.block[one] == units.block[other])
    if apart.sum() < 200:
        return []
    line = quantile(_cosines(rows, one[apart], other[apart], free=units.sign_free), 0.9)
    found: list[tuple[float, float]] = []
    for left, right in _distances(units):
        alike = _cosines(rows, left, right, free=units.sign_free)
        above, n = int((alike > line).sum()), len(alike)
        if n >= 16:
            found.append(
                ((above - 0.1 * n) / math.sqrt(0.09 * n), float(alike[alike > line].mean()) if above else 0.0)
            )
    return found


def sketched(rows: Floats) -> Floats:
    """Return unit rows of at most ``_SKETCH`` numbers that keep the cosines, roughly."""
    if rows.shape[1] > _SKETCH:
        rows = rows @ _probe(rows.shape[1])
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return (rows / np.where(norms > 0, norms, 1.0)[:, None]).astype(np.float32, copy=False)


@lru_cache(maxsize=4)
def _probe(width: int) -> Floats:
    return np.random.default_rng(1).standard_normal((width, _SKETCH), np.float32)


def _cosines(rows: Floats, left: Integers, right: Integers, *, free: bool) -> Floats:
    cosines = np.einsum("ij,ij->i", rows[left], rows[right])
    return np.abs(cosines) if free else cosines


def _distances(units: Traits) -> list[tuple[Integers, Integers]]:
    """Return, for each distance, the rows of the pairs that stand so far apart in one block.

    Neighbours are looked at by even and odd position apart, where clones stand side by side.
    """
    _, block = np.unique(units.block, return_inverse=True)
    first = np.full(int(block.max(initial=0)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, block, units.position)
    inside = units.position - first[block]
    span = int(inside.max(initial=0)) + 1
    key = block * (2 * span) + inside
    order = np.argsort(key, kind="stable")
    wanted = [(1, 0), (1, 1), *((span // share, None) for share in _SHARES if span // share > 1)]
    found: list[tuple[Integers, Integers]] = []
    for distance, parity in wanted:
        start = order if parity is None else order[units.position[order] % 2 == parity]
        at = np.searchsorted(key[order], key[start] + distance)
        there = at < len(order)
        left, right = start[there], order[at[there]]
        paired = key[right] == key[left] + distance
        if paired.any():
            found.append((left[paired], right[paired]))
    return found


def _has_trend(units: Traits) -> bool:
    """Return whether, in one of the blocks, positions follow the units' sizes or how much a unit resembles the others.

    The second is what sorting by importance leaves where sizes were normalised; a diagonal test from the other side
    would take it for agreement.
    """
    blocks = [np.flatnonzero(units.block == block) for block in distinct(units.block)]
    blocks += [np.arange(len(units))] if units.one_run and len(blocks) > 1 else []
    tested = [rows for rows in blocks if len(rows) > 7]
    if not tested:
        return False
    order = [_ranks(units.position[rows]) for rows in tested]
    return any(
        _trend_p_value(_ranks(quantity[rows]), ranks) < TREND_P / len(tested)
        for quantity in (*units.sizes, units.likeness)
        for rows, ranks in zip(tested, order, strict=True)
    )


def _trend_p_value(ranks: Doubles, order: Doubles) -> float:
    """Return the two-sided p-value of Spearman's rank correlation (normal approximation; 1 for constant sizes).

    Args:
        ranks, order: the ranks of the units' sizes and of their positions.

    Own arithmetic: importing scipy.stats takes longer than a whole comparison of small models.
    """
    if np.ptp(ranks) == 0 or np.ptp(order) == 0:
        return 1.0
    rho = float(np.corrcoef(ranks, order)[0, 1])
    return math.erfc(abs(rho) * math.sqrt(len(ranks) - 1) / math.sqrt(2.0))


def _ranks(values: Floats | Integers) -> Doubles:
    """Return ranks, one rank for values that differ by no more than rounding (their mean one).

    Told apart in stored order, equal values would follow the positions: units scaled to one length are no pattern.
    """
    order = np.argsort(values, kind="stable")
    ascending = values[order].astype(np.float64)
    apart = np.diff(ascending) > _ROUNDING * np.abs(values).max(initial=0)
    group = np.concatenate([[0], np.cumsum(apart)])
    mean = np.bincount(group, np.arange(len(values))) / np.bincount(group)
    ranks = np.empty(len(values))
    ranks[order] = mean[group]
    return ranks
