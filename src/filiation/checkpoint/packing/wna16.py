"""compressed-tensors' ``pack-quantized``: integers of 1 to 8 bits in 32-bit words along each row.

Stored per module: ``weight_packed`` int32 ``[out, in * bits / 32]``, ``weight_scale`` ``[out, groups]``
(``[out, 1]`` by row, ``[1]`` by tensor), ``weight_shape``, where asymmetric ``weight_zero_point`` (int32,
packed down the rows, or int8), and where columns were quantised in order of activation ``weight_g_idx`` int32
``[in]``. Values are stored plus ``2 ** (bits - 1)``. Older versions leave the rest of a word empty where
``bits`` does not divide 32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import (
    Finding,
    Parts,
    Stored,
    Unpacked,
    prefetch,
    stems,
    weight_schemes,
)
from filiation.checkpoint.packing.bits import Codes, unpack_stream, unpack_words, word_range
from filiation.checkpoint.packing.window import LazyTensor, Range

NAME: str = "compressed-tensors"
METHODS: frozenset[str] = frozenset({"compressed-tensors"})

_SUFFIXES = ("_packed", "_scale", "_zero_point", "_shape", "_g_idx")
_ZERO_KINDS = ("I32", "I8")


@dataclass(frozen=True)
class PackedTensor(LazyTensor):
    """A weight ``[out, in]`` over ``pack-quantized`` tensors.

    Attributes:
        dense: whether the words hold a bit stream; else each holds ``32 // bits`` values and padding.
        parts: the module, for errors.
    """

    packed: RawTensor
    scales: RawTensor
    zeros: RawTensor | None
    g_idx: RawTensor | None
    bits: int
    dense: bool
    parts: Parts = field(repr=False, compare=False)

    @cached_property
    def groups(self) -> npt.NDArray[np.intp]:
        """The group of every input column, ``[in]``.

        Raises:
            UnsupportedFormatError: ``weight_g_idx`` names a group that has no scale.
        """
        width = self.info.shape[1]
        count = self.scales.info.shape[-1] if len(self.scales.info.shape) == 2 else 1
        if self.g_idx is None:
            return np.arange(width, dtype=np.intp) // max(1, width // count)
        groups = np.asarray(self.g_idx.read_raw(()), dtype=np.intp)
        # A g_idx of -1 throughout is how older versions say "in order".
        if (groups == -1).all():
            return np.arange(width, dtype=np.intp) // max(1, width // count)
        inside = bool(groups.min() >= 0 and groups.max() < count)
        self.parts.check(inside, f"weight_g_idx holds group numbers outside 0..{count - 1}.")
        return groups

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads; rows are contiguous."""
        rows = slice(*ranges[0])
        return [(self.packed, (rows,)), (self.scales, self._scale_rows(rows)), *self._zero_needs(ranges[0])]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[rows, columns]``, float32."""
        rows, columns = ranges
        groups = self.groups[columns[0] : columns[1]]
        scales = self.scales.read(self._scale_rows(slice(*rows)))
        scales = scales.reshape(-1, scales.shape[-1] if scales.ndim else 1)
        weight = self._codes(rows, columns).astype(np.float32)
        weight -= self._zero_points(rows, groups)
        weight *= scales[:, groups] if scales.shape[1] > 1 else scales
        return weight

    def _scale_rows(self, rows: slice) -> Index:
        return (rows,) if self.scales.info.shape[:1] == self.info.shape[:1] and self.info.shape[0] > 1 else ()

    def _codes(self, rows: Range, columns: Range) -> Codes:
        if self.dense:
            start, stop = word_range(*columns, self.bits)
            skipped = start * 32 // self.bits
        else:
            per_word = 32 // self.bits
            start, stop = columns[0] // per_word, -(-columns[1] // per_word)
            skipped = start * per_word
        words = np.ascontiguousarray(self.packed.read_raw((slice(*rows), slice(start, stop))))
        codes = self._unpack(words, stop - start)
        return codes[:, columns[0] - skipped : columns[1] - skipped]

    def _unpack(self, words: npt.NDArray[Any], count: int) -> Codes:
        if not self.dense:
            return unpack_words(words, self.bits)
        # The stream may end within a block of words: pad it.
        missing = count - words.shape[-1]
        return unpack_stream(np.pad(words, ((0, 0), (0, missing))) if missing else words, self.bits)

    def _zero_needs(self, rows: Range) -> list[tuple[StoredTensor, Index]]:
        return [] if self.zeros is None else [(self.zeros, (slice(*self._zero_rows(rows)),))]

    def _zero_rows(self, rows: Range) -> Range:
        assert self.zeros is not None
        if self.zeros.info.dtype != "I32":
            return rows
        if self.dense:
            return word_range(*rows, self.bits)
        per_word = 32 // self.bits
        return rows[0] // per_word, -(-rows[1] // per_word)

    def _zero_points(self, rows: Range, groups: npt.NDArray[np.intp]) -> Floats | np.float32:
        """Return what to subtract from the stored codes: the middle, plus the zero point where there is one."""
        middle = np.float32(1 << (self.bits - 1))
        if self.zeros is None:
            return middle
        start, stop = self._zero_rows(rows)
        stored = self.zeros.read_raw((slice(start, stop),))
        if self.zeros.info.dtype == "I32":
            # Packed down the rows, and plus the same middle as the weights.
            codes = self._unpack(np.ascontiguousarray(stored.T), stop - start).T
            skipped = start * 32 // self.bits if self.dense else start * (32 // self.bits)
            zeros = codes[rows[0] - skipped : rows[1] - skipped].astype(np.float32)
        else:
            zeros = stored.astype(np.float32) + middle
        return zeros[:, groups] if zeros.shape[1] > 1 else zeros


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise ``weight_packed`` of int32.

    Raises:
        UnsupportedFormatError: a companion is missing, or shapes contradict each other.
    """
    stated = _stated(quantization)
    modules = [
        Parts(NAME, stored, stem, f"{stem}_packed")
        for stem in stems(stored, "_packed")
        if stored[f"{stem}_packed"].info.dtype == "I32"
    ]
    prefetch((stored[f"{parts.stem}_shape"], ()) for parts in modules if parts.has("_shape"))
    return Finding(tuple(_build(parts, stated) for parts in modules))


