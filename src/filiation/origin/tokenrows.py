"""What a basis is estimated from: the embedding rows of shared tokens, held whole or, of wide models, summed up.

Three rows for each of 4,096 channels are 200 MB a model as float32. Of such models one pass over the rows keeps their
products, sums and squares, from which every correlation and every rotation follows, and the few rows on which a basis
is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from filiation.origin import basis as bases
from filiation.origin.basis import Basis
from filiation.origin.compact import CompactRows
from filiation.origin.gather import Side, embedding_rows, token_rows
from filiation.origin.level import level
from filiation.origin.matching import assign_rows
from filiation.origin.pairing import TokenRows
from filiation.origin.polar import nearest_rotation
from filiation.origin.recovered import (
    MOST_CHANNELS,
    ROWS_PER_CHANNEL,
    Recovered,
    by_channels,
    judged_channels,
    recovered,
)
from filiation.origin.units import Doubles, Floats, Integers

#: Residual channels from which on rows are not held.
WIDE = 2048
#: Token rows that are read at once, and channels that are worked on at once.
_CHUNK, _CHANNELS = 1024, 256
#: Share of a channel's squares below which what is left of them about the mean is rounding.
_CONSTANT = 1e-6


class SharedRows(Protocol):
    """The shared token rows of two models, as far as estimating a basis needs them."""

    def __len__(self) -> int: ...

    def signed_permutation(self, rng: np.random.Generator, *, signed: bool) -> Basis:
        """See :func:`filiation.origin.basis.signed_permutation`."""
        ...

    def rotation(self) -> Basis:
        """See :func:`filiation.origin.basis.rotation`; the last thing that is asked for."""
        ...

    def recovered(self, basis: Basis, rng: np.random.Generator) -> Recovered | None:
        """See :func:`filiation.origin.recovered.recovered`."""
        ...


def read_rows(suspect: Side, candidate: Side, wanted: TokenRows) -> SharedRows | None:
    """Read the embedding rows of these tokens; None where a model has none that lie in the residual channels."""
    if max(suspect.geometry.d_model, candidate.geometry.d_model) > WIDE:
        return _summed(suspect, candidate, wanted)
    mine, theirs = token_rows(suspect, wanted.suspect), token_rows(candidate, wanted.candidate)
    return None if mine is None or theirs is None else HeldRows(mine, theirs)


class HeldRows:
    """Rows ``(tokens, d_s)`` and ``(tokens, d_c)`` in memory."""

    def __init__(self, mine: Floats, theirs: Floats) -> None:
        self._mine, self._theirs = mine, theirs

    def __len__(self) -> int:
        return len(self._mine)

    def signed_permutation(self, rng: np.random.Generator, *, signed: bool) -> Basis:
        """Match channels by the correlation of their columns."""
        return bases.signed_permutation(self._mine, self._theirs, rng, signed)

    def rotation(self) -> Basis:
        """Fit a rotation."""
        return bases.rotation(self._mine, self._theirs)

    def recovered(self, basis: Basis, rng: np.random.Generator) -> Recovered | None:
        """Judge a basis."""
        return recovered(basis, self._mine, self._theirs, rng)


class SummedRows:
    """Products and sums of rows that were seen once, and the rows on which a basis is judged.

    Every fourth row is held out of the fit of a rotation; the first ones show how far channels stand out. Rows are
    held as stored and levelled when they are looked at (``levelled``: of which models).
    """

    def __init__(
        self, rows: int, mine: int, theirs: int, levelled: tuple[bool, bool] = (False, False)
    ) -> None:
        self._rows, self._seen, self._levelled = rows, 0, levelled
        self._products = np.zeros((mine, theirs), np.float32)
        self._sums = np.zeros(mine), np.zeros(theirs)
        self._squares = np.zeros(mine), np.zeros(theirs)
        self._first = min(rows, ROWS_PER_CHANNEL * MOST_CHANNELS)
        self._head: tuple[CompactRows, ...] = tuple(CompactRows(self._first, d) for d in (mine, theirs))
        late = sum(i % 4 == 3 for i in range(self._first, rows))
        self._held_out: tuple[CompactRows, ...] = tuple(CompactRows(late, d) for d in (mine, theirs))

    def __len__(self) -> int:
        return self._rows

    def add(self, mine: Floats, theirs: Floats) -> None:
        """Add the next rows of both models, as stored; they are levelled in place."""
        number = np.arange(self._seen, self._seen + len(mine))
        self._seen += len(mine)
        for rows, head, late, sums, squares, levelled in zip(
            (mine, theirs),
            self._head,
            self._held_out,
            self._sums,
            self._squares,
            self._levelled,
            strict=True,
        ):
            head.append(rows[number < self._first])
            late.append(rows[(number >= self._first) & (number % 4 == 3)])
            rows = level(rows) if levelled else rows
            sums += rows.sum(axis=0, dtype=np.float64)
            squares += np.einsum("ij,ij->j", rows, rows, dtype=np.float64)
        for start in range(0, len(self._products), _CHANNELS):
            some = slice(start, start + _CHANNELS)
            self._products[some] += mine[:, some].T @ theirs

    def signed_permutation(self, rng: np.random.Generator, *, signed: bool) -> Basis:
        """Match channels by the correlation of their columns, some rows of the correlations at a time."""
        d_s, d_c = self._products.shape
        turned = d_s > d_c
        rows, columns = (d_c, d_s) if turned else (d_s, d_c)

        def likeness(chosen: Integers) -> Doubles:
            found = self._correlations(chosen, turned=turned)
            return np.abs(found, out=found) if signed else found

        match = assign_rows(likeness, rows, columns, rng)
        chosen = self._chosen(match, turned=turned)
        signs = np.where(chosen < 0, -1.0, 1.0).astype(np.float32) if signed else np.ones(rows, np.float32)
        kind = "signed_permutation" if d_s == d_c else "injection"
        agreement = float(np.abs(chosen).mean())
        if turned:
            return Basis(kind, suspect_columns=match, signs=signs, agreement=agreement)
        return Basis(kind, match, signs=signs, agreement=agreement)

    def _chosen(self, match: Integers, *, turned: bool) -> Doubles:
        found: list[Doubles] = []
        for start in range(0, len(match), _CHANNELS):
            rows = np.arange(start, min(start + _CHANNELS, len(match)))
            found.append(self._correlations(rows, turned=turned)[np.arange(len(rows)), match[rows]])
        return np.concatenate(found)

    def _correlations(self, chosen: Integers, *, turned: bool) -> Doubles:
        """Return the correlations of these columns of one model with all of the other."""
        products = self._products[:, chosen].T if turned else self._products[chosen]
        one, other = (1, 0) if turned else (0, 1)
        a, b = self._sums[one][chosen], self._sums[other]
        spread = self._spread(one)[chosen], self._spread(other)
        found = products.astype(np.float64)
        found -= np.outer(a, b / self._seen)
        found /= np.where(spread[0] > 0, spread[0], np.inf)[:, None]
        found /= np.where(spread[1] > 0, spread[1], np.inf)
        return found

    def _spread(self, side: int) -> Doubles:
        """Return the length of each centred column; 0 for constant ones."""
        about = self._squares[side] - np.square(self._sums[side]) / self._seen
        return np.sqrt(np.where(about > _CONSTANT * self._squares[side], about, 0.0))

    def recovered(self, basis: Basis, rng: np.random.Generator) -> Recovered | None:
        """Judge a basis by the first rows; a rotation of so many channels is not judged."""
        if basis.matrix is not None:
            return None
        carried = basis.suspect(self._kept(0, slice(0, 1))).shape[1]
        chosen = judged_channels(carried, self._rows, rng)
        if chosen is None:
            return None
        rows = min(self._rows, ROWS_PER_CHANNEL * len(chosen))
        pieces = [slice(start, min(start + _CHUNK, rows)) for start in range(0, rows, _CHUNK)]
        mine = [basis.suspect(self._kept(0, some))[:, chosen] for some in pieces]
        theirs = [basis.candidate(self._kept(1, some))[:, chosen] for some in pieces]
        return by_channels(basis, np.concatenate(mine), np.concatenate(theirs))

    def _kept(self, side: int, some: slice) -> Floats:
        """Return some of the first rows of one model."""
        return self._as_compared(side, self._head[side].rows(some))

    def _as_compared(self, side: int, rows: Floats) -> Floats:
        return level(rows) if self._levelled[side] else rows

    def rotation(self) -> Basis:
        """Fit a rotation on all rows but those held out; the products are used up."""
        for held in self._judged():
            for start in range(0, len(self._products), _CHANNELS):
                some = slice(start, start + _CHANNELS)
                self._products[some] -= held[0][:, some].T @ held[1]
        matrix = nearest_rotation(self._products)
        self._products = np.zeros((0, 0), np.float32)
        cosines: list[Doubles] = []
        for mine, theirs in self._judged():
            carried = mine @ matrix
            norms = np.linalg.norm(carried, axis=1) * np.linalg.norm(theirs, axis=1)
            cosines.append(np.einsum("ij,ij->i", carried, theirs) / np.where(norms > 0, norms, 1.0))
        self._head = self._held_out = ()
        return Basis("rotation", matrix=matrix, agreement=float(np.concatenate(cosines).mean()))

    def _judged(self) -> Iterator[tuple[Floats, Floats]]:
        """Yield the rows that are held out, some at a time."""
        early = np.arange(3, self._first, 4)
        for kept, numbers in ((self._head, early), (self._held_out, np.arange(len(self._held_out[0])))):
            for start in range(0, len(numbers), _CHUNK):
                some = numbers[start : start + _CHUNK]
                yield self._as_compared(0, kept[0].rows(some)), self._as_compared(1, kept[1].rows(some))


def _summed(suspect: Side, candidate: Side, wanted: TokenRows) -> SummedRows | None:
    found: SummedRows | None = None
    for start in range(0, len(wanted.suspect), _CHUNK):
        part = slice(start, start + _CHUNK)
        mine = embedding_rows(suspect, wanted.suspect[part])
        theirs = embedding_rows(candidate, wanted.candidate[part])
        if mine is None or theirs is None:
            return None
        if found is None:
            levelled = suspect.levelled, candidate.levelled
            found = SummedRows(len(wanted.suspect), mine.shape[1], theirs.shape[1], levelled)
        found.add(mine, theirs)
    return found
