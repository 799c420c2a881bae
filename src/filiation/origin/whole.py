"""All neurons of one wide layer, matched by what they hold, without ever holding them as units.

A layer of a 7B model has 11,008 gate rows of 4,096 values: 180 MB as float32, as much again scaled to unit length.
Here they are held as stored (:mod:`filiation.origin.compact`); gains, the common basis and unit length are applied to
the rows that are looked at, some at a time. Every number is that of :class:`~filiation.origin.units.Units`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import lcm

import numpy as np

from filiation.anatomy.model import Part, Symmetry
from filiation.origin.compact import CompactRows
from filiation.origin.gather import Side
from filiation.origin.pattern import Traits, among, lengths, sketched
from filiation.origin.units import Doubles, Floats, Integers, repeated_units, row_norms, steps_of

#: Values of a matrix from which on a layer is looked at some rows at a time.
WIDE = 1 << 22
_AT_ONCE = 1 << 20  # values that are carried at once


@dataclass(frozen=True, eq=False)
class Branch:
    """One matrix whose rows belong to the neurons of a layer, read in row order, some rows at a time."""

    side: Side
    part: Part
    role: str
    layer: int

    @property
    def shape(self) -> tuple[int, int]:
        """Neurons, and residual channels as stored."""
        return self.part.shape[0], self.part.shape[1]

    def stored(self) -> Iterator[tuple[int, Floats]]:
        """Yield the rows as stored, each time with the number of the first."""
        step = _rows_at_once(self.shape[1])
        for start in range(0, self.shape[0], step):
            yield start, self.side.anatomy.read(self.part, start, min(start + step, self.shape[0]))

    def carried(self, rows: Floats) -> Floats:
        """Return rows with the gain before them folded in, in the common basis."""
        return self.side.fold(self.role, self.layer, rows)

    def pick(self, wanted: Integers) -> Floats:
        """Read the whole matrix and return the carried rows of these numbers (ascending)."""
        picked = [rows[wanted[(wanted >= at) & (wanted < at + len(rows))] - at] for at, rows in self.stored()]
        return self.carried(np.concatenate(picked))


def branch(side: Side, role: str, layer: int, expert: int | None = None) -> Branch | None:
    """Return a wide matrix that can be read in row order at no cost; None where it is not one."""
    part = side.anatomy.part(role, layer, expert, side.component)
    if part is None or len(part.shape) != 2 or part.shape[0] * part.shape[1] < WIDE:
        return None
    # Rows of a fused or transposed matrix do not follow one another in the file.
    plain = part.view.rows is None and not part.view.transpose
    return Branch(side, part, role, layer) if plain else None


def _rows_at_once(width: int) -> int:
    """Return how many rows are worked on together: whole steps of every number that is taken row by row."""
    return lcm(*steps_of(width)) * max(1, _AT_ONCE // width // lcm(*steps_of(width)))


@dataclass(frozen=True, eq=False)
class WholeLayer:
    """The neurons of a layer, described by one branch; what :func:`~filiation.origin.matching.nearest` asks for.

    Attributes:
        held: every row as stored.
        position: ``(n,)`` the index that each of these neurons carries; all are of one block.
    """

    branch: Branch
    held: CompactRows
    position: Integers

    sign_free = False

    def __len__(self) -> int:
        return len(self.position)

    @property
    def block(self) -> Integers:
        """One block for all."""
        return np.zeros_like(self.position)

    @property
    def width(self) -> int:
        """Channels of the common basis."""
        return self.content_at(self.position[:1]).shape[1]

    def blocks(self) -> Iterator[tuple[int, Integers]]:
        """Yield the one block with its row numbers."""
        if len(self):
            yield 0, np.arange(len(self))

    def content_at(self, positions: Integers | slice) -> Floats:
        """Return the carried contents of the neurons at these positions."""
        return self.branch.carried(self.held.rows(positions))

    def normed_at(self, chosen: Integers) -> Floats:
        """Return the contents of these rows scaled to unit length."""
        out: Floats | None = None
        step = _rows_at_once(self.held.shape[1])
        for start in range(0, len(chosen), step):
            at = self.position[chosen[start : start + step]]
            rows = self.content_at(at)
            out = np.empty((len(chosen), rows.shape[1]), np.float32) if out is None else out
            out[start : start + step] = _scaled(rows, self._lengths[at])
        return np.empty((0, self.width), np.float32) if out is None else out

    def pieces(self) -> Iterator[tuple[slice, Floats, Floats]]:
        """Yield every neuron of the layer in order, some at a time: which, their contents, and those at unit length."""
        step = _rows_at_once(self.held.shape[1])
        for start in range(0, self.held.shape[0], step):
            some = slice(start, min(start + step, self.held.shape[0]))
            rows = self.content_at(some)
            yield some, rows, _scaled(rows, row_norms(rows))

    def alive(self) -> WholeLayer:
        """Return the neurons that carry a label; see :meth:`filiation.origin.units.Units.alive`."""
        living = self._living
        return self if len(living) == len(self) else replace(self, position=living)

    @cached_property
    def _lengths(self) -> Doubles:
        return np.concatenate([row_norms(rows) for _, rows, _ in self.pieces()])

    @cached_property
    def _living(self) -> Integers:
        probe = np.random.default_rng(0).standard_normal(self.width)
        seen, spread = [], []
        step = steps_of(len(probe))[1]
        for _, rows, scaled in self.pieces():
            spread.append(rows.max(axis=1) - rows.min(axis=1))
            seen += [scaled[i : i + step] @ probe for i in range(0, len(scaled), step)]
        found = repeated_units(np.concatenate(seen), self.block, self.normed_at, sign_free=False)
        return np.flatnonzero((np.concatenate(spread) > 0) & ~found)


def whole_layer(side: Side, layer: int, expert: int | None = None) -> WholeLayer | None:
    """Return the neurons of a wide layer by their gate rows, read as a stream; None where they are not wide.

    An ungated layer is described by its up rows, as :func:`~filiation.origin.gather.ffn_units` does.
    """
    gated = side.anatomy.part("gate", layer, expert, side.component) is not None
    content = branch(side, "gate" if gated else "up", layer, expert)
    if content is None:
        return None
    held = CompactRows(*content.shape)
    for _, rows in content.stored():
        held.append(rows)
    return WholeLayer(content, held, np.arange(content.shape[0]))


def signed_branch(layer: WholeLayer, expert: int | None = None) -> Branch | None:
    """Return the matrix whose rows flip with the neurons' signs; None where the sign is no label."""
    side = layer.branch.side
    if layer.branch.role != "gate" or not side.anatomy.holds(Symmetry.FFN_SIGN, side.component).holds:
        return None
    return branch(side, "up", layer.branch.layer, expert)


def _scaled(rows: Floats, lengths: Doubles) -> Floats:
    """Return rows at unit length, zero ones as they are; divided in float64, few at a time."""
    out = np.empty(rows.shape, np.float32)
    step = steps_of(rows.shape[1])[0]
    for start in range(0, len(rows), step):
        some = slice(start, start + step)
        out[some] = rows[some] / np.where(lengths[some] > 0, lengths[some], 1.0)[:, None]
    return out


def traits(layer: WholeLayer) -> Traits:
    """Return what patterns along the index are looked for in, of the neurons that carry labels."""
    live = layer.alive()
    carries = np.zeros(layer.held.shape[0], np.bool_)
    carries[live.position] = True
    some = live.normed_at(among(len(live)))
    sketch, sizes, likeness = [], [], []
    for at, rows, scaled in layer.pieces():
        kept = carries[at]
        rows, scaled = (rows, scaled) if kept.all() else (rows[kept], scaled[kept])
        sketch.append(sketched(scaled))
        sizes.append(lengths(rows))
        likeness.append((scaled @ some.T).sum(axis=1) / np.float32(max(1, len(some))))
    size = (np.concatenate(sizes),)
    return Traits(live.position, live.block, np.concatenate(sketch), size, np.concatenate(likeness))
