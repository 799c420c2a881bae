"""Units: the things a symmetry permutes or flips, with the contents a matching may read.

A test sees two :class:`Units` and nothing else: neither file nor family nor layer. That is what makes its null
distribution checkable: relabel the suspect's units, and everything the test may not read has been randomised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from filiation.origin.sorting import distinct

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: One minus the cosine below which two contents are the same content, rounded differently.
EQUAL = 1e-5
#: Positions that every common quantisation block is a multiple of (Q6_K, NVFP4: 16; Q4_0, MXFP4: 32; FP8: 128).
GRAIN = 16
#: Values of signed contents up to which their scaled rows are kept for the next test.
_KEPT = 1 << 20
#: Values that are worked on in float64 at once.
_AT_ONCE = 1 << 16
#: Pairs of units whose contents are compared in full at once.
_PAIRS = 1 << 10


@dataclass(frozen=True, eq=False)
class Units:
    """The units of one label set of one model.

    Attributes:
        kind: ``residual, ffn, value, kv_group, query_head`` or ``expert``.
        content: ``(n, m)``; what a matching may read. It does not depend on the unit's position and, unless
            ``sign_free`` is set, not on its sign either (gate rows do not change when up and down flip).
        signed: arrays ``(n, m_k)`` that all flip with the unit's sign; empty where the sign is no label.
        position: ``(n,)`` the index the unit carries: the order label.
        block: ``(n,)`` units are exchangeable inside a block only (channels of one head; one sampled window).
        sign_free: compare ``|cosine|`` of contents, because the contents flip with the sign.
        paired: the contents are two of equal width side by side (up rows and down columns of an ungated layer).
        blocked: the stored values share quantisation scales in blocks along the units, so the order is a label
            inside such a block only (see :meth:`inside_blocks`).
    """

    kind: str
    content: Floats
    position: Integers
    block: Integers
    signed: tuple[Floats, ...] = ()
    sign_free: bool = False
    blocked: bool = False
    paired: bool = False

    def __len__(self) -> int:
        return len(self.position)

    @cached_property
    def normed(self) -> Floats:
        """Contents scaled to unit length."""
        return unit_rows(self.content)

    def normed_at(self, chosen: Integers) -> Floats:
        """Return the contents of these rows scaled to unit length."""
        return self.normed[chosen]

    def take(self, chosen: Integers) -> Units:
        """Return the units at these row numbers."""
        if len(chosen) == len(self) and bool((chosen == np.arange(len(self))).all()):
            return self  # with what was worked out about its contents
        return replace(
            self,
            content=self.content[chosen],
            position=self.position[chosen],
            block=self.block[chosen],
            signed=tuple(s[chosen] for s in self.signed),
        )

    def alive(self) -> Units:
        """Return the units that carry a label: neither zero nor constant, and equal to no other of their block.

        Padding and dead units carry none. Units of equal content cannot be told apart by it, and those that
        flip together would be counted as several coins.
        """
        return self.take(self._living)

    def filled(self) -> Units:
        """Return the units that hold anything, copies of one another as well."""
        return self.take(np.flatnonzero(np.ptp(self.content, axis=1) > 0)) if self.content.size else self

    @cached_property
    def signs_normed(self) -> tuple[Floats, ...]:
        """Signed contents scaled to unit length; several tests of a label set read them."""
        return tuple(unit_rows(s) for s in self.signed)

    @cached_property
    def _living(self) -> Integers:
        """Row numbers of living units. Not the units: an object that holds itself is freed late, with its arrays."""
        if not len(self) or not self.content.shape[1]:
            return np.zeros(0, np.int64)
        spread = self.content.max(axis=1) - self.content.min(axis=1)
        return np.flatnonzero((spread > 0) & ~self._repeated)

    @cached_property
    def _repeated(self) -> npt.NDArray[np.bool_]:
        """Which units have (up to rounding, and to the sign where it is free) the content of another."""
        probe = _probe(self.content.shape[1])
        normed, step = self.normed, steps_of(len(probe))[1]
        seen = np.concatenate([normed[i : i + step] @ probe for i in range(0, len(normed), step)])
        return repeated_units(seen, self.block, self.normed_at, sign_free=self.sign_free)

    def inside_blocks(self) -> Units:
        """Return the units with their blocks split into runs of :data:`GRAIN` positions."""
        return replace(self, block=self.block * (1 << 32) + self.position // GRAIN, blocked=False)

    def blocks(self) -> Iterator[tuple[int, Integers]]:
        """Yield each block number with its row numbers, ascending."""
        for block in distinct(self.block):
            yield int(block), np.flatnonzero(self.block == block)


@lru_cache(maxsize=16)
def _probe(width: int) -> Doubles:
    return np.random.default_rng(0).standard_normal(width)


def repeated_units(
    seen: Doubles, block: Integers, normed_at: Callable[[Integers], Floats], *, sign_free: bool
) -> npt.NDArray[np.bool_]:
    """Return which units have the content of another of their block, up to rounding (and sign where it is free).

    Args:
        seen: ``(n,)`` one number for each unit, equal for equal contents: only near ones are compared in full.
        block: ``(n,)``.
        normed_at: gives rows of the contents at unit length.
    """
    seen = np.abs(seen) if sign_free else seen
    order = np.lexsort((seen, block))
    one, other = order[:-1], order[1:]
    near = (block[one] == block[other]) & (seen[other] - seen[one] < 1e-4)
    one, other = one[near], other[near]
    marked = np.zeros(len(seen), np.bool_)
    for start in range(0, len(one), _PAIRS):
        left, right = one[start : start + _PAIRS], other[start : start + _PAIRS]
        cosines = np.einsum("ij,ij->i", normed_at(left), normed_at(right), dtype=np.float64)
        equal = (np.abs(cosines) if sign_free else cosines) > 1 - EQUAL
        marked[left[equal]] = marked[right[equal]] = True
    return marked


def steps_of(width: int) -> tuple[int, int]:
    """Return how many rows of ``width`` values are scaled at once, and how many are told apart at once."""
    step = _AT_ONCE // max(1, width)
    return max(1, step), max(64, step // 64 * 64)


def row_norms(matrix: Floats) -> Doubles:
    """Return the length of each row, added up in float64 over the same rows at once as :func:`unit_rows` does."""
    step = steps_of(matrix.shape[1])[0]
    pieces = (matrix[start : start + step] for start in range(0, len(matrix), step))
    norms = [np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)) for rows in pieces]
    return np.concatenate(norms) if norms else np.zeros(0)


def unit_rows(matrix: Floats) -> Floats:
    """Return the rows scaled to unit length; zero rows stay zero."""
    scaled = np.empty(matrix.shape, np.float32)
    # Some rows at a time: what is divided in float64 never leaves the processor's cache.
    step = steps_of(matrix.shape[1])[0]
    for start in range(0, len(matrix), step):
        rows = matrix[start : start + step]
        norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
        scaled[start : start + step] = rows / np.where(norms > 0, norms, 1.0)[:, None]
    return scaled


def similarity(suspect: Units, candidate: Units) -> Doubles:
    """Return the ``(n_s, n_c)`` cosines of contents (absolute ones where contents flip with the sign)."""
    cosines = (suspect.normed @ candidate.normed.T).astype(np.float64)
    return np.abs(cosines) if suspect.sign_free else cosines


def signed_agreement(suspect: Units, candidate: Units, match: Integers) -> Doubles:
    """Return ``c_i``: the summed cosines of the signed contents of each suspect unit and its match.

    Entries are 0 where nothing is defined; the caller drops them.
    """
    total = np.zeros(len(suspect))
    small = sum(s.size for s in candidate.signed) <= _KEPT
    in_place = small and len(match) == len(candidate) and bool((match == np.arange(len(match))).all())
    for k, (mine, theirs) in enumerate(zip(suspect.signed, candidate.signed, strict=True)):
        a = suspect.signs_normed[k] if small else unit_rows(mine)
        b = candidate.signs_normed[k] if in_place else unit_rows(theirs[match])
        total += np.einsum("ij,ij->i", a, b, dtype=np.float64)
    return total


def relabelled(units: Units, rng: np.random.Generator) -> Units:
    """Return the units after a uniformly random element of their symmetry group: what H0 makes equally likely.

    Positions are permuted inside blocks; where signs are labels, each unit's signed contents (and, when they flip
    with the sign, its contents) are flipped by a fair coin. Rows come back in ascending position, as from a file.
    """
    position = units.position.copy()
    for _, rows in units.blocks():
        position[rows] = rng.permutation(position[rows])
    flips = rng.choice(np.array([-1.0, 1.0], np.float32), size=(len(units), 1))
    content = units.content * flips if units.sign_free and units.signed else units.content
    flipped = replace(
        units, content=content, position=position, signed=tuple(s * flips for s in units.signed)
    )
    return flipped.take(np.lexsort((position, units.block)))
