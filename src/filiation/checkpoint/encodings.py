"""Stored number kinds, and how each becomes float32.

One table serves every format. A kind is stored in blocks: one value a byte or more for plain numbers, two values a
byte for ``F4``, four in three bytes for ``F6_*``, 32 to 256 values for GGUF's quantised kinds (those come from
:mod:`filiation.checkpoint.ggml`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats
from filiation.errors import UnsupportedFormatError

RawBytes = npt.NDArray[np.uint8]
Decode = Callable[[RawBytes, Floats], None]


@dataclass(frozen=True, slots=True)
class Encoding:
    """One stored kind.

    Attributes:
        name: as the file calls it, upper case.
        block: values in a block.
        size: bytes of a block.
        decode: writes ``n / size * block`` float32 values from ``n`` bytes into its second argument; None where
            the kind cannot be turned into real numbers.
        native: the numpy type of one value, little-endian, where a value fills whole bytes.
    """

    name: str
    block: int
    size: int
    decode: Decode | None
    native: np.dtype[Any] | None = None

    @property
    def is_float32(self) -> bool:
        """Whether the stored bytes are already what is asked for on this machine."""
        return self.name == "F32" and sys.byteorder == "little"

    def nbytes(self, values: int) -> int | None:
        """Return the bytes that ``values`` values take, or None when they do not fill whole blocks."""
        blocks, rest = divmod(values, self.block)
        return None if rest else blocks * self.size


def _cast(native: np.dtype[Any]) -> Decode:
    def decode(raw: RawBytes, out: Floats) -> None:
        # float64 beyond float32's range becomes infinity here and is reported by the reader as such.
        with np.errstate(over="ignore"):
            out[...] = raw.view(native)

    return decode


def _bfloat16(raw: RawBytes, out: Floats) -> None:
    # A bfloat16 is the upper half of a float32.
    np.left_shift(raw.view("<u2"), np.uint32(16), out=out.view(np.uint32), dtype=np.uint32)


def _truth(raw: RawBytes, out: Floats) -> None:
    out[...] = raw != 0


def _table(native: Any) -> Decode:
    """Decode one-byte kinds by looking each byte up: 256 possible values, converted once."""
    with np.errstate(over="ignore"):
        table = np.arange(256, dtype=np.uint8).view(native).astype(np.float32)

    def decode(raw: RawBytes, out: Floats) -> None:
        np.take(table, raw, out=out, mode="clip")

    return decode


def _pairs() -> Decode:
    """Decode ``F4`` (e2m1): two values a byte, the low half first, as torch's float4_e2m1fn_x2 has them."""
    codes = np.arange(256, dtype=np.uint8)
    halves = np.stack([codes & 15, codes >> 4], axis=1)
    table = halves.view(ml_dtypes.float4_e2m1fn).astype(np.float32).view(np.uint64)[:, 0]

    def decode(raw: RawBytes, out: Floats) -> None:
        np.take(table, raw, out=out.view(np.uint64), mode="clip")

    return decode


def _sixes(native: Any) -> Decode:
    """Decode ``F6_*``: four values in three bytes, read as one little-endian bit stream, lowest bits first."""
    table = np.arange(64, dtype=np.uint8).view(native).astype(np.float32)

    def decode(raw: RawBytes, out: Floats) -> None:
        low, mid, high = (raw[i::3] for i in range(3))
        out[0::4] = table[low & 63]
        out[1::4] = table[(low >> 6) | ((mid & 15) << 2)]
        out[2::4] = table[(mid >> 4) | ((high & 3) << 4)]
        out[3::4] = table[high >> 2]

    return decode


def _plain(name: str, native: npt.DTypeLike, decode: Decode | None = None) -> Encoding:
    dtype = np.dtype(native)
    return Encoding(name, 1, dtype.itemsize, decode or _cast(dtype), dtype)


def _byte(name: str, native: Any) -> Encoding:
    return _plain(name, native, _table(native))


def _all() -> dict[str, Encoding]:
    known = [
        _plain("F64", "<f8"),
        _plain("F32", "<f4"),
        _plain("F16", "<f2"),
        _plain("BF16", ml_dtypes.bfloat16, _bfloat16),
        _byte("F8_E4M3", ml_dtypes.float8_e4m3fn),
        _byte("F8_E5M2", ml_dtypes.float8_e5m2),
        _byte("F8_E4M3FNUZ", ml_dtypes.float8_e4m3fnuz),
        _byte("F8_E5M2FNUZ", ml_dtypes.float8_e5m2fnuz),
        _byte("F8_E8M0", ml_dtypes.float8_e8m0fnu),
        Encoding("F6_E2M3", 4, 3, _sixes(ml_dtypes.float6_e2m3fn)),
        Encoding("F6_E3M2", 4, 3, _sixes(ml_dtypes.float6_e3m2fn)),
        Encoding("F4", 2, 1, _pairs()),
        *(_plain(f"I{8 * n}", f"<i{n}") for n in (1, 2, 4, 8)),
        *(_plain(f"U{8 * n}", f"<u{n}") for n in (1, 2, 4, 8)),
        _plain("BOOL", np.bool_, _truth),
        Encoding("C64", 1, 8, None, np.dtype("<c8")),
        Encoding("C128", 1, 16, None, np.dtype("<c16")),
    ]
    return {encoding.name: encoding for encoding in known}


ENCODINGS: Mapping[str, Encoding] = MappingProxyType(_all())
"""Every plain kind by its safetensors name."""


def decode(encoding: Encoding, raw: RawBytes, out: Floats, *, file: str, tensor: str) -> None:
    """Decode whole blocks into ``out``.

    Raises:
        UnsupportedFormatError: the kind has no real values (complex numbers) or no known decoder.
    """
    if encoding.decode is None:
        raise UnsupportedFormatError(
            f"Tensors of kind {encoding.name} cannot be read as real numbers.",
            file=file,
            tensor=tensor,
            reason=f"filiation has no decoder for {encoding.name}.",
            next_step="Convert the checkpoint to bf16 safetensors with the tool that made it.",
        )
    encoding.decode(raw, out)
