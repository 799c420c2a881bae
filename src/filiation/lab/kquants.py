"""K-quants with the quantiser of llama.cpp itself, which the wheel of `xllamacpp` (extra `serve`) carries.

The package `gguf` reads K-quants and cannot make them. The shared library of xllamacpp offers ggml's own function for
it by name; nothing of the package is run but that function.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.errors import MissingExtraError

#: What llama.cpp stores instead where rows are no multiple of a K-quant's 256 values, and where not even of 32.
INSTEAD = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
BLOCK, SMALL_BLOCK = 256, 32


def stored_as(kind: str, columns: int) -> str:
    """Return what llama.cpp stores a matrix as that is asked for as a K-quant, by the length of its rows."""
    if columns % BLOCK == 0:
        return kind
    return INSTEAD[kind] if columns % SMALL_BLOCK == 0 else "F16"


def quantised(matrix: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.uint8]:
    """Return the blocks of a matrix (rows, columns) as ggml packs them: uint8 (rows, bytes a row).

    Raises:
        MissingExtraError: xllamacpp is not installed, or its library does not offer the function.
    """
    import gguf

    quantum = gguf.GGMLQuantizationType[kind]
    values, size = gguf.GGML_QUANT_SIZES[quantum]
    rows, columns = matrix.shape
    source = np.ascontiguousarray(matrix, dtype=np.float32)
    out = np.zeros((rows, columns // values * size), dtype=np.uint8)
    pointer = source.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    target = out.ctypes.data_as(ctypes.c_void_p)
    written = _quantiser()(int(quantum), pointer, target, 0, rows, columns, None)
    if written != out.size:
        raise ValueError(f"ggml packed {written} bytes of {out.size} for {kind}")
    return out


@functools.cache
def _quantiser() -> Any:
    found = importlib.util.find_spec("xllamacpp")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    libraries = sorted(folder.glob("xllamacpp*.so")) if folder is not None else []
    if not libraries:
        raise MissingExtraError("Making K-quants", "serve", "xllamacpp")
    function = getattr(ctypes.CDLL(str(libraries[0])), "ggml_quantize_chunk", None)
    if function is None:
        raise MissingExtraError("Making K-quants", "serve", "xllamacpp")
    function.restype = ctypes.c_size_t
    count = ctypes.c_int64
    function.argtypes = [
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_float),
        ctypes.c_void_p,
        count,
        count,
        count,
        ctypes.c_void_p,
    ]
    return function