def _build(parts: Parts, stated: frozenset[int]) -> Unpacked:
    packed, scales = parts.need("_packed", "I32", ndim=2), parts.need("_scale")
    out, words = packed.info.shape
    shape = parts.need("_shape", "I64", "I32", ndim=1).read_raw(())
    width = int(shape[-1])
    parts.check(
        tuple(int(size) for size in shape) == (out, width) and width > 0,
        f"weight_shape says {[int(size) for size in shape]}, the packed rows are {out}.",
    )
    bits, dense = _bits(parts, width, words, stated)
    groups = scales.info.shape[-1] if len(scales.info.shape) == 2 else 1
    rows = scales.info.shape[0] if len(scales.info.shape) == 2 else 1
    g_idx = parts.maybe("_g_idx", "I32", "I64", ndim=1)
    parts.check(
        rows in (1, out) and groups > 0 and (width % groups == 0 or g_idx is not None),
        f"weight_scale has the shape {list(scales.info.shape)} for a weight of {[out, width]}.",
    )
    zeros = parts.maybe("_zero_point", *_ZERO_KINDS, ndim=2)
    if zeros is not None:
        tall = -(-out * bits // 32) if dense else -(-out // (32 // bits))
        wanted = (tall if zeros.info.dtype == "I32" else out, groups)
        parts.check(
            zeros.info.shape == wanted,
            f"weight_zero_point has the shape {list(zeros.info.shape)}, not {list(wanted)}.",
        )
    names = parts.names(*_SUFFIXES)
    info = parts.info(parts.stem, (out, width), f"INT{bits}", names)
    return Unpacked(PackedTensor(info, packed, scales, zeros, g_idx, bits, dense, parts), names)


def _bits(parts: Parts, width: int, words: int, stated: frozenset[int]) -> tuple[int, bool]:
    """Tell the bits, and whether the words are filled, from the stored width; the config decides what is ambiguous."""
    dense = [(bits, True) for bits in range(1, 9) if -(-width * bits // 32) == words]
    # Padded words are believed only where the config names their width: many widths could be read into them.
    padded = [(bits, False) for bits in stated if 1 <= bits <= 8 and -(-width // (32 // bits)) == words]
    likely = [item for item in dense if item[0] in stated] or padded or dense
    # Without a config: the widths that are really used come first.
    likely.sort(key=lambda item: ((4, 8, 2, 3, 6, 5, 7, 1).index(item[0]), not item[1]))
    if not likely:
        raise parts.fail(f"{words} words a row hold {width} values at no width of 1 to 8 bits.")
    return likely[0]


def _stated(quantization: Mapping[str, Any]) -> frozenset[int]:
    bits = (weights.get("num_bits") for weights in weight_schemes(quantization))
    return frozenset(number for number in bits if isinstance(number, int))
