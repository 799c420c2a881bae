"""Lazily decoded tensors: an index becomes the contiguous ranges to decode and what numpy does after.

Every packing scheme decodes whole ranges (a word holds several weights, a block shares a scale), so a scheme
implements one method, :meth:`LazyTensor.window`, over ``(start, stop)`` ranges, one per axis.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, Span, StoredTensor, TensorInfo, spans_of
from filiation.checkpoint.packing.base import prefetch

Range = tuple[int, int]

_PIECE = 1 << 22  # values decoded at a time: 16 MB of float32


def resolve(index: Index, shape: tuple[int, ...]) -> tuple[tuple[Range, ...], Index]:
    """Split ``tensor[index]`` into covering ranges and the index that remains to be applied to them.

    Returns:
        One half-open ``(start, stop)`` range per axis of ``shape``, and the index to apply to the decoded window
        (integers drop an axis, slices keep their step).

    Raises:
        IndexError: too many indices, or an integer out of range; as numpy raises.
    """
    if len(index) > len(shape):
        raise IndexError(f"too many indices: {len(index)} for a tensor of {len(shape)} dimensions")
    ranges: list[Range] = []
    rest: list[int | slice] = []
    for axis, size in enumerate(shape):
        part = index[axis] if axis < len(index) else slice(None)
        if isinstance(part, slice):
            picked = range(*part.indices(size))
            if len(picked) == 0:
                ranges.append((0, 0))
                rest.append(slice(None))
                continue
            low, high = min(picked[0], picked[-1]), max(picked[0], picked[-1])
            ranges.append((low, high + 1))
            rest.append(slice(None, None, picked.step))
        else:
            position = part + size if part < 0 else part
            if not 0 <= position < size:
                raise IndexError(f"index {part} is out of bounds for axis {axis} with size {size}")
            ranges.append((position, position + 1))
            rest.append(0)
    return tuple(ranges), tuple(rest)


def to_index(ranges: tuple[Range, ...]) -> Index:
    """Return the ranges as slices, for a stored tensor's ``read`` or ``read_raw``."""
    return tuple(slice(start, stop) for start, stop in ranges)


def lengths(ranges: tuple[Range, ...]) -> tuple[int, ...]:
    """Return how many positions each range covers."""
    return tuple(stop - start for start, stop in ranges)


def positions(span: Range) -> npt.NDArray[np.intp]:
    """Return the positions of a range as an array."""
    return np.arange(span[0], span[1], dtype=np.intp)


@dataclass(frozen=True)
class LazyTensor(ABC):
    """A :class:`~filiation.checkpoint.model.StoredTensor` that decodes windows of a packed one on demand.

    ``cut`` is the axis along which the stored bytes lie one after another: large windows are decoded in pieces of it.
    """

    cut: ClassVar[int] = 0

    info: TensorInfo

    @abstractmethod
    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode the box of ``ranges`` (one per axis, none of them empty) to float32."""

    @abstractmethod
    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads of the stored tensors; constants that are read once are left out."""

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Say which bytes of which files :meth:`read` would read for ``index``."""
        ranges, _ = resolve(index, self.info.shape)
        if 0 in lengths(ranges):
            return ()
        return [span for tensor, part in self.needs(ranges) for span in spans_of(tensor, part)]

    def read(self, index: Index = ()) -> Floats:
        """Decode ``tensor[index]`` to float32, as numpy would index the whole tensor."""
        ranges, rest = resolve(index, self.info.shape)
        if 0 in lengths(ranges):
            empty: npt.NDArray[Any] = np.empty(lengths(ranges), dtype=np.float32)
            return np.asarray(empty[rest], dtype=np.float32)
        return np.asarray(self._in_pieces(ranges)[rest], dtype=np.float32, order="C")

    def _in_pieces(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode a large window piece by piece, so that little more than the result is held."""
        size = lengths(ranges)
        if math.prod(size) <= _PIECE or not size:
            return self.window(ranges)
        prefetch(self.needs(ranges))
        start, stop = ranges[self.cut]
        step = max(1, _PIECE * (stop - start) // math.prod(size))
        out = np.empty(size, dtype=np.float32)
        for low in range(start, stop, step):
            high = min(low + step, stop)
            piece = (*ranges[: self.cut], (low, high), *ranges[self.cut + 1 :])
            out[(slice(None),) * self.cut + (slice(low - start, high - start),)] = self.window(piece)
        return out
