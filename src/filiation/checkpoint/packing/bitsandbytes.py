"""bitsandbytes: 4-bit numbers looked up in a table of 16 (nf4, fp4), and int8 with a scale for each row.

4 bits: ``X.weight`` holds the nibbles, the high half first, in the weight's own row order;
``X.weight.absmax`` has the scale of every ``blocksize`` values and ``X.weight.quant_map`` the 16 values.
Doubly quantised, ``absmax`` is uint8, looked up in ``nested_quant_map``, times ``nested_absmax``, plus an
offset. What is not a tensor lies as JSON in ``X.weight.quant_state.bitsandbytes__nf4``. int8: ``X.weight``
times ``X.SCB`` / 127. Quantisers: arXiv 2305.14314, 2208.07339.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, prefetch, stems
from filiation.checkpoint.packing.bits import nibbles
from filiation.checkpoint.packing.scaled import Plain, ScaledTensor, grid
from filiation.checkpoint.packing.window import LazyTensor, Range

NAME: str = "bitsandbytes"
METHODS: frozenset[str] = frozenset({"bitsandbytes"})

_STATE = ".quant_state.bitsandbytes__"
_KINDS = ("nf4", "fp4")
_LARGEST_STATE = 1 << 16
_SUFFIXES = ("", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")


@dataclass(frozen=True)
class Nested:
    """How ``absmax`` itself is quantised: ``table[code] * scale[i // block] + offset``."""

    scales: RawTensor
    table: RawTensor
    block: int
    offset: float


@dataclass(frozen=True)
class FourBitTensor(LazyTensor):
    """A weight over 4-bit codes; rows are contiguous, so a read of rows reads those rows.

    Attributes:
        block: values that share a scale, counted along the flattened weight.
    """

    codes: RawTensor
    absmax: RawTensor
    table: RawTensor
    block: int
    nested: Nested | None = field(default=None)

    @cached_property
    def values(self) -> Floats:
        """The 16 values that a code stands for."""
        return self.table.read(())

    @cached_property
    def nested_values(self) -> Floats:
        """The 256 values that a doubly quantised scale's code stands for."""
        assert self.nested is not None
        return self.nested.table.read(())

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads."""
        start, stop = self._flat(ranges)
        width = self._width
        blocks = slice(start // self.block, -(-stop // self.block))
        return [(self.codes, (slice(start // width, -(-stop // width)),)), (self.absmax, (blocks,))]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode whole rows and cut the columns out of them."""
        start, stop = self._flat(ranges)
        width = self._width
        first = start // width
        raw = self.codes.read_raw((slice(first, -(-stop // width)),))
        codes = nibbles(np.ascontiguousarray(raw).reshape(-1), high_first=True)
        flat = self.values[codes[start - first * width : stop - first * width]]
        flat *= self._scales(start, stop)
        rows = flat.reshape(ranges[0][1] - ranges[0][0], *self.info.shape[1:])
        return rows[(slice(None), *(slice(*span) for span in ranges[1:]))]

    @property
    def _width(self) -> int:
        """Values in one stored element: the codes may lie in wider numbers (``bnb_4bit_quant_storage``)."""
        return 2 * self.codes.info.nbytes // self.codes.info.shape[0]

    def _flat(self, ranges: tuple[Range, ...]) -> Range:
        row = math.prod(self.info.shape[1:])
        return ranges[0][0] * row, ranges[0][1] * row

    def _scales(self, start: int, stop: int) -> Floats:
        first, last = start // self.block, -(-stop // self.block)
        absmax = self._absmax(first, last)
        return np.repeat(absmax, self.block)[start - first * self.block : stop - first * self.block]

    def _absmax(self, first: int, last: int) -> Floats:
        if self.nested is None:
            return self.absmax.read((slice(first, last),))
        codes = self.absmax.read_raw((slice(first, last),))
        block = self.nested.block
        outer = self.nested.scales.read((slice(first // block, -(-last // block)),))
        outer = np.repeat(outer, block)[first % block :][: last - first]
        return self.nested_values[codes] * outer + np.float32(self.nested.offset)


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise 4-bit weights by their quant_state and int8 weights by ``SCB``.

    Raises:
        UnsupportedFormatError: a companion is missing, shapes contradict each other, or the int8 layout is one for
            a single kind of GPU.
    """
    states = [(stem, kind) for kind in _KINDS for stem in stems(stored, _STATE + kind)]
    prefetch((stored[stem + _STATE + kind], ()) for stem, kind in states)
    prefetch((stored[name], ()) for name in stored if name.endswith(".weight_format"))
    four = [_four_bit(Parts(NAME, stored, stem, stem), kind) for stem, kind in states]
    eight = [_eight_bit(Parts(NAME, stored, stem, f"{stem}.weight")) for stem in stems(stored, ".SCB")]
    return Finding((*four, *eight))


def companions(stored: Stored) -> dict[str, tuple[str, ...]]:
    """Return every int8 matrix that has ``SCB`` beside it, with the names of what lies there."""
    found: dict[str, tuple[str, ...]] = {}
    for stem in stems(stored, ".SCB"):
        tensor = stored.get(f"{stem}.weight")
        if tensor is not None and tensor.info.dtype == "I8" and len(tensor.info.shape) == 2:
            found[f"{stem}.weight"] = tuple(
                n for n in (f"{stem}.SCB", f"{stem}.weight_format") if n in stored
            )
    return found


def _four_bit(parts: Parts, kind: str) -> Unpacked:
    codes = parts.need("", ndim=2)
    absmax, table = parts.need(".absmax", ndim=1), parts.need(".quant_map", "F32", ndim=1)
    state = _state(parts, parts.need(_STATE + kind, "U8", ndim=1))
    shape, block = _shape(parts, state), _positive(parts, state, "blocksize")
    size = math.prod(shape)
    parts.check(-(-size // 2) == codes.info.nbytes, f"{codes.info.nbytes} bytes of codes for {size} values.")
    parts.check(
        absmax.info.shape[0] == -(-size // block),
        f"{absmax.info.shape[0]} scales for {size} values in blocks of {block}.",
    )
    parts.check(table.info.shape == (16,), f"quant_map has {table.info.shape[0]} values, not 16.")
    nested = _nested(parts, state, absmax)
    names = parts.names(*_SUFFIXES, _STATE + kind)
    info = parts.info(parts.stem, shape, kind.upper(), names)
    return Unpacked(FourBitTensor(info, codes, absmax, table, block, nested), names)


def _nested(parts: Parts, state: Mapping[str, Any], absmax: RawTensor) -> Nested | None:
    if absmax.info.dtype != "U8":
        return None
    scales, table = parts.need(".nested_absmax", ndim=1), parts.need(".nested_quant_map", ndim=1)
    block, offset = _positive(parts, state, "nested_blocksize"), state.get("nested_offset")
    parts.check(isinstance(offset, int | float), "The quant_state has no number 'nested_offset'.")
    count = absmax.info.shape[0]
    parts.check(
        scales.info.shape[0] == -(-count // block) and table.info.shape == (256,),
        f"nested_absmax has {scales.info.shape[0]} scales for {count} values in blocks of {block}.",
    )
    return Nested(scales, table, block, float(cast(float, offset)))


def _state(parts: Parts, tensor: RawTensor) -> Mapping[str, Any]:
    parts.check(tensor.info.nbytes <= _LARGEST_STATE, f"Its quant_state takes {tensor.info.nbytes} bytes.")
    try:
        state: Any = json.loads(tensor.read_raw(()).tobytes())
    except ValueError as error:
        raise parts.fail("Its quant_state is not JSON.") from error
    parts.check(isinstance(state, dict), "Its quant_state is not a JSON object.")
    return cast("Mapping[str, Any]", state)


def _shape(parts: Parts, state: Mapping[str, Any]) -> tuple[int, ...]:
    shape: Any = state.get("shape")
    holds = (
        isinstance(shape, list) and len(shape) >= 1 and all(type(size) is int and size > 0 for size in shape)
    )
    parts.check(holds, "The quant_state has no list of sizes 'shape'.")
    return tuple(shape)


def _positive(parts: Parts, state: Mapping[str, Any], key: str) -> int:
    value = state.get(key)
    parts.check(type(value) is int and value > 0, f"The quant_state has no positive whole number '{key}'.")
    return cast(int, value)


def _eight_bit(parts: Parts) -> Unpacked:
    weight, scales = parts.need(".weight", "I8", ndim=2), parts.need(".SCB", "F32", "F16", "BF16")
    layout = parts.maybe(".weight_format", "U8")
    if layout is not None:
        code = int(layout.read_raw(()).reshape(-1)[0])
        parts.check(
            code == 0,
            f"Its weight_format is {code}: a tiling for one kind of GPU. Only 0 (plain rows) is read.",
        )
    names = parts.names(".weight", ".SCB", ".weight_format")
    info = parts.info(f"{parts.stem}.weight", weight.info.shape, "BNB_INT8", names)
    laid = grid(parts, scales, weight.info.shape)
    return Unpacked(ScaledTensor(info, Plain(weight), laid, constant=1 / 127), names)
