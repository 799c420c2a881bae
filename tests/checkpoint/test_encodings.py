"""Every stored kind against ml_dtypes, value by value."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from filiation.checkpoint.encodings import ENCODINGS, decode
from filiation.errors import UnsupportedFormatError

BYTE_KINDS = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
    "I8": np.int8,
    "U8": np.uint8,
}


def _decoded(kind: str, raw: np.ndarray, count: int) -> np.ndarray:
    out = np.full(count, np.float32(-77))
    ENCODINGS[kind].decode(raw, out)  # type: ignore[misc]
    return out


@pytest.mark.parametrize("kind", BYTE_KINDS)
def test_every_byte_of_a_one_byte_kind(kind: str) -> None:
    raw = np.arange(256, dtype=np.uint8)
    expected = raw.view(BYTE_KINDS[kind]).astype(np.float32)
    np.testing.assert_array_equal(_decoded(kind, raw, 256), expected)


@pytest.mark.parametrize(("kind", "dtype"), [("BF16", ml_dtypes.bfloat16), ("F16", np.float16)])
def test_every_pattern_of_a_two_byte_float(kind: str, dtype: type) -> None:
    patterns = np.arange(65536, dtype=np.uint16)
    expected = patterns.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(_decoded(kind, patterns.view(np.uint8), 65536), expected)


@pytest.mark.parametrize("kind", ["I16", "I32", "I64", "U16", "U32", "U64", "F32", "F64"])
def test_plain_numbers(kind: str) -> None:
    native = ENCODINGS[kind].native
    assert native is not None
    low = 0 if native.kind == "u" else -300
    values = np.arange(low, low + 500, dtype=native)
    expected = values.astype(np.float32)
    np.testing.assert_array_equal(_decoded(kind, values.view(np.uint8), 500), expected)


def test_truth_values_are_zero_and_one_whatever_the_byte() -> None:
    raw = np.array([0, 1, 2, 255], np.uint8)
    np.testing.assert_array_equal(_decoded("BOOL", raw, 4), [0, 1, 1, 1])


def test_f4_has_the_low_half_first() -> None:
    raw = np.arange(256, dtype=np.uint8)
    halves = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)
    expected = halves.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(_decoded("F4", raw, 512), expected)
    np.testing.assert_array_equal(_decoded("F4", np.array([0x72], np.uint8), 2), [1.0, 6.0])


@pytest.mark.parametrize(
    ("kind", "dtype"), [("F6_E2M3", ml_dtypes.float6_e2m3fn), ("F6_E3M2", ml_dtypes.float6_e3m2fn)]
)
def test_f6_is_a_bit_stream_with_the_lowest_bits_first(kind: str, dtype: type) -> None:
    codes = np.random.default_rng(0).permutation(np.tile(np.arange(64, dtype=np.uint8), 4))
    bits = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, :6]
    raw = np.packbits(bits.reshape(-1), bitorder="little")
    assert len(raw) * 4 == len(codes) * 3
    expected = codes.view(dtype).astype(np.float32)
    np.testing.assert_array_equal(_decoded(kind, raw, len(codes)), expected)


def test_a_double_beyond_float32_becomes_infinite_and_is_reported_by_the_reader() -> None:
    assert np.isinf(_decoded("F64", np.array([1e300]).view(np.uint8), 1)).all()


def test_complex_numbers_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        decode(ENCODINGS["C64"], np.zeros(8, np.uint8), np.zeros(1, np.float32), file="a.pt", tensor="c")
    assert (caught.value.file, caught.value.tensor) == ("a.pt", "c")
    assert "C64" in str(caught.value.reason)
    assert caught.value.next_step


def test_bytes_needed() -> None:
    assert ENCODINGS["F4"].nbytes(10) == 5
    assert ENCODINGS["F4"].nbytes(11) is None
    assert ENCODINGS["F6_E2M3"].nbytes(8) == 6
    assert ENCODINGS["BF16"].nbytes(3) == 6
