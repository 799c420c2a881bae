"""Matching attention heads of a layer: order of kv groups and of the query heads inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.derivation.reading import Case, reader, row_cosines, writer
from filiation.origin.matching import assign
from filiation.origin.scale import wide
from filiation.origin.units import Doubles, Floats, Integers

#: How much more alike moved heads must be than heads at equal numbers: an assignment always moves some by chance.
CLEARER = 1.5


@dataclass(frozen=True, eq=False)
class Attention:
    """The rows of one layer's attention, gains folded, head by head: ``(heads, d_head, d)``; o as columns."""

    q: Floats
    k: Floats
    v: Floats
    o: Floats

    @property
    def kv(self) -> int:
        """Number of kv heads."""
        return len(self.v)

    @property
    def group(self) -> int:
        """Query heads of a kv head."""
        return len(self.q) // len(self.v)


def read_attention(case: Case, layer: int, mine: bool) -> Attention | None:
    """Read one layer's attention; None where it is not of the plain kind (latent attention, missing parts)."""
    side = case.suspect if mine else case.candidate
    g = side.geometry
    if g.mla or not g.n_heads or not g.n_kv_heads:
        return None
    rows = [reader(case, side, role, layer) for role in ("q", "k", "v")]
    rows.append(writer(case, side, "o", layer))
    counts = (g.n_heads, g.n_kv_heads, g.n_kv_heads, g.n_heads)
    found: list[Floats] = []
    for matrix, heads in zip(rows, counts, strict=True):
        if matrix is None or len(matrix) % heads:
            return None
        found.append(matrix.reshape(heads, -1, matrix.shape[1]))
    return Attention(*found)


def overlap(a: Sequence[Floats], b: Sequence[Floats]) -> Doubles:
    """Return how far the heads of two models span the same rows, ``(heads_a, heads_b)``, 1 for equal spans.

    Blind to order, sign, scale and rotation of a head's channels: ``|A B'|^2`` over ``|A A'| |B B'|``, averaged over
    the matrices given (``(heads, d_head, d)`` each).
    """
    total: Doubles = np.zeros((len(a[0]), len(b[0])))
    for x, y in ((wide(m), wide(n)) for m, n in zip(a, b, strict=True)):
        flat = x.reshape(-1, x.shape[2]) @ y.reshape(-1, y.shape[2]).T
        blocks = flat.reshape(len(x), x.shape[1], len(y), y.shape[1])
        cross = np.square(blocks.astype(np.float64)).sum(axis=(1, 3))
        total += cross / np.sqrt(np.outer(_own(x), _own(y)))
    return total / len(a)


def _own(heads: Floats) -> Doubles:
    grams = np.einsum("hid,hjd->hij", heads, heads)
    return np.maximum(np.square(grams.astype(np.float64)).sum(axis=(1, 2)), 1e-300)


def match_heads(scores: Doubles, rng: np.random.Generator) -> Integers | None:
    """Return the candidate's head for each of the suspect's, None where all are in place.

    Heads move only if the assignment is clearly better than equal numbers.
    """
    n_s, n_c = scores.shape
    if n_s > n_c:
        return None
    found = assign(scores, rng)
    if n_s < n_c:
        return found
    moved = np.flatnonzero(found != np.arange(n_s))
    if not len(moved):
        return None
    own, best = float(scores[moved, moved].mean()), float(scores[moved, found[moved]].mean())
    return found if best > CLEARER * own and best > own + 0.05 else None


#: Cosine of whole heads at equal numbers from which on no other head is looked for.
PLAINLY = 0.7


def plainly_in_place(s: Attention, c: Attention) -> bool:
    """Return whether every head is so like the one of equal number that no other can be meant."""
    if s.v.shape != c.v.shape or s.q.shape != c.q.shape:
        return False
    pairs = ((s.q, c.q), (s.k, c.k), (s.v, c.v), (s.o, c.o))
    return all(
        float(row_cosines(a.reshape(len(a), -1), b.reshape(len(b), -1)).min()) > PLAINLY for a, b in pairs
    )


def match_groups(
    s: Attention, c: Attention, rng: np.random.Generator
) -> tuple[Integers | None, Integers | None]:
    """Return ``(kv heads, query heads)`` of the candidate for the suspect's; None where all are in place."""
    groups = match_heads(overlap((s.k, s.v), (c.k, c.v)), rng) if s.kv <= c.kv else None
    kv = np.arange(s.kv) if groups is None else groups
    queries = np.empty(len(s.q), np.int64)
    moved = groups is not None
    for mine, theirs in enumerate(kv):
        own = slice(mine * s.group, (mine + 1) * s.group)
        other = slice(int(theirs) * c.group, (int(theirs) + 1) * c.group)
        inside = None
        if s.group <= c.group and c.group > 1:
            inside = match_heads(overlap((s.q[own], s.o[own]), (c.q[other], c.o[other])), rng)
        moved |= inside is not None
        queries[own] = int(theirs) * c.group + (np.arange(s.group) if inside is None else inside)
    return groups, queries if moved else None
