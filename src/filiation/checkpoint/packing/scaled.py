"""Weights stored as small numbers times a scale: one scale a tensor, a row, a group of columns or a block.

FP8, int8, MXFP8, NVFP4, MXFP4 and MXFP6 differ only in how a small number is written and how the scale is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import Parts
from filiation.checkpoint.packing.bits import E2M1, E2M3, Codes, e8m0, nibbles, sextets
from filiation.checkpoint.packing.window import LazyTensor, Range, lengths, positions, to_index

Need = tuple[StoredTensor, Index]

# Values that share a scale in the finest format there is (NVFP4).
_FEWEST = 16
# Block lengths that are tried where no config states one, the usual ones first.
_USUAL_BLOCKS = (128, 64, 32, 16, 256, 512, 1)


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
        return (
            *to_index(ranges[:-1]),
            slice(start // self.values * self.size, -(-stop // self.values) * self.size),
        )


def fp4(tensor: RawTensor) -> Small:
    """Return the numbers of a tensor that holds two 4-bit floats a byte, the low half first."""
    return Small(tensor, 2, 1, nibbles, E2M1)


def fp6(tensor: RawTensor) -> Small:
    """Return the numbers of a tensor that holds four 6-bit floats (e2m3) in three bytes."""
    return Small(tensor, 4, 3, sextets, E2M3)


@dataclass(frozen=True)
class Grid:
    """Scales (or zero points) of which each covers ``blocks[axis]`` positions of the weight along each axis.

    The stored axes are the weight's first ones; ``exponents`` says that biased powers of two are stored.
    """

    tensor: RawTensor
    blocks: tuple[int, ...]
    exponents: bool = False

    def needs(self, ranges: tuple[Range, ...]) -> Need:
        """Say what is read for ``ranges`` of the weight."""
        return self.tensor, to_index(self._covering(ranges)[: len(self.tensor.info.shape)])

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Return what applies to the box of ``ranges``; an axis that one scale covers keeps the length 1."""
        _, index = self.needs(ranges)
        values = e8m0(self.tensor.read_raw(index)) if self.exponents else self.tensor.read(index)
        values = values.reshape(lengths(self._covering(ranges)))
        for axis, (span, block) in enumerate(zip(ranges, self.blocks, strict=True)):
            if values.shape[axis] > 1:
                values = np.take(values, positions(span) // block - span[0] // block, axis=axis)
        return values

    def _covering(self, ranges: tuple[Range, ...]) -> tuple[Range, ...]:
        pairs = zip(ranges, self.blocks, strict=True)
        return tuple((start // block, -(-stop // block)) for (start, stop), block in pairs)


def grid(parts: Parts, tensor: RawTensor, shape: tuple[int, ...], stated: Sequence[int] = ()) -> Grid:
    """Lay a tensor of scales over a weight of ``shape``; uint8 scales are exponents.

    Args:
        parts: the module, for errors.
        tensor: the scales: as many axes as the weight, or fewer (one a tensor, one a row).
        shape: the weight's logical shape.
        stated: the block size that the config states for the last axes, used where it fits.

    Raises:
        UnsupportedFormatError: the scales' shape does not fit the weight's, or there are too many of them.
    """
    stored = tensor.info.shape
    parts.check(
        len(stored) <= len(shape),
        f"{tensor.info.name} has the shape {list(stored)}, more axes than the weight {list(shape)}.",
    )
    hints = (*(0,) * (len(shape) - len(stated)), *stated)[-len(shape) :]
    blocks = list(shape)
    for axis, count in enumerate(stored):
        whole = len(stored) == len(shape)
        blocks[axis] = _block(parts, tensor, shape[axis], count, hints[axis] if whole else 1, guess=whole)
    parts.check(
        math.prod(blocks) >= _FEWEST or blocks[-1] == shape[-1],
        f"{tensor.info.name} has a scale for every {math.prod(blocks)} values; no quantiser writes more than one "
        f"for {_FEWEST}, and so many scales would hold a matrix of their own.",
    )
    return Grid(tensor, tuple(blocks), tensor.info.dtype == "U8")


def _block(parts: Parts, tensor: RawTensor, size: int, count: int, stated: int, *, guess: bool) -> int:
    """Return how many positions one of ``count`` scales covers along an axis of ``size`` positions."""
    if count == 1:
        return max(1, size)
    even = size // count if count and size % count == 0 else 0
    for length in (stated, *_USUAL_BLOCKS, even) if guess else (stated,):
        if length > 0 and -(-size // length) == count:
            return length
    raise parts.fail(
        f"{count} scales of {tensor.info.name} do not divide an axis of {size} positions into blocks."
    )


@dataclass(frozen=True)
class ScaledTensor(LazyTensor):
    """``(number - zero) * scale * factor``.

    Attributes:
        numbers: the small numbers.
        scales: one a block.
        zeros: zero points, laid out like the scales, or None.
        factor: a stored scalar that multiplies everything (divides it with ``divide``), or None.
        constant: a number that multiplies everything.
    """

    numbers: Numbers
    scales: Grid
    zeros: Grid | None = None
    factor: StoredTensor | None = None
    divide: bool = False
    constant: float = 1.0

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[Need]:
        """Say what :meth:`window` reads."""
        zeros = [] if self.zeros is None else [self.zeros.needs(ranges)]
        factor: list[Need] = [] if self.factor is None else [(self.factor, ())]
        return [self.numbers.needs(ranges), self.scales.needs(ranges), *zeros, *factor]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode the box of ``ranges``, float32."""
        values = self.numbers.window(ranges)
        if self.zeros is not None:
            values = values - self.zeros.window(ranges)
        scale = self.scales.window(ranges)
        if self.factor is not None:
            factor = self.factor.read(()).reshape(())
            scale = scale / factor if self.divide else scale * factor
        values = values * scale
        return values if self.constant == 1.0 else values * np.float32(self.constant)
