"""4- and 6-bit floats in bytes: NVFP4, MXFP4 and MXFP6 of compressed-tensors, NVFP4 of ModelOpt.

Two 4-bit floats (e2m1) a byte, the low half first; four 6-bit ones (e2m3) in three bytes. NVFP4: an FP8 scale
for 16 columns and one float32 for the tensor, which divides in compressed-tensors (``weight_global_scale``)
and multiplies in ModelOpt (``weight_scale_2``). MXFP4, MXFP6: an exponent for 32 columns (OCP Microscaling,
arXiv 2310.10537).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.checkpoint.model import RawTensor
from filiation.checkpoint.packing.base import Finding, Parts, Stored, Unpacked, stems
from filiation.checkpoint.packing.scaled import ScaledTensor, Small, fp4, fp6, grid

NAME: str = "FP4"
METHODS: frozenset[str] = frozenset({"compressed-tensors", "modelopt", "modelopt_fp4", "nvfp4", "auto-round"})

_FLOAT_SCALES = ("F8_E4M3", "F32", "F16", "BF16")
_EXPONENTS = ("U8", "F8_E8M0")
# Bytes of packed numbers for one scale.
_NVFP4, _MXFP4, _MXFP6 = 8, 16, 24


def find(stored: Stored, quantization: Mapping[str, Any]) -> Finding:
    """Recognise byte-packed weights by their companions and by how many bytes share a scale.

    Raises:
        UnsupportedFormatError: a companion is missing or shapes contradict each other.
    """
    tensors: list[Unpacked] = []
    for stem in stems(stored, "_packed"):
        if stored[f"{stem}_packed"].info.dtype == "U8":
            tensors.append(_compressed(Parts(NAME, stored, stem, f"{stem}_packed")))
    for stem in stems(stored, "_scale_2"):
        if stem in stored and stored[stem].info.dtype == "U8":
            tensors.append(_modelopt(Parts(NAME, stored, stem, stem)))
    return Finding(tuple(tensors))


def _compressed(parts: Parts) -> Unpacked:
    packed = parts.need("_packed", "U8")
    scales = parts.need("_scale", *_FLOAT_SCALES, *_EXPONENTS)
    per_scale = _bytes_per_scale(parts, packed, scales)
    nvidia = per_scale == _NVFP4
    parts.check(
        nvidia == (scales.info.dtype in _FLOAT_SCALES),
        f"{scales.info.name} is stored as {scales.info.dtype}, which does not go with {per_scale} bytes a scale.",
    )
    factor = parts.need("_global_scale") if nvidia else None
    numbers = fp6(packed) if per_scale == _MXFP6 else fp4(packed)
    label = {_NVFP4: "NVFP4", _MXFP4: "MXFP4", _MXFP6: "MXFP6"}[per_scale]
    names = parts.names("_packed", "_scale", "_global_scale", "_shape")
    return _unpacked(parts, numbers, scales, factor, label, names, divide=True)


def _modelopt(parts: Parts) -> Unpacked:
    packed, scales = parts.need("", "U8"), parts.need("_scale", *_FLOAT_SCALES)
    parts.check(_bytes_per_scale(parts, packed, scales) == _NVFP4, "NVFP4 has one scale for 16 columns.")
    names = parts.names("", "_scale", "_scale_2")
    return _unpacked(parts, fp4(packed), scales, parts.need("_scale_2"), "NVFP4", names, divide=False)


def _unpacked(
    parts: Parts,
    numbers: Small,
    scales: RawTensor,
    factor: RawTensor | None,
    label: str,
    names: tuple[str, ...],
    *,
    divide: bool,
) -> Unpacked:
    if factor is not None:
        parts.check(
            all(size == 1 for size in factor.info.shape),
            f"{factor.info.name} has the shape {list(factor.info.shape)}; one number was expected.",
        )
    info = parts.info(parts.stem, numbers.shape, label, names)
    laid = grid(parts, scales, numbers.shape)
    return Unpacked(ScaledTensor(info, numbers, laid, factor=factor, divide=divide), names)


def _bytes_per_scale(parts: Parts, packed: RawTensor, scales: RawTensor) -> int:
    front, last = packed.info.shape[:-1], packed.info.shape[-1]
    across = scales.info.shape[-1] if scales.info.shape else 0
    per_scale, rest = divmod(last, across) if across else (0, 1)
    parts.check(
        scales.info.shape[:-1] == front and rest == 0 and per_scale in (_NVFP4, _MXFP4, _MXFP6),
        f"{scales.info.name} has the shape {list(scales.info.shape)}, the packed weight {list(packed.info.shape)}: "
        "neither NVFP4 (8 bytes a scale) nor MXFP4 (16) nor MXFP6 (24).",
    )
    return per_scale
