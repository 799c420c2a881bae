"""safetensors: what the package writes is read back; what lies is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors import TensorSpec, serialize, serialize_file
from safetensors.numpy import save

from filiation import checkpoint
from filiation.errors import (
    CorruptCheckpointError,
    UnsupportedFormatError,
)
from tests.checkpoint.makers import check, craft, entry, model, refused

DTYPES = [
    "float64",
    "float32",
    "float16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
]


@st.composite
def tensor_sets(draw: st.DrawFn) -> dict[str, np.ndarray[Any, Any]]:
    names = draw(st.lists(st.text("abc.0_é", min_size=1, max_size=8), unique=True, max_size=5))
    result = {}
    for name in names:
        dtype = draw(st.sampled_from(DTYPES))
        shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
        elements = {"min_value": -100, "max_value": 100} if dtype.startswith("float") else None
        result[name] = draw(hnp.arrays(dtype, shape, elements=elements))
    return result


@given(tensor_sets())
def test_what_the_package_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, tensors: Any) -> None:
    path = tmp_path_factory.mktemp("m") / "model.safetensors"
    path.write_bytes(save(tensors, {"format": "pt"}))
    if not tensors:
        with pytest.raises(UnsupportedFormatError):
            checkpoint.open(str(path))
        return
    opened = checkpoint.open(str(path))
    assert opened.metadata == {"format": "pt"}
    assert set(opened.tensors) == set(tensors)
    for name, expected in tensors.items():
        assert opened.tensors[name].shape == expected.shape
        assert opened.tensors[name].nbytes == expected.nbytes
        np.testing.assert_array_equal(opened.read(name), expected.astype(np.float32))
        raw = opened.stored[name].read_raw(())  # type: ignore[attr-defined]
        assert raw.dtype == expected.dtype
        np.testing.assert_array_equal(raw, expected)


@pytest.mark.parametrize(
    ("kind", "written", "dtype"),
    [
        ("BF16", "bfloat16", ml_dtypes.bfloat16),
        ("F8_E4M3", "float8_e4m3fn", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", "float8_e5m2", ml_dtypes.float8_e5m2),
        ("F8_E8M0", "float8_e8m0fnu", ml_dtypes.float8_e8m0fnu),
    ],
)
def test_small_floats_that_the_package_writes(tmp_path: Path, kind: str, written: str, dtype: Any) -> None:
    values = np.linspace(0.5, 30, 24, dtype=np.float32).reshape(6, 4).astype(dtype)
    path = tmp_path / "model.safetensors"
    spec = TensorSpec(dtype=written, shape=values.shape, data_ptr=values.ctypes.data, data_len=values.nbytes)
    serialize_file({"w": spec}, str(path), None)
    opened = checkpoint.open(str(path))
    assert opened.tensors["w"].dtype == kind
    np.testing.assert_array_equal(opened.read("w"), values.astype(np.float32))
    np.testing.assert_array_equal(opened.read("w", slice(2, 4)), values[2:4].astype(np.float32))
    assert opened.stored["w"].read_raw((1,)).dtype == dtype  # type: ignore[attr-defined]


def test_f4_as_the_package_writes_it_counts_values_not_bytes(tmp_path: Path) -> None:
    packed = np.arange(16, dtype=np.uint8)
    spec = TensorSpec(dtype="float4_e2m1fn_x2", shape=(4, 4), data_ptr=packed.ctypes.data, data_len=16)
    raw = bytes(serialize({"w": spec}, None))
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["w"]["dtype"] == "F4"
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    opened = checkpoint.open(str(path))
    shape = tuple(header["w"]["shape"])
    codes = np.stack([packed & 15, packed >> 4], axis=1).reshape(shape)
    expected = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    np.testing.assert_array_equal(opened.read("w"), expected)
    # A row window that begins in the middle of a byte cannot arise, one that begins in the middle of a row can.
    np.testing.assert_array_equal(opened.read("w", 1, slice(1, 4)), expected[1, 1:4])


def test_f6_rows(tmp_path: Path) -> None:
    data = bytes(range(12))
    path = craft(tmp_path / "model.safetensors", {"w": entry("F6_E2M3", [2, 8], 0, 12)}, data)
    opened = checkpoint.open(str(path))
    np.testing.assert_array_equal(opened.read("w", 1), opened.read("w")[1])
    assert opened.read("w").shape == (2, 8)


def test_rows_cost_their_bytes_and_no_more(tmp_path: Path) -> None:
    opened = checkpoint.open(str(model(tmp_path / "m", {"w": np.ones((100, 32), np.float16)})))
    before = opened.bytes_read
    opened.read("w", slice(10, 20))
    assert opened.bytes_read - before == 10 * 32 * 2
    opened.read("w", 5)
    assert opened.bytes_read - before == 11 * 32 * 2


def test_far_apart_rows_are_read_apart(tmp_path: Path) -> None:
    wide = np.arange(40 * 5000, dtype=np.float32).reshape(40, 5000)
    opened = checkpoint.open(str(model(tmp_path / "m", {"w": wide})))
    before = opened.bytes_read
    np.testing.assert_array_equal(opened.read("w", slice(3, None, 10)), wide[3::10])
    assert opened.bytes_read - before == 4 * 5000 * 4
    np.testing.assert_array_equal(opened.read("w", slice(None, None, -7), slice(0, 3)), wide[::-7, :3])


def test_a_tensor_larger_than_a_chunk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((700, 1001), dtype=np.float32).astype(ml_dtypes.bfloat16)
    opened = checkpoint.open(str(model(tmp_path / "m", {"w": values})))
    np.testing.assert_array_equal(opened.read("w"), values.astype(np.float32))
    np.testing.assert_array_equal(opened.read("w", slice(1, 699)), values[1:699].astype(np.float32))


@pytest.mark.parametrize("columns", [slice(0, 1), slice(300, 812), slice(None, None, 7), slice(900, 100, -3)])
def test_columns_of_a_large_tensor_are_cut_out_as_it_goes_by(tmp_path: Path, columns: slice) -> None:
    values = np.random.default_rng(0).standard_normal((700, 1001), dtype=np.float32)
    opened = checkpoint.open(str(model(tmp_path / "m", {"w": values.astype(np.float16)})))
    before = opened.bytes_read
    whole = values.astype(np.float16).astype(np.float32)
    read = opened.read("w", slice(None), columns)
    np.testing.assert_array_equal(read, whole[:, columns])
    held = read if read.base is None else read.base
    assert held.size == read.size  # a view would keep all of the columns
    # One column is read by itself: rows are two kilobytes apart.
    assert opened.bytes_read - before == (read.size if columns == slice(0, 1) else values.size) * 2
    np.testing.assert_array_equal(opened.read("w", slice(690, 20, -1), columns), whole[690:20:-1, columns])
    np.testing.assert_array_equal(opened.read("w", slice(3, 650), columns), whole[3:650, columns])


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    refused(path, "0 bytes", message="empty")


def test_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 100\n")
    for named in (path, tmp_path):
        with pytest.raises(CorruptCheckpointError) as caught:
            checkpoint.open(str(named))
        check(
            caught.value,
            CorruptCheckpointError,
            file="model.safetensors",
            reason="git-lfs",
            message="this is a git-lfs pointer",
        )
        assert "git lfs pull" in str(caught.value.next_step)


def test_a_file_cut_off_in_its_length(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\1\0\0")
    refused(path, "not even the header's length")


def test_a_header_over_100_megabytes_is_not_believed(tmp_path: Path) -> None:
    path = craft(tmp_path / "model.safetensors", b"{}", length=100_000_001)
    refused(path, "100000001 bytes", message="header over 100 MB")
    refused(craft(path, b"{}", length=2**63), str(2**63), message="header over 100 MB")


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    refused(craft(tmp_path / "model.safetensors", b"{}", length=1000), "truncated")


def test_a_truncated_file(tmp_path: Path) -> None:
    path = model(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    last = list(checkpoint.open(str(model(tmp_path / "whole"))).tensors)[-1]
    refused(path, "truncated", tensor=last, message="out of range")


def test_overlapping_offsets(tmp_path: Path) -> None:
    header = {"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 12, 28)}
    refused(craft(tmp_path / "model.safetensors", header, bytes(28)), "overlap", "b", "overlapping")


def test_a_gap_between_tensors(tmp_path: Path) -> None:
    header = {"a": entry("F32", [4], 0, 16), "b": entry("F32", [4], 20, 36)}
    refused(craft(tmp_path / "model.safetensors", header, bytes(36)), "4 bytes before it", "b", "gap")


def test_bytes_after_the_last_tensor(tmp_path: Path) -> None:
    header = {"a": entry("F32", [4], 0, 16)}
    refused(craft(tmp_path / "model.safetensors", header, bytes(20)), "belong to no tensor")


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (entry("F32", [5], 0, 16), "needs 20 bytes; its range holds 16"),
        (entry("F4", [5], 0, 3), "no whole number of bytes"),
        (entry("F32", [4], 16, 0), "not a range"),
        (entry("F32", [4], -4, 12), "not a range"),
        (entry("F32", [-4], 0, 16), "shape is not believable"),
        (entry("F32", [2**40, 2**40, 0], 0, 0), "shape is not believable"),
        (entry("F32", [1] * 40, 0, 4), "shape is not believable"),
        ({"dtype": "F32", "shape": [4]}, "not a range"),
        ({"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}, "shape is not believable"),
        ({"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}, "shape is not believable"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [0, 16, 16]}, "not a range"),
    ],
)
def test_an_entry_that_contradicts_itself(tmp_path: Path, claim: Any, reason: str) -> None:
    refused(craft(tmp_path / "model.safetensors", {"w": claim}, bytes(16)), reason, "w")


@pytest.mark.parametrize("claim", [[], None, 3, {}])
def test_an_entry_that_is_none(tmp_path: Path, claim: Any) -> None:
    path = craft(tmp_path / "model.safetensors", {"w": claim}, bytes(16))
    refused(path, "not readable", "'w'")


def test_an_unknown_dtype_is_named(tmp_path: Path) -> None:
    path = craft(tmp_path / "model.safetensors", {"w": entry("Q3_X", [4], 0, 16)}, bytes(16))
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(path))
    check(
        caught.value, UnsupportedFormatError, file=path.name, tensor="w", reason="Known are", message="'Q3_X'"
    )


def test_duplicate_names(tmp_path: Path) -> None:
    one = json.dumps(entry("F32", [4], 0, 16))
    path = craft(tmp_path / "model.safetensors", f'{{"w": {one}, "w": {one}}}'.encode(), bytes(16))
    refused(path, "'w' twice", message="header", tensor="w")


def test_a_field_that_stands_there_twice_is_no_tensor(tmp_path: Path) -> None:
    header = b'{"w": {"dtype": "F32", "dtype": "F16", "shape": [4], "data_offsets": [0, 16]}}'
    refused(craft(tmp_path / "model.safetensors", header, bytes(16)), "'dtype' twice", message="header")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"[]", "does not begin with '{'"),
        (b"{", "not valid JSON"),
        (b'{"\xff": 1}', "not UTF-8"),
        (b'{"a":' * 50_000, "nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not valid JSON"),
        (b'{"__metadata__": {"a": 1}}', "__metadata__"),
        (b'{"__metadata__": [1]}', "__metadata__"),
    ],
)
def test_a_header_that_is_none(tmp_path: Path, header: bytes, reason: str) -> None:
    refused(craft(tmp_path / "model.safetensors", header), reason)


@pytest.mark.parametrize("name", ["\\ud800", "\\u0000", "a\\nb", "\\u202e"])
def test_names_that_could_fool_a_terminal_are_refused(tmp_path: Path, name: str) -> None:
    header = f'{{"{name}": {json.dumps(entry("F32", [4], 0, 16))}}}'.encode()
    path = craft(tmp_path / "model.safetensors", header, bytes(16))
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(path))
    assert str(caught.value).isascii()
    assert caught.value.file == path.name
    assert caught.value.next_step


def test_a_file_of_another_kind_under_this_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"<html>404 Not Found</html>" * 10)
    refused(path, "It begins with b'<html>404", message="not safetensors")
    path.write_bytes(b"\xff\xd8\xff\xe0 JFIF \0\1" * 10)
    refused(path, "at most 100000000", message="header over 100 MB")
