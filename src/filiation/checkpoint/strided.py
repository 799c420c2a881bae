"""Tensors whose values do not lie in C order: transposed views and slices, as PyTorch saves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.indexing import position
from filiation.checkpoint.model import Floats, Index, Span, TensorInfo
from filiation.checkpoint.ranges import Run


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Tell whether strides (in values) are those of C order; dimensions of length 1 do not matter."""
    if not math.prod(shape):
        return True
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


@dataclass(frozen=True, slots=True)
class _Window:
    """A strided view: where its first value is, its shape, its non-negative strides, and the axes to turn round."""

    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    flipped: tuple[int, ...]

    @property
    def length(self) -> int:
        """Values from the first to the last one, both included."""
        if not math.prod(self.shape):
            return 0
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))


@dataclass(frozen=True, slots=True)
class StridedTensor:
    """A tensor with strides (in values) over a run of values."""

    info: TensorInfo
    run: Run
    strides: tuple[int, ...]

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32; the bytes from its first to its last value are read.

        Raises:
            IndexError: the index does not fit the shape.
        """
        return self._take(index, self.run.values)

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` in its stored kind."""
        native = self.run.encoding.native
        if native is None:
            return self.read(index)
        return self._take(index, lambda start, stop: self.run.raw(start, stop).view(native))

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        window = self._window(index)
        return [self.run.span(window.first, window.first + window.length)] if window.length else []

    def _take(self, index: Index, read: Callable[[int, int], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        window = self._window(index)
        flat = read(window.first, window.first + window.length)
        strides = tuple(s * flat.itemsize for s in window.strides)
        view = np.lib.stride_tricks.as_strided(flat, window.shape, strides, writeable=False)
        return np.ascontiguousarray(np.flip(view, window.flipped)).reshape(window.shape)

    def _window(self, index: Index) -> _Window:
        shape = self.info.shape
        if len(index) > len(shape):
            raise IndexError(f"{len(index)} indices for a tensor with {len(shape)} dimensions")
        first, kept_shape, kept_strides, flipped = 0, list[int](), list[int](), list[int]()
        for axis, (length, stride) in enumerate(zip(shape, self.strides, strict=True)):
            item = index[axis] if axis < len(index) else slice(None)
            if not isinstance(item, slice):
                first += position(item, length) * stride
                continue
            rows = range(*item.indices(length))
            if rows.step < 0:
                flipped.append(len(kept_shape))
                rows = rows[::-1]
            first += rows.start * stride if rows else 0
            kept_shape.append(len(rows))
            kept_strides.append(stride * rows.step)
        return _Window(first, tuple(kept_shape), tuple(kept_strides), tuple(flipped))
