"""Units: the things a symmetry permutes or flips, with the contents a matching may read.

A test sees two :class:`Units` and nothing else: neither file nor family nor layer. That is what makes its null
distribution checkable: relabel the suspect's units, and everything the test may not read has been randomised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

#: One minus the cosine below which two contents are the same content, rounded differently.
EQUAL = 1e-5
#: Positions that every common quantisation block is a multiple of (Q6_K, NVFP4: 16; Q4_0, MXFP4: 32; FP8: 128).
GRAIN = 16
#: Values that are worked on in float64 at once.
_AT_ONCE = 1 << 16


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
        probe = np.random.default_rng(0).standard_normal(self.content.shape[1])
        normed, step = self.normed, max(64, _AT_ONCE // len(probe) // 64 * 64)
        seen = np.concatenate([normed[i : i + step] @ probe for i in range(0, len(normed), step)])
        seen = np.abs(seen) if self.sign_free else seen
        order = np.lexsort((seen, self.block))
        one, other = order[:-1], order[1:]
        near = (self.block[one] == self.block[other]) & (seen[other] - seen[one] < 1e-4)
        one, other = one[near], other[near]
        cosines = np.einsum("ij,ij->i", self.normed[one], self.normed[other], dtype=np.float64)
        equal = (np.abs(cosines) if self.sign_free else cosines) > 1 - EQUAL
        marked = np.zeros(len(self), np.bool_)
        marked[one[equal]] = marked[other[equal]] = True
        return marked

    def inside_blocks(self) -> Units:
        """Return the units with their blocks split into runs of :data:`GRAIN` positions."""
        return replace(self, block=self.block * (1 << 32) + self.position // GRAIN, blocked=False)

    def blocks(self) -> Iterator[tuple[int, Integers]]:
        """Yield each block number with its row numbers, ascending."""
        for block in np.unique(self.block):
            yield int(block), np.flatnonzero(self.block == block)


def unit_rows(matrix: Floats) -> Floats:
    """Return the rows scaled to unit length; zero rows stay zero."""
    scaled = np.empty(matrix.shape, np.float32)
    # Some rows at a time: what is divided in float64 never leaves the processor's cache.
    step = max(1, _AT_ONCE // max(1, matrix.shape[1]))
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
    for mine, theirs in zip(suspect.signed, candidate.signed, strict=True):
        a, b = unit_rows(mine), unit_rows(theirs[match])
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
