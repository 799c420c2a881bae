"""GPTQ and its relatives (AutoGPTQ, GPTQModel, AutoRound): integers in 32-bit words along the input axis.

Stored per module: ``qweight`` int32 ``[in * bits / 32, out]``, ``qzeros`` int32 ``[groups, out * bits / 32]``,
``scales`` ``[groups, out]`` and, where columns were quantised in order of activation, ``g_idx`` int32 ``[in]``.
The logical weight is ``scales[g, o] * (q[i, o] - z[g, o])``. The first checkpoint format stores ``z - 1`` and
the second, ``gptq_v2``, stores ``z``. Quantiser: arXiv 2210.17323.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, stems
from filiation.checkpoint.packing.bits import Codes, unpack_stream, word_range
from filiation.checkpoint.packing.window import LazyTensor, Range

NAME: str = "GPTQ"
METHODS: frozenset[str] = frozenset({"gptq", "auto-round", "intel/auto-round"})

_SUFFIXES = (".qweight", ".qzeros", ".scales", ".g_idx")
# AutoRound's names for the layouts that store the zero point itself.
_PLAIN_ZEROS = frozenset({"gptq_v2", "auto_round", "auto_round:gptqmodel"})


@dataclass(frozen=True)
class GptqTensor(LazyTensor):
    """A weight ``[out, in]`` over GPTQ's stored tensors.

    Attributes:
        bits: bits of one weight.
        group: input columns that share a scale, where ``g_idx`` is absent.
        offset: what to add to a stored zero point.
    """

    cut: ClassVar[int] = 1

    qweight: RawTensor
    qzeros: RawTensor
    scales: RawTensor
    g_idx: RawTensor | None
    bits: int
    group: int
    offset: int
    parts: Parts = field(repr=False, compare=False)

    @cached_property
    def groups(self) -> npt.NDArray[np.intp]:
        """The group of every input column, ``[in]``; kept, because every read needs it.

        Raises:
            UnsupportedFormatError: ``g_idx`` names a group that has no scale.
        """
        width = self.info.shape[1]
        if self.g_idx is None:
            return np.arange(width, dtype=np.intp) // self.group
        groups = np.asarray(self.g_idx.read_raw(()), dtype=np.intp)
        count = self.scales.info.shape[0]
        self.parts.check(
            bool(groups.min() >= 0 and groups.max() < count),
            f"g_idx holds group numbers outside 0..{count - 1}.",
        )
        return groups

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Whole stored rows: a row of the weight is a column of what is stored."""
        words = slice(*word_range(*ranges[1], self.bits))
        return [(self.qweight, (words,)), (self.qzeros, ()), (self.scales, ())]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[rows, columns]``, float32."""
        rows, columns = ranges
        groups = self.groups[columns[0] : columns[1]]
        first, last = int(groups.min()), int(groups.max()) + 1
        scales = self.scales.read((slice(first, last), slice(*rows)))
        weight = self._codes(rows, columns).T.astype(np.float32, order="C")
        weight -= self._zeros((first, last), rows)[groups - first]
        weight *= scales[groups - first]
        return weight.T

    def _codes(self, rows: Range, columns: Range) -> Codes:
        """Unpack ``q[rows, columns]``: the words run down the columns of what is stored."""
        start, stop = word_range(*columns, self.bits)
        words = self.qweight.read_raw((slice(start, stop), slice(*rows)))
        codes = unpack_stream(np.ascontiguousarray(words.T), self.bits)
        skipped = start * 32 // self.bits
        return codes[:, columns[0] - skipped : columns[1] - skipped]

    def _zeros(self, groups: Range, rows: Range) -> Floats:
        start, stop = word_range(*rows, self.bits)
        stored = unpack_stream(self.qzeros.read_raw((slice(*groups), slice(start, stop))), self.bits)
        skipped = start * 32 // self.bits
        stored = stored[:, rows[0] - skipped : rows[1] - skipped]
        # Modular, because a zero point of 0 was stored as -1.
        mask = np.uint8((1 << self.bits) - 1)
        return ((stored + np.uint8(self.offset)) & mask).astype(np.float32)


def is_gptq(qweight: StoredTensor, scales: StoredTensor) -> bool:
    """Whether the shapes are GPTQ's; AWQ's tensors bear the same names but pack along the other axis."""
    packed, scaled = qweight.info.shape, scales.info.shape
    return len(packed) == len(scaled) == 2 and packed[1] == scaled[1]


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise GPTQ modules by ``qweight`` and ``scales`` of one width.

    Raises:
        UnsupportedFormatError: a companion is missing, shapes contradict each other, or the words are laid out
            for one kernel (Marlin).
    """
    modules: list[Parts] = []
    for stem in stems(stored, ".qweight"):
        parts = Parts(NAME, stored, stem, f"{stem}.qweight")
        _refuse_kernel_layout(parts, quantization)
        if is_gptq(parts.need(".qweight", "I32", ndim=2), parts.need(".scales", ndim=2)):
            modules.append(parts)
    if not modules:
        return Finding()
    offset, notes = _zero_offset(modules[0], quantization)
    tensors = tuple(_build(parts, quantization, offset) for parts in modules)
    return Finding(tensors, (*notes, *_odd_bits(tensors, quantization)))


