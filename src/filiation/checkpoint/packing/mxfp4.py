"""MXFP4 expert stacks as gpt-oss stores them.

``X_blocks`` is uint8 ``[experts, out, in / 32, 16]``, ``X_scales`` uint8 ``[experts, out, in / 32]``. The logical
tensor is ``X`` of shape ``[experts, in, out]``, as the same model's bf16 checkpoints have it: the stored order
is the transpose of it. Format: OCP Microscaling, arXiv 2310.10537.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, stems
from filiation.checkpoint.packing.bits import E2M1, e8m0, nibbles
from filiation.checkpoint.packing.window import LazyTensor, Range

NAME: str = "MXFP4"
METHODS: frozenset[str] = frozenset({"mxfp4"})

_GROUP = 32
_BYTES = 16


@dataclass(frozen=True)
class ExpertStack(LazyTensor):
    """Expert weights ``[experts, in, out]`` over MXFP4 blocks."""

    blocks: RawTensor
    scales: RawTensor

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Whole experts, unless only some of their outputs are wanted."""
        index = self._stored(ranges)
        return [(self.blocks, index), (self.scales, index)]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[experts, in, out]``, float32."""
        index = self._stored(ranges)
        values = E2M1[nibbles(np.ascontiguousarray(self.blocks.read_raw(index)))]
        values *= e8m0(self.scales.read_raw(index))[..., None]
        values = values.reshape(*values.shape[:2], -1)
        skipped = ranges[1][0] // _GROUP * _GROUP
        return values[..., ranges[1][0] - skipped : ranges[1][1] - skipped].swapaxes(1, 2)

    def _stored(self, ranges: tuple[Range, ...]) -> Index:
        experts, inputs, outputs = ranges
        groups = slice(inputs[0] // _GROUP, -(-inputs[1] // _GROUP))
        return slice(*experts), slice(*outputs), groups


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise ``X_blocks`` of four dimensions.

    Raises:
        UnsupportedFormatError: ``X_scales`` is missing or does not fit.
    """
    tensors: list[Unpacked] = []
    for stem in stems(stored, "_blocks"):
        info = stored[f"{stem}_blocks"].info
        if info.dtype == "U8" and len(info.shape) == 4 and info.shape[-1] == _BYTES:
            tensors.append(_build(Parts(NAME, stored, stem, f"{stem}_blocks")))
    return Finding(tuple(tensors))


def _build(parts: Parts) -> Unpacked:
    blocks, scales = parts.need("_blocks", "U8", ndim=4), parts.need("_scales", "U8", "F8_E8M0", ndim=3)
    experts, out, groups, _ = blocks.info.shape
    parts.check(
        scales.info.shape == (experts, out, groups),
        f"{scales.info.name} has the shape {list(scales.info.shape)}; {[experts, out, groups]} was expected.",
    )
    names = parts.names("_blocks", "_scales")
    info = parts.info(parts.stem, (experts, groups * _GROUP, out), "MXFP4", names)
    return Unpacked(ExpertStack(info, blocks, scales), names)
