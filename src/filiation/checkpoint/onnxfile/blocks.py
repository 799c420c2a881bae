"""Block-quantised matrices of ONNX Runtime's MatMulNBits: 2, 4 or 8 bits, a scale for every block of input columns.

``B`` is uint8 ``[out, blocks, block_size * bits / 8]``, ``scales`` ``[out * blocks]``; zero points are packed like the
weights, row by row, or floats, or absent (then the middle of the range). The logical weight is
``(q - zero) * scale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor, TensorInfo
from filiation.checkpoint.onnxfile.graph import Graph, Use
from filiation.checkpoint.packing.bits import Codes
from filiation.checkpoint.packing.window import LazyTensor, Range, positions

_BITS = (2, 4, 8)


@dataclass(frozen=True)
class BlockTensor(LazyTensor):
    """A weight ``[out, in]`` over MatMulNBits inputs; rows are contiguous."""

    packed: RawTensor
    scales: RawTensor
    zeros: RawTensor | None
    bits: int
    block: int

    @property
    def _blocks(self) -> int:
        return self.packed.info.shape[1]

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads."""
        start, stop = ranges[0]
        zeros: list[tuple[StoredTensor, Index]] = [] if self.zeros is None else [(self.zeros, ())]
        return [(self.packed, (slice(start, stop),)), (self.scales, self._scale_index(ranges[0])), *zeros]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[rows, columns]``, float32."""
        (start, stop), columns = ranges
        rows = stop - start
        packed = np.ascontiguousarray(self.packed.read_raw((slice(start, stop),))).reshape(rows, -1)
        of = positions(columns) // self.block
        weight = _split(packed, self.bits)[:, columns[0] : columns[1]].astype(np.float32)
        zeros = self._zeros(start, stop)
        weight -= zeros[:, of] if isinstance(zeros, np.ndarray) else zeros
        weight *= self.scales.read(self._scale_index((start, stop))).reshape(rows, -1)[:, of]
        return weight

    def _scale_index(self, rows: Range) -> Index:
        flat = len(self.scales.info.shape) == 1
        return (slice(rows[0] * self._blocks, rows[1] * self._blocks),) if flat else (slice(*rows),)

    def _zeros(self, start: int, stop: int) -> Floats | float:
        if self.zeros is None:
            return float(1 << (self.bits - 1))
        out = self.info.shape[0]
        if self.zeros.info.dtype == "U8":
            stored = _split(self.zeros.read_raw(()).reshape(out, -1)[start:stop], self.bits)
            return stored[:, : self._blocks].astype(np.float32)
        return self.zeros.read(()).reshape(out, -1)[start:stop]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The inputs of a MatMulNBits node; ``helpers`` are the names of its scales and zero points."""

    packed: RawTensor
    scales: RawTensor
    zeros: RawTensor | None
    shape: tuple[int, int]
    bits: int
    block: int

    @property
    def helpers(self) -> tuple[str, ...]:
        """The stored names of the scales and zero points."""
        return tuple(part.info.name for part in (self.scales, self.zeros) if part is not None)

    def tensor(self, name: str) -> BlockTensor:
        """Return the weight under ``name``."""
        parts = [part.info.nbytes for part in (self.packed, self.scales, self.zeros) if part is not None]
        info = TensorInfo(name, self.shape, f"INT{self.bits}_BLOCK", sum(parts), self.packed.info.file)
        return BlockTensor(info, self.packed, self.scales, self.zeros, self.bits, self.block)


def in_blocks(graph: Graph, use: Use) -> Blocks | None:
    """Return the matrix of a MatMulNBits node, or None for any other use or one whose shapes do not fit."""
    node = use.node
    if node.op != "MatMulNBits" or use.position != 1 or len(node.inputs) < 3 or any(node.inputs[4:5]):
        return None
    width, out = node.number("K", 0), node.number("N", 0)
    bits, block = node.number("bits", 4), node.number("block_size", 0)
    packed, scales = use.value.numbers, graph.values.get(node.inputs[2])
    zeros = graph.values.get(node.inputs[3]) if any(node.inputs[3:4]) else None
    if bits not in _BITS or block <= 0 or scales is None:
        return None
    wanted = (out, -(-width // block), block * bits // 8)
    if packed.info.shape != wanted or np.prod(scales.numbers.info.shape) != wanted[0] * wanted[1]:
        return None
    return Blocks(
        packed, scales.numbers, zeros.numbers if zeros is not None else None, (out, width), bits, block
    )


def _split(packed: Codes, bits: int) -> Codes:
    """Split each byte of ``[rows, n]`` into its ``8 / bits`` values, low bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return ((packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(len(packed), -1)
