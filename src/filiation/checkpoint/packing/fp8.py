"""8-bit weights beside their scales: FP8 by tensor, row or block, MXFP8, and int8.

The weight keeps its own name; beside ``X.weight`` stands ``X.weight_scale_inv`` (128 x 128 blocks, as
DeepSeek-V3 stores them, arXiv 2412.19437) or ``X.weight_scale`` (one scale a tensor, a row, a block; uint8
scales are exponents: MXFP8). Both multiply. int8 weights of compressed-tensors may have
``X.weight_zero_point``. Expert stacks of three dimensions are named without ``.weight``
(``experts.down_proj``, ``experts.down_proj_scale_inv``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filiation.checkpoint.model import TensorInfo
from filiation.checkpoint.packing.base import FP8_KINDS, Finding, Parts, Stored, Unpacked, weight_schemes
from filiation.checkpoint.packing.scaled import Plain, ScaledTensor, grid

NAME: str = "8-bit"
METHODS: frozenset[str] = frozenset(
    {
        *("fp8", "fbgemm_fp8", "modelopt", "modelopt_fp4", "nvfp4", "quark", "compressed-tensors"),
        *("auto-round", "intel/auto-round", "w8a8_fp8", "w8a8_int8", "blockwise_int8", "mxfp8"),
    }
)

KINDS = FP8_KINDS | {"I8"}
_SCALES = ("_scale_inv", "_scale")
_FLOATS = ("F32", "F16", "BF16", "F64", "F8_E8M0", "U8")


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise 8-bit tensors that have a scale of their name beside them.

    Raises:
        UnsupportedFormatError: the scale's shape does not fit the weight's.
    """
    stated = _stated_blocks(quantization)
    tensors: list[Unpacked] = []
    for name in companions(stored):
        info = stored[name].info
        parts = Parts(_scheme(info), stored, name, name)
        suffix = next(suffix for suffix in _SCALES if parts.has(suffix))
        tensors.append(_build(parts, info, suffix, stated))
    return Finding(tuple(tensors))


def companions(stored: Stored, kinds: frozenset[str] = KINDS) -> dict[str, tuple[str, ...]]:
    """Return every matrix of some kinds that has scales beside it, with the names of what lies there."""
    found: dict[str, tuple[str, ...]] = {}
    for name, tensor in stored.items():
        if tensor.info.dtype not in kinds:
            continue
        beside = tuple(name + suffix for suffix in _SCALES if name + suffix in stored)
        if beside and len(tensor.info.shape) >= 2:
            points = (name + "_zero_point",) if name + "_zero_point" in stored else ()
            found[name] = (*beside, *points)
    return found


def _scheme(info: TensorInfo) -> str:
    return "int8" if info.dtype == "I8" else "FP8"


def _build(parts: Parts, info: TensorInfo, suffix: str, stated: Sequence[int]) -> Unpacked:
    scales = grid(parts, parts.need(suffix, *_FLOATS), info.shape, stated)
    point = parts.maybe("_zero_point", "I8", "U8", "I32", *_FLOATS)
    zeros = None
    if point is not None:
        laid = grid(parts, point, info.shape, stated)
        zeros = type(laid)(laid.tensor, laid.blocks)
    names = (parts.main, *parts.names(suffix, "_zero_point"))
    described = parts.info(parts.main, info.shape, _label(info, scales.blocks, scales.exponents), names)
    return Unpacked(ScaledTensor(described, Plain(parts.stored[parts.main]), scales, zeros), names)


def _label(info: TensorInfo, blocks: tuple[int, ...], exponents: bool) -> str:
    if info.dtype == "I8":
        return "INT8"
    if exponents:
        return "MXFP8"
    if blocks[-1] == info.shape[-1]:
        return "FP8_CHANNEL" if blocks[-2] == 1 else "FP8_TENSOR"
    return "FP8_BLOCK"


def _stated_blocks(quantization: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the block size of the last two axes that the config states, in either of the two places for it."""
    stated: list[Any] = [quantization.get("weight_block_size")]
    stated += [weights.get("block_structure") for weights in weight_schemes(quantization)]
    for sizes in stated:
        if isinstance(sizes, Sequence) and len(sizes) == 2 and all(type(n) is int and n > 0 for n in sizes):
            return tuple(sizes)
    return ()
