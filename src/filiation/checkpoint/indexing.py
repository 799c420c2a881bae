"""Which contiguous run of stored values an index needs, and what is left to do once it is in memory."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass

from filiation.checkpoint.model import Index


@dataclass(frozen=True, slots=True)
class Plan:
    """How to read ``tensor[index]`` of a C-contiguous tensor.

    Attributes:
        start, stop: the run of values to read, counted from the tensor's first.
        shape: the shape to give that run.
        rest: the index to apply to it then.
        step: every how-many-th row of the run is wanted; more than 1 only where ``rest`` begins with that step.
    """

    start: int
    stop: int
    shape: tuple[int, ...]
    rest: tuple[int | slice, ...]
    step: int = 1


def plan(shape: tuple[int, ...], index: Index) -> Plan:
    """Work out the run of values that ``index`` needs: leading integers and the first slice narrow it.

    Raises:
        IndexError: too many indices, or an integer out of range.
    """
    if len(index) > len(shape):
        raise IndexError(f"{len(index)} indices for a tensor with {len(shape)} dimensions")
    start = 0
    for axis, item in enumerate(index):
        inner = math.prod(shape[axis + 1 :])
        if not isinstance(item, slice):
            start += position(item, shape[axis]) * inner
            continue
        low, high, step = _bounds(item, shape[axis])
        rest = (slice(None, None, step), *index[axis + 1 :])
        kept = (high - low, *shape[axis + 1 :])
        return Plan(start + low * inner, start + high * inner, kept, rest, abs(step))
    kept = shape[len(index) :]
    return Plan(start, start + math.prod(kept), kept, ())


def position(item: int, length: int) -> int:
    """Return a non-negative position for an index that may count from the end.

    Raises:
        IndexError: it is out of range.
    """
    place = operator.index(item)
    if not -length <= place < length:
        raise IndexError(f"index {place} is out of range for a dimension of {length}")
    return place % length


def _bounds(item: slice, length: int) -> tuple[int, int, int]:
    """Return the smallest window that holds every wanted row, and the step to take through it."""
    rows = range(*item.indices(length))
    if not rows:
        return 0, 0, 1
    return min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1, rows.step


def row_blocks(shape: tuple[int, ...], values: int) -> list[Index]:
    """Cut a tensor into indices of at most about ``values`` values each, in stored order.

    A row that is larger than that is cut along the next dimension, and so on.
    """
    if not shape or math.prod(shape) <= values:
        return [()]
    row = math.prod(shape[1:])
    if row > values:
        return [(i, *inner) for i in range(shape[0]) for inner in row_blocks(shape[1:], values)]
    count = max(1, values // max(1, row))
    return [(slice(i, min(i + count, shape[0])),) for i in range(0, shape[0], count)]
