"""MLX: integers of 1 to 8 bits in 32-bit words along each row, with a scale and a bias for each group of columns.

Stored per module: ``weight`` uint32 ``[..., out, in * bits / 32]``, ``scales`` and ``biases`` ``[..., out, groups]``.
The logical weight is ``scales * q + biases``. Shapes cannot tell 4 bits in groups of 64 from 8 bits in groups of 32:
config.json's ``quantization`` does, for the model or for a module. Experts are stacked along a first axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from filiation.checkpoint.model import Floats, Index, RawTensor, StoredTensor
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, stems
from filiation.checkpoint.packing.bits import unpack_stream, word_range
from filiation.checkpoint.packing.window import LazyTensor, Range, positions, to_index

NAME: str = "MLX"
METHODS: frozenset[str] = frozenset({"mlx"})

_DEFAULT = (64, 4)


@dataclass(frozen=True)
class MlxTensor(LazyTensor):
    """A weight ``[..., out, in]`` over MLX's stored tensors; rows are contiguous."""

    words: RawTensor
    scales: RawTensor
    biases: RawTensor
    bits: int
    group: int

    def needs(self, ranges: tuple[Range, ...]) -> Sequence[tuple[StoredTensor, Index]]:
        """Say what :meth:`window` reads."""
        rows, columns = to_index(ranges[:-1]), ranges[-1]
        groups = slice(columns[0] // self.group, -(-columns[1] // self.group))
        words = slice(*word_range(*columns, self.bits))
        return [(self.words, (*rows, words)), (self.scales, (*rows, groups)), (self.biases, (*rows, groups))]

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        """Decode ``weight[..., rows, columns]``, float32."""
        start, stop = ranges[-1]
        (_, words), (_, groups), _ = self.needs(ranges)
        codes = unpack_stream(np.ascontiguousarray(self.words.read_raw(words)), self.bits)
        skipped = word_range(start, stop, self.bits)[0] * 32 // self.bits
        of = positions((start, stop)) // self.group - start // self.group
        weight = codes[..., start - skipped : stop - skipped].astype(np.float32)
        weight *= self.scales.read(groups)[..., of]
        weight += self.biases.read(groups)[..., of]
        return weight


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise uint32 weights with ``scales`` beside them.

    Raises:
        UnsupportedFormatError: ``biases`` are missing (MLX's float modes), or shapes contradict the config.
    """
    tensors: list[Unpacked] = []
    assumed = False
    for stem in stems(stored, ".weight"):
        if stored[f"{stem}.weight"].info.dtype == "U32" and f"{stem}.scales" in stored:
            parts = Parts(NAME, stored, stem, f"{stem}.weight")
            stated = _stated(stem, quantization)
            assumed = assumed or stated is None
            tensors.append(_build(parts, stated or _DEFAULT))
    note = "MLX: nothing says the group size and bits; groups of 64 columns and 4 bits were assumed."
    return Finding(tuple(tensors), (note,) if assumed else ())


def _build(parts: Parts, stated: tuple[int, int]) -> Unpacked:
    words, scales = parts.need(".weight", "U32"), parts.need(".scales", "F32", "F16", "BF16")
    biases = parts.need(".biases", "F32", "F16", "BF16")
    group, bits = stated
    width = words.info.shape[-1] * 32 // bits
    wanted = (*words.info.shape[:-1], width // group)
    parts.check(
        scales.info.shape == biases.info.shape == wanted and width % group == 0,
        f"scales {list(scales.info.shape)} and biases {list(biases.info.shape)} do not fit words "
        f"{list(words.info.shape)} of {bits} bits in groups of {group} columns.",
    )
    names = parts.names(".weight", ".scales", ".biases")
    info = parts.info(f"{parts.stem}.weight", (*words.info.shape[:-1], width), f"MLX{bits}", names)
    return Unpacked(MlxTensor(info, words, scales, biases, bits, group), names)


def _stated(stem: str, quantization: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return ``(group, bits)`` for a module: its own entry, else the model's."""
    own: Any = quantization.get(stem)
    for holder in (cast("Mapping[str, Any]", own) if isinstance(own, Mapping) else {}, quantization):
        group, bits = holder.get("group_size"), holder.get("bits")
        if type(group) is int and type(bits) is int and group > 0 and 1 <= bits <= 8:
            return group, bits
    return None
