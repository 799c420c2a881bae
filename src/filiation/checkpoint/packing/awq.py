"""AWQ's GEMM layout: 4-bit integers in 32-bit words along the output axis, in an order made for tensor cores.

Stored per module: ``qweight`` int32 ``[in, out / 8]``, ``qzeros`` int32 ``[groups, out / 8]``, ``scales``
``[groups, out]``. The eight nibbles of a word, low first, are the output columns 0, 2, 4, 6, 1, 3, 5, 7 of
its eight. The logical weight is ``scales[g, o] * (q[i, o] - z[g, o])``, with nothing added to the zero point.
Quantiser: arXiv 2306.00978.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing import gptq
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, stems
from filiation.checkpoint.packing.bits import Codes, nibbles
from filiation.checkpoint.packing.window import LazyTensor, Range, positions

NAME: str = "AWQ"
METHODS: frozenset[str] = frozenset({"awq", "auto-round", "intel/auto-round"})

_BITS = 4
_PER_WORD = 8
# Where output column 0, 1, ... 7 of a word's eight lies among its nibbles: the inverse of 0, 2, 4, 6, 1, 3, 5, 7.
_PLACE = np.array([0, 4, 1, 5, 2, 6, 3, 7])


@dataclass(frozen=True)
class AwqTensor(LazyTensor):
    """A weight ``[out, in]`` over AWQ's stored tensors; ``qzeros`` is None for symmetric quantisation."""

    cut: ClassVar[int] = 1

    qweight: RawTensor
    qzeros: RawTensor | None
    scales: RawTensor
    group: int

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Whole stored rows: a row of the weight is a column of what is stored."""
        groups = slice(*self._groups(ranges[1]))
        zeros: list[tuple[StoredTensor, Index]] = [] if self.qzeros is None else [(self.qzeros, (groups,))]
        return [(self.qweight, (slice(*ranges[1]),)), (self.scales, (groups,)), *zeros]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[rows, columns]``, float32."""
        rows, columns = ranges
        first, last = self._groups(columns)
        groups = positions(columns) // self.group - first
        weight = self._codes(self.qweight, columns, rows).astype(np.float32)
        if self.qzeros is None:
            weight -= 1 << (_BITS - 1)
        else:
            weight -= self._codes(self.qzeros, (first, last), rows).astype(np.float32)[groups]
        weight *= self.scales.read((slice(first, last), slice(*rows)))[groups]
        return weight.T

    def _groups(self, columns: Range) -> Range:
        return columns[0] // self.group, -(-columns[1] // self.group)

    def _codes(self, packed: RawTensor, down: Range, across: Range) -> Codes:
        """Unpack ``q[down, across]``."""
        start, stop = across[0] // _PER_WORD, -(-across[1] // _PER_WORD)
        words = packed.read_raw((slice(*down), slice(start, stop)))
        skipped = start * _PER_WORD
        return _in_order(words)[:, across[0] - skipped : across[1] - skipped]


def _in_order(words: npt.NDArray[Any]) -> Codes:
    data = nibbles(np.ascontiguousarray(words).view(np.uint8))
    return data.reshape(len(words), -1, _PER_WORD)[..., _PLACE].reshape(len(words), -1)


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise AWQ modules by ``qweight`` that is eight times narrower than ``scales``.

    Raises:
        UnsupportedFormatError: a companion is missing, or the layout is neither AWQ's GEMM one nor GPTQ's.
    """
    tensors: list[Unpacked] = []
    for stem in stems(stored, ".qweight"):
        parts = Parts(NAME, stored, stem, f"{stem}.qweight")
        qweight, scales = parts.need(".qweight", "I32", ndim=2), parts.need(".scales", ndim=2)
        if not gptq.is_gptq(qweight, scales):
            tensors.append(_build(parts, quantization))
    return Finding(tuple(tensors))


def _build(parts: Parts, quantization: Mapping[str, Any]) -> Unpacked:
    qweight, scales = parts.need(".qweight", "I32", ndim=2), parts.need(".scales", ndim=2)
    (width, words), (groups, out) = qweight.info.shape, scales.info.shape
    version = quantization.get("version", "gemm")
    parts.check(
        words * _PER_WORD == out,
        f"qweight {[width, words]} and scales {[groups, out]} are neither GPTQ's layout nor AWQ's 4-bit GEMM "
        f"layout; config.json says version '{version}'.",
    )
    parts.check(groups > 0 and width % groups == 0, f"{groups} groups do not divide {width} input columns.")
    # Only a config that says so makes the zero points optional: a lost tensor must not pass for symmetric.
    symmetric = quantization.get("zero_point") is False and not parts.has(".qzeros")
    qzeros = None if symmetric else parts.need(".qzeros", "I32", ndim=2)
    if qzeros is not None:
        parts.check(
            qzeros.info.shape == (groups, words),
            f"qzeros has the shape {list(qzeros.info.shape)}; {[groups, words]} was expected.",
        )
    names = parts.names(".qweight", ".qzeros", ".scales")
    info = parts.info(f"{parts.stem}.weight", (out, width), "AWQ4", names)
    return Unpacked(AwqTensor(info, qweight, qzeros, scales, width // groups), names)
