"""Small integers out of larger words: bit streams, nibbles, and the small float formats they stand for."""

from __future__ import annotations

from math import gcd
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats

Codes = npt.NDArray[np.uint8]


def _table(kind: Any, codes: int) -> Floats:
    return np.arange(codes, dtype=np.uint8).view(kind).astype(np.float32)


E2M1: Floats = _table(ml_dtypes.float4_e2m1fn, 16)
"""The sixteen values of a 4-bit float with two exponent bits and one mantissa bit (MXFP4, NVFP4)."""

E2M3: Floats = _table(ml_dtypes.float6_e2m3fn, 64)
"""The 64 values of a 6-bit float with two exponent bits and three mantissa bits (MXFP6)."""


def block(bits: int) -> tuple[int, int]:
    """Return ``(values, words)`` of the smallest run of values that fills whole 32-bit words."""
    shared = gcd(bits, 32)
    return 32 // shared, bits // shared


def word_range(start: int, stop: int, bits: int) -> tuple[int, int]:
    """Return the 32-bit words ``(first, last)`` whose whole blocks hold values ``start:stop`` of a bit stream."""
    values, words = block(bits)
    return start // values * words, -(-stop // values) * words


def unpack_stream(words: npt.NDArray[Any], bits: int) -> Codes:
    """Unpack a little-endian bit stream along the last axis: value ``i`` lies in bits ``i*bits:(i+1)*bits``.

    Args:
        words: 32-bit integers, shape ``[..., n]``; ``n`` a multiple of ``block(bits)[1]``.
        bits: 1 to 8.

    Returns:
        Unsigned values, shape ``[..., n * 32 / bits]``.
    """
    values, per_block = block(bits)
    stream = words.astype(np.uint32, copy=False) if words.dtype != np.int32 else words.view(np.uint32)
    stream = stream.reshape(*words.shape[:-1], -1, per_block)
    out = np.empty((*stream.shape[:-1], values), dtype=np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for place in range(values):
        word, shift = divmod(place * bits, 32)
        value = stream[..., word] >> np.uint32(shift)
        if shift + bits > 32:
            value = value | (stream[..., word + 1] << np.uint32(32 - shift))
        out[..., place] = value & mask
    return out.reshape(*words.shape[:-1], -1)


def unpack_words(words: npt.NDArray[Any], bits: int) -> Codes:
    """Unpack ``32 // bits`` values from each 32-bit word, low bits first; what is left of a word is padding."""
    per_word = 32 // bits
    stream = words.view(np.uint32) if words.dtype == np.int32 else words.astype(np.uint32, copy=False)
    shifts = np.arange(per_word, dtype=np.uint32) * np.uint32(bits)
    spread = (stream[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    return spread.astype(np.uint8).reshape(*words.shape[:-1], -1)


def nibbles(packed: npt.NDArray[Any], *, high_first: bool = False) -> Codes:
    """Split bytes ``[..., n]`` into 4-bit values ``[..., 2n]``, the low half first unless ``high_first``."""
    data = packed.view(np.uint8)
    out = np.empty((*data.shape, 2), dtype=np.uint8)
    low, high = data & np.uint8(0xF), data >> np.uint8(4)
    out[..., 0], out[..., 1] = (high, low) if high_first else (low, high)
    return out.reshape(*data.shape[:-1], -1)


def sextets(packed: npt.NDArray[Any]) -> Codes:
    """Split bytes ``[..., 3n]`` into 6-bit values ``[..., 4n]``, little-endian."""
    data = packed.view(np.uint8)
    triple = data.reshape(*data.shape[:-1], -1, 3).astype(np.uint32)
    word = triple[..., 0] | (triple[..., 1] << np.uint32(8)) | (triple[..., 2] << np.uint32(16))
    shifts = np.array([0, 6, 12, 18], dtype=np.uint32)
    return ((word[..., None] >> shifts) & np.uint32(0x3F)).astype(np.uint8).reshape(*data.shape[:-1], -1)


def e8m0(exponents: npt.NDArray[Any]) -> Floats:
    """Turn biased 8-bit exponents into powers of two, ``2 ** (e - 127)``; 255 is not a number."""
    return exponents.view(np.uint8).view(ml_dtypes.float8_e8m0fnu).astype(np.float32)
