"""Weights stored as small numbers times a scale: one scale a tensor, a row, a group of columns or a block.

FP8, int8, MXFP8, NVFP4, MXFP4 and MXFP6 differ only in how a small number is written and how the scale is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.formats.base import RawTensor
from filiation.checkpoint.model import Floats, Index, StoredTensor
from filiation.checkpoint.packing.base import Parts
from filiation.checkpoint.packing.bits import E2M1, E2M3, Codes, e8m0, nibbles, sextets
from filiation.checkpoint.packing.window import LazyTensor, Range, positions, to_index

Need = tuple[StoredTensor, Index]


class Numbers(Protocol):
    """Small numbers, of the logical shape, before they are scaled."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The logical shape."""
        ...

    def needs(self, ranges: tuple[Range, ...]) -> Need:
        """Say what is read for ``ranges``."""
        ...

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Return the box of ``ranges``, unscaled."""
        ...


@dataclass(frozen=True)
class Plain:
    """Numbers that the file format itself can read: FP8, int8."""

    tensor: StoredTensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The stored shape."""
        return self.tensor.info.shape

    def needs(self, ranges: tuple[Range, ...]) -> Need:
        """Say what is read for ``ranges``."""
        return self.tensor, to_index(ranges)

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Return the box of ``ranges``, unscaled."""
        return self.tensor.read(to_index(ranges))


@dataclass(frozen=True)
class Small:
    """Numbers of less than a byte, packed along the last axis: ``values`` of them in ``size`` bytes."""

    tensor: RawTensor
    values: int
    size: int
    split: Callable[[npt.NDArray[Any]], Codes]
    table: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        """The logical shape: the stored one with its last axis unpacked."""
        *front, last = self.tensor.info.shape
        return (*front, last // self.size * self.values)

    def needs(self, ranges: tuple[Range, ...]) -> Need:
        """Say what is read for ``ranges``."""
        return self.tensor, self._stored(ranges)

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Return the box of ``ranges``, unscaled."""
        stored = self.tensor.read_raw(self._stored(ranges))
        codes = self.split(np.ascontiguousarray(stored))
        start = ranges[-1][0] // self.values * self.values
        return self.table[codes[..., ranges[-1][0] - start : ranges[-1][1] - start]]

    def _stored(self, ranges: tuple[Range, ...]) -> Index:
        start, stop = ranges[-1]
        return (*to_index(ranges[:-1]), slice(start // self.values * self.size, -(-stop // self.values) * self.size))


def fp4(tensor: RawTensor) -> Small:
    """Return the numbers of a tensor that holds two 4-bit floats a byte, the low half first."""
    return Small(tensor, 2, 1, nibbles, E2M1)


def fp6(tensor: RawTensor) -> Small:
    """Return the numbers of a tensor that holds four 6-bit floats (e2m3) in three bytes."""
    return Small(tensor, 4, 3, sextets, E2M3)


@dataclass(frozen=True)
class Grid:
    """A tensor of scales (or zero points) of which each covers ``blocks`` logical positions along each axis.

    ``exponents`` says that they are stored as biased powers of two in uint8.
    """

    tensor: RawTensor
    shape: tuple[int, ...]
    blocks: tuple[int, ...]
    exponents: bool = False

    def needs(self, ranges: tuple[Range, ...]) -> Need:
        """Say what is read for ``ranges``."""
        return self.tensor, self._stored(ranges)

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Return the scales of the box of ``ranges``; axes that one scale covers keep the length 1."""
        index = self._stored(ranges)
        values = e8m0(self.tensor.read_raw(index)) if self.exponents else self.tensor.read(index)
        counts = [-(-stop // block) - start // block for (start, stop), block in zip(ranges, self.blocks, strict=True)]
        values = values.reshape(counts)
        for axis, (span, block) in enumerate(zip(ranges, self.blocks, strict=True)):
            if values.shape[axis] > 1:
                values = np.take(values, positions(span) // block - span[0] // block, axis=axis)
        return values

    def _stored(self, ranges: tuple[Range, ...]) -> Index:
        if len(self.tensor.info.shape) < len(self.shape):
            return ()  # one scale for everything, stored without axes
        return tuple(
            slice(start // block, -(-stop // block)) for (start, stop), block in zip(ranges, self.blocks, strict=True)
        )


def grid(parts: Parts, tensor: RawTensor, shape: tuple[int, ...], stated: Sequence[int] = ()) -> Grid:
    """Lay a tensor of scales over a logical ``shape``.

    Args:
        parts: the module, for errors.
        tensor: the scales; uint8 ones are exponents.
        shape: the logical shape of the weight.
        stated: the block size that the config states for the last axes, used where it fits.

    Raises:
        UnsupportedFormatError: the scales' shape does not fit the weight's.
    """
    stored = tensor.info.shape
    exponents = tensor.info.dtype == "U8"
    if all(size == 1 for size in stored):
        return Grid(tensor, shape, shape, exponents) if len(stored) < len(shape) else _fit(parts, tensor, shape, stated)
    if len(stored) == len(shape):
        return _fit(parts, tensor, shape, stated)
    parts.check(
        len(stored) == 1 and stored[0] == shape[0],
        f"The scales {tensor.info.name} have the shape {list(stored)}, the weight {list(shape)}.",
    )
    return Grid(Column(tensor, len(shape)), shape, (1, *shape[1:]), exponents)


def _fit(parts: Parts, tensor: RawTensor, shape: tuple[int, ...], stated: Sequence[int]) -> Grid:
    wanted = (0,) * (len(shape) - len(stated)) + tuple(stated) if len(stated) <= len(shape) else (0,) * len(shape)
    blocks = tuple(
        _block(parts, tensor, size, count, hint)
        for size, count, hint in zip(shape, tensor.info.shape, wanted, strict=True)
    )
    return Grid(tensor, shape, blocks, tensor.info.dtype == "U8")


def _block(parts: Parts, tensor: RawTensor, size: int, count: int, stated: int) -> int:
    """Return how many positions one of ``count`` scales covers along an axis of ``size`` positions."""
    if count == 1:
        return max(1, size)
    for guess in (stated, size // count if count and size % count == 0 else 0, 128):
        if guess > 0 and -(-size // guess) == count:
            return guess
    raise parts.fail(f"{count} scales of {tensor.info.name} do not divide an axis of {size} positions into blocks.")


@dataclass(frozen=True)
class Column:
    """A one-dimensional tensor seen as one value per position of the first axis, ``[n, 1, ...]``."""

    tensor: RawTensor
    ndim: int

    @property
    def info(self) -> Any:
        """The stored tensor's description, with the added axes."""
        return _Described(self.tensor, (*self.tensor.info.shape, *(1,) * (self.ndim - 1)))

    def read(self, index: Index = ()) -> Floats:
        """Decode the first axis's part of ``index``."""
        return self.tensor.read(index[:1])

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return the first axis's part of ``index`` as stored."""
        return self.tensor.read_raw(index[:1])

    def spans(self, index: Index = ()) -> Any:
        """Say which bytes :meth:`read` would read."""
        return self.tensor.spans(index[:1])
