"""Quantisers: what each makes of a matrix, so that a suspect can be held against it value by value.

Each is idempotent: a matrix that lies on its lattice comes out as it went in. That is how a lattice is recognised
in values that were stored as floats again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from filiation.origin.units import Floats


class Quantiser(Protocol):
    """Rounds a matrix ``(rows, inputs)``; scales are shared along the inputs."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    @property
    def bits(self) -> int:
        """Bits of a value."""
        ...

    @property
    def group(self) -> int:
        """Values that share a scale; 0 for a whole row."""
        ...

    def fits(self, width: int) -> bool:
        """Return whether rows of this width fall into whole groups."""
        ...

    def round(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the rounded matrix and, for each element, the distance of neighbouring levels."""
        ...


@dataclass(frozen=True, slots=True)
class Integers:
    """Symmetric integers ``-largest .. largest`` times an absmax scale for ``group`` inputs (0: a whole row)."""

    bits: int
    group: int

    @property
    def name(self) -> str:
        """E.g. ``int8/64``."""
        return f"int{self.bits}/{self.group or 'row'}"

    def fits(self, width: int) -> bool:
        """Return whether rows of this width fall into whole groups."""
        return self.group == 0 or (width % self.group == 0 and width > self.group)

    def round(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the rounded matrix and the step at each element."""
        grouped = _grouped(matrix, self.group)
        step = np.abs(grouped).max(axis=2, keepdims=True) / (2 ** (self.bits - 1) - 1)
        safe = np.where(step > 0, step, 1.0)
        rounded = np.rint(grouped / safe) * step
        steps = np.broadcast_to(step, grouped.shape)
        return _back(rounded, matrix), _back(steps, matrix)


@dataclass(frozen=True, slots=True)
class Ggml:
    """One of the block kinds that ``gguf.quants.quantize`` makes, 32 inputs a block."""

    name: str
    bits: int
    group: int = 32

    def fits(self, width: int) -> bool:
        """Return whether rows of this width fall into whole blocks."""
        return width % self.group == 0

    def round(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the matrix after a round trip, and the step at each element."""
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize, quantize

        kind = GGMLQuantizationType[self.name]
        with np.errstate(all="ignore"):
            packed = quantize(np.ascontiguousarray(matrix, np.float32), kind)
            rounded = dequantize(packed, kind).astype(np.float32).reshape(matrix.shape)
        grouped = _grouped(rounded, self.group)
        spread = grouped.max(axis=2, keepdims=True) - grouped.min(axis=2, keepdims=True)
        absmax = np.abs(grouped).max(axis=2, keepdims=True)
        symmetric = self.name in ("Q4_0", "Q5_0", "Q8_0")
        levels = 127 if self.bits == 8 else 2 ** (self.bits - 1)
        step = absmax / levels if symmetric else spread / (2**self.bits - 1)
        return rounded, _back(np.broadcast_to(step, grouped.shape), matrix)


# The sixteen levels of NormalFloat-4, from the appendix of arXiv 2305.14314.
NF4_LEVELS = np.array(
    [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0],
    dtype=np.float32,
)  # fmt: skip


#: Widths that are multiples of this are searched for groups that run over row ends.
PHASE = 16


@dataclass(frozen=True, slots=True)
class NormalFloat:
    """NormalFloat-4 with one absmax scale for ``group`` values in row order (arXiv 2305.14314).

    Where rows are no whole number of groups, groups run over row ends; the first whole one begins ``phase`` values
    into the block at hand.
    """

    group: int = 64
    bits: int = 4
    phase: int = 0

    @property
    def name(self) -> str:
        """E.g. ``nf4/64``."""
        return f"nf4/{self.group}"

    def fits(self, width: int) -> bool:
        """Return whether groups may lie so in rows of this width."""
        return not width % self.group if not self.phase else bool(width % self.group) and not width % PHASE

    def round(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the rounded matrix and the local distance of levels."""
        if self.phase:
            return self._across(matrix)
        grouped = _grouped(matrix, self.group)
        scale = np.abs(grouped).max(axis=2, keepdims=True)
        unit = grouped / np.where(scale > 0, scale, 1.0)
        middles = (NF4_LEVELS[1:] + NF4_LEVELS[:-1]) / 2
        nearest = np.searchsorted(middles, unit)
        gaps = np.concatenate([np.diff(NF4_LEVELS), [NF4_LEVELS[-1] - NF4_LEVELS[-2]]]).astype(np.float32)
        return _back(NF4_LEVELS[nearest] * scale, matrix), _back(gaps[nearest] * scale, matrix)

    def _across(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Round groups that run over row ends; values of groups that are not whole stay, with a step of zero."""
        flat = np.ascontiguousarray(matrix, np.float32).reshape(-1)
        start = self.phase % self.group
        stop = start + (flat.size - start) // self.group * self.group
        rounded, steps = flat.copy(), np.zeros_like(flat)
        if stop > start:
            inside = NormalFloat(self.group).round(flat[start:stop].reshape(1, -1))
            rounded[start:stop], steps[start:stop] = (part.reshape(-1) for part in inside)
        return rounded.reshape(matrix.shape), steps.reshape(matrix.shape)


@dataclass(frozen=True, slots=True)
class Float8:
    """FP8 E4M3 (three mantissa bits, largest 448) times an absmax scale for ``group`` inputs (0: a whole row)."""

    group: int = 0
    bits: int = 8

    @property
    def name(self) -> str:
        """E.g. ``fp8_e4m3/row``."""
        return f"fp8_e4m3/{self.group or 'row'}"

    def fits(self, width: int) -> bool:
        """Return whether rows of this width fall into whole groups."""
        return self.group == 0 or (width % self.group == 0 and width > self.group)

    def round(self, matrix: Floats) -> tuple[Floats, Floats]:
        """Return the rounded matrix and the local distance of levels."""
        import ml_dtypes

        grouped = _grouped(matrix, self.group)
        scale = np.abs(grouped).max(axis=2, keepdims=True) / 448.0
        safe = np.where(scale > 0, scale, 1.0)
        unit = grouped / safe
        rounded = unit.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
        exponent = np.floor(np.log2(np.maximum(np.abs(rounded), 2.0**-6)))
        return _back(rounded * scale, matrix), _back(np.exp2(exponent - 3) * scale, matrix)


def _grouped(matrix: Floats, group: int) -> Floats:
    rows, width = matrix.shape
    return matrix.reshape(rows, -1, group or width)


def _back(grouped: Floats, matrix: Floats) -> Floats:
    return np.ascontiguousarray(grouped.reshape(matrix.shape), np.float32)


GGML: tuple[Ggml, ...] = (Ggml("Q4_0", 4), Ggml("Q4_1", 4), Ggml("Q5_0", 5), Ggml("Q5_1", 5), Ggml("Q8_0", 8))

#: From coarse to fine: the coarsest lattice that holds the values is the one that is named.
QUANTISERS: tuple[Quantiser, ...] = (
    NormalFloat(64),
    *(NormalFloat(64, phase=phase) for phase in (64, *range(PHASE, 64, PHASE))),
    *GGML[:2],
    *(Integers(4, group) for group in (32, 64, 128, 0)),
    *GGML[2:4],
    *(Integers(bits, group) for bits in (3, 5, 6) for group in (32, 64, 128, 0)),
    GGML[4],
    *(Integers(8, group) for group in (32, 64, 128, 0)),
    Float8(128),
    Float8(0),
)
"""Quantisers that are tried on values stored as floats."""


def by_name(dtype: str) -> Quantiser | None:
    """Return the quantiser that makes a stored kind, None where only its lattice is known."""
    return next((q for q in GGML if q.name == dtype), None)
