"""GGUF's number kinds: plain ones decoded by our own table, quantised ones by the ``gguf`` package's decoders."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from filiation.checkpoint.encodings import ENCODINGS, Decode, Encoding, RawBytes
from filiation.checkpoint.model import Floats

_PLAIN = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
_GROUP = 1 << 17  # bytes decoded at a time: beyond it the decoders' temporaries leave the processor's cache


@cache
def ggml_encoding(kind: int) -> Encoding | None:
    """Return the encoding with this number in GGUF files, or None for a number that is not known."""
    if kind in _PLAIN:
        return ENCODINGS[_PLAIN[kind]]
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        quantised = GGMLQuantizationType(kind)
        block, size = GGML_QUANT_SIZES[quantised]
    except (ValueError, KeyError):
        return None
    return Encoding(quantised.name, block, size, _decoder(quantised, block, size))


def _decoder(quantised: Any, block: int, size: int) -> Decode | None:
    from gguf.quants import dequantize

    try:
        dequantize(np.zeros((1, size), np.uint8), quantised)
    except NotImplementedError:
        return None
    step = max(1, _GROUP // size)

    def decode(raw: RawBytes, out: Floats) -> None:
        for low in range(0, len(raw) // size, step):
            part = raw[low * size : (low + step) * size].reshape(1, -1)
            # Damaged scales give NaN or infinity; the reader of the tensor reports them.
            with np.errstate(all="ignore"):
                out[low * block : (low + step) * block] = dequantize(part, quantised)[0]

    return decode