def _refuse_kernel_layout(parts: Parts, quantization: Mapping[str, Any]) -> None:
    layout = str(quantization.get("checkpoint_format", ""))
    if "marlin" in layout or quantization.get("is_marlin_format") is True:
        raise parts.fail("The words are laid out for the Marlin kernel (checkpoint_format 'marlin').")


def _build(parts: Parts, quantization: Mapping[str, Any], offset: int) -> Unpacked:
    qweight, scales = parts.need(".qweight", "I32", ndim=2), parts.need(".scales", ndim=2)
    qzeros, g_idx = parts.need(".qzeros", "I32", ndim=2), parts.maybe(".g_idx", "I32", "I64", ndim=1)
    height, out = qweight.info.shape
    bits = _bits(parts)
    width, rest = divmod(height * 32, bits)
    groups = scales.info.shape[0]
    parts.check(rest == 0, f"{height} rows of words do not hold whole {bits}-bit weights.")
    parts.check(
        qzeros.info.shape[0] == groups, f"{qzeros.info.shape[0]} rows of zero points, {groups} of scales."
    )
    if g_idx is not None:
        parts.check(
            g_idx.info.shape == (width,), f"g_idx has {g_idx.info.shape[0]} entries for {width} columns."
        )
    names = parts.names(*_SUFFIXES)
    info = parts.info(f"{parts.stem}.weight", (out, width), f"GPTQ{bits}", names)
    group = _group(parts, quantization, width, groups)
    return Unpacked(GptqTensor(info, qweight, qzeros, scales, g_idx, bits, group, offset, parts), names)


def _bits(parts: Parts) -> int:
    """Tell the bits from the zero points' width: they are packed the same way as the weights."""
    out = parts.need(".scales", ndim=2).info.shape[1]
    packed = parts.need(".qzeros", "I32", ndim=2).info.shape[1]
    bits, rest = divmod(packed * 32, out)
    parts.check(
        rest == 0 and 1 <= bits <= 8,
        f"{packed} words of zero points do not hold {out} values of 1 to 8 bits.",
    )
    return bits


def _group(parts: Parts, quantization: Mapping[str, Any], width: int, groups: int) -> int:
    stated = quantization.get("group_size")
    if isinstance(stated, int) and stated > 0 and -(-width // stated) == groups:
        return stated
    parts.check(
        width % groups == 0 or parts.has(".g_idx"),
        f"{groups} groups do not divide {width} input columns, and neither g_idx nor config.json says how.",
    )
    return max(1, width // groups)


def _zero_offset(parts: Parts, quantization: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Tell whether zero points are stored less one: from one row of them when it decides, else from the config.

    Symmetric quantisation has the zero point ``2 ** (bits - 1)`` everywhere, so a row of only that value is the
    second format and a row of only that value less one is the first, whatever the config says.
    """
    bits = _bits(parts)
    out = parts.need(".scales", ndim=2).info.shape[1]
    row = unpack_stream(parts.need(".qzeros", "I32", ndim=2).read_raw((slice(0, 1),)), bits)[0, :out]
    layout = quantization.get("checkpoint_format") or quantization.get("packing_format")
    stated = None if layout is None else (0 if layout in _PLAIN_ZEROS else 1)
    middle = 1 << (bits - 1)
    seen = 1 if (row == middle - 1).all() else 0 if (row == middle).all() else None
    if seen is not None and stated not in (None, seen):
        return seen, (
            f"GPTQ: config.json says '{layout}', but the stored zero points say otherwise; they were believed.",
        )
    if seen is None and stated is None:
        return 1, ("GPTQ: nothing says how zero points are stored; the first format (less one) was assumed.",)
    return (seen if seen is not None else stated or 0), ()


def _odd_bits(tensors: Sequence[Unpacked], quantization: Mapping[str, Any]) -> tuple[str, ...]:
    stated = quantization.get("bits")
    odd = [item for item in tensors if item.tensor.info.dtype != f"GPTQ{stated}"]
    if not isinstance(stated, int) or not odd:
        return ()
    return (f"GPTQ: config.json says {stated} bits; {len(odd)} tensors have other widths by their shapes.",)
