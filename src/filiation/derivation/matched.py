"""Two matched parts: reading the suspect's, and predicting it from the candidate's by moves that keep the function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from filiation.anatomy.model import Anatomy, Axis, Part
from filiation.anatomy.roles import NORMS
from filiation.derivation.residual import IN_PLACE, Residual
from filiation.derivation.unitmap import STILL, UnitMap
from filiation.origin.level import level, unseen_through
from filiation.origin.scale import energy
from filiation.origin.units import Floats, Integers

CHUNK = 1 << 19
"""Values read at a time."""
#: Gain, over the median, below which dividing by it leaves rounding.
TOO_SMALL = 0.05
#: Share of a difference that must go with what norms let nobody see before rows are compared without it.
SEEN_EXPLAINS = 0.5
#: Share of what is there that norms must let through for a likeness to say anything.
SEEN_LITTLE = 0.1

Blocks = Iterator[tuple[int, Floats, Floats]]


@dataclass(frozen=True, eq=False)
class Fold:
    """The gains of the norm that a reader reads through: the suspect's and the candidate's own."""

    suspect: Floats
    candidate: Floats


@dataclass(frozen=True, eq=False)
class Unseen:
    """That norms which subtract the mean let nobody see a part of these rows: by the gains they read through.

    The suspect's gain and the candidate's, the latter in the suspect's channels; None where none is between.
    """

    suspect: Floats | None = None
    candidate: Floats | None = None


@dataclass(frozen=True, eq=False)
class Matched:
    """A part of the suspect and the part of the candidate it is compared with.

    ``units`` acts along the axis that is not the residual one. ``fold`` is set where the two gains differ by a
    rescaling: each model's own gain is folded in, since a gain near zero, taken out of the candidate's rows, would
    leave little but rounding. ``rows`` are the suspect's and the candidate's row numbers where only some rows are
    comparable (shared tokens). ``unseen`` is set where norms let nobody see a part of the rows, ``hidden`` where the
    models differ so much in that part that they are compared without it.
    """

    suspect: Anatomy
    candidate: Anatomy
    mine: Part
    theirs: Part
    residual: Residual = IN_PLACE
    units: UnitMap = STILL
    fold: Fold | None = None
    rows: tuple[Integers, Integers] | None = None
    unseen: Unseen | None = None
    hidden: bool = False

    @property
    def residual_axis(self) -> int | None:
        """The canonical axis of the suspect's part that runs along the residual stream."""
        return next((n for n, axis in enumerate(self.mine.axes) if axis is Axis.RESIDUAL), None)

    @property
    def is_gain(self) -> bool:
        """Whether the part is a norm's gain over residual channels."""
        return self.mine.role in NORMS

    @property
    def moved(self) -> bool:
        """Whether the prediction is computed (so rounded), not merely read."""
        computed = self.residual.matrix is not None or self.fold is not None
        return (
            computed
            or self.hidden
            or self.units.factor is not None
            or self.units.mix is not None
            or self.units.pool is not None
        )

    def comparable(self) -> bool:
        """Return whether the prediction has the suspect's shape."""
        if self.rows is not None:
            other_width = self.residual.kind == "injected" or self.residual.matrix is not None
            return self.mine.shape[1:] == self.theirs.shape[1:] or other_width
        if self.is_gain and self.residual.matrix is not None:
            return False
        return self._predicted_shape() == self.mine.shape

    def _predicted_shape(self) -> tuple[int, ...]:
        shape = list(self.theirs.shape)
        axis = self.residual_axis
        if axis is not None and axis < len(shape) and not self.residual.trivial:
            shape[axis] = self.mine.shape[axis]
        unit_axis = self._unit_axis()
        if unit_axis is not None and unit_axis < len(shape):
            shape[unit_axis] = self._units_after(shape[unit_axis])
        return tuple(shape)

    def _units_after(self, count: int) -> int:
        if self.units.index is not None:
            return len(self.units.index)
        if self.units.pool is not None:
            heads_s, heads_c = self.units.pool.shape
            return count * heads_s // heads_c
        return count

    def _unit_axis(self) -> int | None:
        axis, dimensions = self.residual_axis, len(self.mine.shape)
        if dimensions == 1:
            return 0 if axis is None else None
        return 1 if axis == 0 else 0

    def blocks(self) -> Blocks:
        """Yield ``(first row, suspect rows, predicted rows)`` over the whole part; vectors come as one row."""
        if self.rows is not None:
            yield from self._token_blocks()
        elif self._rowwise:
            size = max(1, CHUNK // max(1, int(np.prod(self.mine.shape[1:]))))
            for start in range(0, self.mine.shape[0], size):
                yield start, *self.window(start, min(start + size, self.mine.shape[0]))
        else:
            yield 0, _flat(self._own(self.suspect.read(self.mine))), _flat(self.predicted())

    @property
    def _rowwise(self) -> bool:
        """Whether row ``i`` of the suspect needs row ``i`` of the candidate alone, and rows can be read in ranges."""
        if len(self.mine.shape) < 2 or self.mine.view.transpose or self.theirs.view.transpose:
            return False
        if self.residual_axis == 0:
            return self.residual.trivial
        return self.units.by_row

    def window(self, start: int, stop: int) -> tuple[Floats, Floats]:
        """Return rows ``start:stop`` of the suspect and their prediction, as matrices."""
        if self.rows is not None:
            return self._token_rows(self.rows[0][start:stop], self.rows[1][start:stop])
        if not self._rowwise:
            mine = _flat(self._own(self.suspect.read(self.mine)))
            return mine[start:stop], _flat(self.predicted())[start:stop]
        mine = self._own(self.suspect.read(self.mine, start, stop))
        theirs = self.candidate.read(self.theirs, start, stop)
        if self.residual_axis == 0:
            return _flat(mine), _flat(self.units.apply(theirs.T).T)
        return _flat(mine), _flat(self.units.scale(self._carried(theirs), start))

    def _carried(self, rows: Floats) -> Floats:
        """Carry a reader's rows: fold the candidate's gain in, change channels."""
        if self.residual_axis != 1:
            return rows
        if self.fold is not None:
            rows = rows * self.fold.candidate
        return self.residual.carry(rows)

    def _own(self, rows: Floats) -> Floats:
        """Return the suspect's rows as they are compared."""
        if self.fold is None or self.residual_axis != 1:
            return rows
        return (rows * self.fold.suspect).astype(np.float32)

    def as_stored(self, s: Floats, p: Floats) -> tuple[Floats, Floats]:
        """Return compared rows with the suspect's gain taken out again: lattices hold for what is stored.

        Where the gain is too small for that, nothing can be told of the candidate; there the suspect's values stand
        for it.
        """
        if self.fold is None or self.residual_axis != 1:
            return s, p
        gain = np.broadcast_to(self.fold.suspect, (self.mine.shape[1],))[: s.shape[1]]
        size = np.abs(gain)
        clear = size > TOO_SMALL * float(np.median(size))
        safe = np.where(gain != 0, gain, 1.0)
        mine = (s / safe).astype(np.float32)
        return mine, np.where(clear, p / safe, mine).astype(np.float32)

    def predicted(self) -> Floats:
        """Return the whole part as the suspect would hold it if nothing but units and channels had moved."""
        theirs = self.candidate.read(self.theirs)
        axis = self.residual_axis
        if theirs.ndim == 1:
            return self._predicted_vector(theirs, axis)
        if axis == 0 and theirs.ndim == 2:
            return np.ascontiguousarray(self.units.apply(self.residual.carry(theirs.T)).T)
        return self.units.apply(self._carried(theirs))

    def _predicted_vector(self, theirs: Floats, axis: int | None) -> Floats:
        if axis is None:
            return self.units.apply(theirs)
        if self.is_gain:
            carried = self.residual.carry_gain(theirs)
            return theirs if carried is None else carried
        return self.residual.carry(theirs)

    def _token_blocks(self) -> Blocks:
        assert self.rows is not None
        size = max(1, CHUNK // max(1, self.mine.shape[1]))
        for start in range(0, len(self.rows[0]), size):
            stop = start + size
            yield start, *self._token_rows(self.rows[0][start:stop], self.rows[1][start:stop])

    def _token_rows(self, mine: Integers, theirs: Integers) -> tuple[Floats, Floats]:
        s, c = gather_rows(self.suspect, self.mine, mine), gather_rows(self.candidate, self.theirs, theirs)
        return self._own(s), self._carried(c)

    def hides(self, s: Floats, p: Floats) -> bool:
        """Return whether what norms let nobody see makes up most of a difference, or nearly all of what is there."""
        if self.unseen is None or s.shape != p.shape or np.array_equal(s, p):
            return False
        mine, theirs = self.seen(s, p)
        whole, left = float(energy(s)), float(energy(mine))
        if not whole or not left:
            return False
        apart, still = float(energy(s - p)) / whole, float(energy(mine - theirs)) / left
        return still < SEEN_EXPLAINS * apart or left < SEEN_LITTLE * whole

    def seen(self, s: Floats, p: Floats) -> tuple[Floats, Floats]:
        """Return rows without what norms let nobody see; where rows are channels, as far as those at hand show it."""
        assert self.unseen is not None
        if self.residual_axis == 0:
            return s - s.mean(axis=0), p - p.mean(axis=0)
        gains = (None, None) if self.fold is not None else (self.unseen.suspect, self.unseen.candidate)
        return level(s.copy(), unseen_through(gains[0])), level(p.copy(), unseen_through(gains[1]))

    def unfolded(self) -> Matched:
        """Return the same match without gains folded."""
        return replace(self, fold=None)


def gather_rows(anatomy: Anatomy, part: Part, rows: Integers) -> Floats:
    """Return the given rows of a part, read in as few ranges as the numbers allow."""
    if not len(rows):
        return np.zeros((0, *part.shape[1:]), np.float32)
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= 4 * len(rows):
        return anatomy.read(part, low, high)[rows - low]
    order = np.argsort(rows, kind="stable")
    breaks = np.flatnonzero(np.diff(rows[order]) > 64) + 1
    found = np.empty((len(rows), *part.shape[1:]), np.float32)
    for run in np.split(order, breaks):
        first, last = int(rows[run[0]]), int(rows[run[-1]]) + 1
        found[run] = anatomy.read(part, first, last)[rows[run] - first]
    return found


def _flat(values: Floats) -> Floats:
    """Return a matrix: single values and vectors become one row, higher ranks are flattened behind the first axis."""
    if values.ndim < 2:
        return np.reshape(values, (1, -1))
    return values if values.ndim == 2 else values.reshape(len(values), -1)
