"""Reading a canonical matrix, or a slice of it, out of the stored tensor it is a view of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.anatomy.model import Part
from filiation.checkpoint.model import Checkpoint, Floats


def read_view(checkpoint: Checkpoint, part: Part, start: int | None, stop: int | None, axis: int) -> Floats:
    """Return ``part``'s canonical matrix sliced along ``axis``; see :meth:`filiation.anatomy.Anatomy.read`."""
    view = part.view
    lead: tuple[int, ...] = () if view.expert is None else (view.expert,)
    window = slice(*slice(start, stop).indices(part.shape[axis])[:2])
    if axis == 0 and not view.transpose:
        matrix = _take_rows(checkpoint, part, lead, _row_numbers(view.rows, window))
    elif axis == 1 and view.transpose:
        # The stored leading axis is the canonical second one: the slice is a range read.
        matrix = checkpoint.read(part.tensor, *lead, window).T
        matrix = matrix if view.rows is None else matrix[view.rows]
    else:
        whole = checkpoint.read(part.tensor, *lead)
        whole = whole.T if view.transpose else whole
        whole = whole if view.rows is None else whole[view.rows]
        matrix = whole[window] if axis == 0 else whole[:, window]
    if view.offset:
        matrix = matrix + np.float32(view.offset)
    return matrix.reshape(_sliced_shape(part.shape, axis, window))


def _sliced_shape(shape: tuple[int, ...], axis: int, window: slice) -> tuple[int, ...]:
    length = max(0, window.stop - window.start)
    return (*shape[:axis], length, *shape[axis + 1 :])


def _row_numbers(rows: npt.NDArray[np.int64] | None, window: slice) -> slice | npt.NDArray[np.int64]:
    return window if rows is None else rows[window]


def _take_rows(
    checkpoint: Checkpoint, part: Part, lead: tuple[int, ...], rows: slice | npt.NDArray[np.int64]
) -> Floats:
    if isinstance(rows, slice):
        return checkpoint.read(part.tensor, *lead, rows)
    if not len(rows):
        return np.zeros((0, *part.shape[1:]), np.float32)
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= 2 * len(rows):  # dense enough: one read, then pick
        return checkpoint.read(part.tensor, *lead, slice(low, high))[rows - low]
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
