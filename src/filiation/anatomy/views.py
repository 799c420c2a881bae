"""Reading a canonical matrix, or a slice of it, out of the stored tensor it is a view of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.anatomy.model import Anatomy, Part
from filiation.checkpoint.model import Checkpoint, Floats, is_finite
from filiation.errors import NonFiniteWeightsError

Rows = npt.NDArray[np.int64]

# Tables of which a model reads a row at a time: one that no token or place has may hold anything.
_TABLES = frozenset({"embedding", "head", "position"})
_PROBES = 64
_AT_ONCE = 1 << 22  # values decoded at a time: 16 MB of float32


def read_view(checkpoint: Checkpoint, part: Part, start: int | None, stop: int | None, axis: int) -> Floats:
    """Return ``part``'s canonical matrix sliced along ``axis``; see :meth:`filiation.anatomy.Anatomy.read`.

    Rows of an embedding, a head or a position table that are not numbers come as zeros, and the checkpoint's
    ``rows_left_out`` says which.

    Raises:
        IndexError: the part has no such axis.
        NonFiniteWeightsError: what was read holds NaN or infinity, of a table all of it.
    """
    if _is_table(part):
        matrix = _read(_Unchecked(checkpoint), part, start, stop, axis)
        if is_finite(matrix):
            return matrix
        usable: npt.NDArray[np.bool_] = np.all(np.isfinite(matrix), axis=1, keepdims=True)[:, 0]
        if usable.any() or _has_numbers(checkpoint, part):
            _note(checkpoint, part, usable, start if axis == 0 else None)
            return np.where(usable[:, None], matrix, np.float32(0))
    return _read(checkpoint, part, start, stop, axis)


def scan_tables(model: Anatomy) -> frozenset[str]:
    """Read every embedding, head and position table, so that its rows without numbers are known, and name the tensors.

    Raises:
        NonFiniteWeightsError: no row of a table holds numbers alone.
    """
    tables = {part.tensor: part for part in model.parts if _is_table(part)}
    for part in model.parts:
        if not _is_table(part):
            tables.pop(part.tensor, None)  # something else lies in it too
    for part in tables.values():
        rows = max(1, _AT_ONCE // max(1, part.shape[1]))
        for start in range(0, part.shape[0], rows):
            read_view(model.checkpoint, part, start, start + rows, 0)
    return frozenset(tables)


def _is_table(part: Part) -> bool:
    return part.role in _TABLES and len(part.shape) == 2


@dataclass(frozen=True, slots=True)
class _Unchecked:
    """A checkpoint that hands out what is stored, numbers or not."""

    checkpoint: Checkpoint

    def read(self, name: str, *index: int | slice) -> Floats:
        try:
            return self.checkpoint.read(name, *index)
        except NonFiniteWeightsError:
            return self.checkpoint.stored[name].read(index)


def _note(checkpoint: Checkpoint, part: Part, usable: npt.NDArray[np.bool_], start: int | None) -> None:
    first = slice(start, None).indices(part.shape[0])[0]
    seen = checkpoint.rows_left_out.setdefault(part.tensor, set())
    seen.update((first + np.flatnonzero(np.logical_not(usable))).tolist())


def _has_numbers(checkpoint: Checkpoint, part: Part) -> bool:
    """Return whether any of some rows all over a table is finite."""
    rows = np.linspace(0, part.shape[0] - 1, min(_PROBES, part.shape[0])).astype(int).tolist()
    unchecked = _Unchecked(checkpoint)
    return any(is_finite(_read(unchecked, part, row, row + 1, 0)) for row in rows)


def _read(
    checkpoint: Checkpoint | _Unchecked, part: Part, start: int | None, stop: int | None, axis: int
) -> Floats:
    if not part.shape:
        return _shifted(checkpoint.read(part.tensor, *_lead(part)), part)
    window = slice(*slice(start, stop).indices(part.shape[axis])[:2])
    everything = slice(0, part.shape[0])
    if not part.view.transpose and axis == 1 and part.view.rows is None:
        # The reader is told which columns: kinds that are packed along them decode and read only those.
        matrix = checkpoint.read(part.tensor, *_lead(part), slice(None), window)
    elif not part.view.transpose:
        matrix = _take_rows(checkpoint, part, window if axis == 0 else everything)
        matrix = matrix if axis == 0 else matrix[:, window]
    elif axis == 1:
        # The stored leading axis is the canonical second one: the slice is a range read.
        matrix = checkpoint.read(part.tensor, *_lead(part), window).T
        matrix = matrix if part.view.rows is None else matrix[part.view.rows]
    else:
        whole = checkpoint.read(part.tensor, *_lead(part)).T
        matrix = whole[_row_numbers(part.view.rows, window)]
    return _shifted(matrix.reshape(_sliced_shape(part.shape, axis, window)), part)


def _lead(part: Part) -> tuple[int, ...]:
    return () if part.view.expert is None else (part.view.expert,)


def _shifted(matrix: Floats, part: Part) -> Floats:
    return matrix + np.float32(part.view.offset) if part.view.offset else matrix


def _sliced_shape(shape: tuple[int, ...], axis: int, window: slice) -> tuple[int, ...]:
    length = max(0, window.stop - window.start)
    return (*shape[:axis], length, *shape[axis + 1 :])


def _row_numbers(rows: Rows | None, window: slice) -> slice | Rows:
    return window if rows is None else rows[window]


def _take_rows(checkpoint: Checkpoint | _Unchecked, part: Part, window: slice) -> Floats:
    lead, rows = _lead(part), _row_numbers(part.view.rows, window)
    if isinstance(rows, slice):
        return checkpoint.read(part.tensor, *lead, rows)
    if not len(rows):
        return np.zeros((0, *part.shape[1:]), np.float32)
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= 2 * len(rows):  # dense enough: one read, then pick
        block = checkpoint.read(part.tensor, *lead, slice(low, high))
        return block if _is_run(rows) else block[rows - low]
    return _take_runs(checkpoint, part, rows)


def _is_run(rows: Rows) -> bool:
    """Whether the rows are consecutive: then what was read is what was asked for."""
    return bool(np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))))


def _take_runs(checkpoint: Checkpoint | _Unchecked, part: Part, rows: Rows) -> Floats:
    """Read scattered rows run by run, then put them into the order asked for."""
    lead = _lead(part)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    breaks = np.flatnonzero(np.diff(ordered) > 1) + 1
    runs = [
        checkpoint.read(part.tensor, *lead, slice(int(run[0]), int(run[-1]) + 1))[run - run[0]]
        for run in np.split(ordered, breaks)
    ]
    gathered = np.concatenate(runs)
    result = np.empty_like(gathered)
    result[order] = gathered
    return result
