"""GGUF: what gguf's writer writes is read back as its own decoders decode it; what lies is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from filiation import checkpoint
from filiation.errors import CorruptCheckpointError, NotFoundError, UnsupportedFormatError, UsageError
from tests.checkpoint.makers import check, raw_gguf, write_gguf

KINDS = gguf.GGMLQuantizationType
# Kinds that have a size but, in gguf, no decoder: intermediate ones, and ones newer than the package.
UNREADABLE = {KINDS.Q8_1, KINDS.Q8_K, KINDS.Q1_0} & set(gguf.GGML_QUANT_SIZES)
PLAIN = {KINDS.I8, KINDS.I16, KINDS.I32, KINDS.I64, KINDS.F64}
QUANTISED = sorted(set(gguf.GGML_QUANT_SIZES) - UNREADABLE - PLAIN)


def _refused(path: Path, reason: str, tensor: str | None = None) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(path))
    check(caught.value, CorruptCheckpointError, file=path.name, reason=reason, tensor=tensor, message="GGUF")


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda k: k.name)
def test_every_kind_that_gguf_decodes(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = 9, max(2 * block, 64)
    rng = np.random.default_rng(int(kind))
    raw = rng.integers(0, 255, (rows, columns // block * size), dtype=np.uint8)
    path = write_gguf(tmp_path / "m.gguf", {"w": raw}, {"w": kind})
    opened = checkpoint.open(str(path))
    assert opened.tensors["w"].shape == (rows, columns)
    assert opened.tensors["w"].dtype == kind.name
    assert opened.tensors["w"].nbytes == raw.nbytes
    with np.errstate(all="ignore"):
        expected = dequantize(raw, kind).reshape(rows, columns)
    stored = opened.stored["w"]
    np.testing.assert_array_equal(stored.read(()), expected)
    before = opened.bytes_read
    np.testing.assert_array_equal(stored.read((slice(3, 5),)), expected[3:5])
    assert opened.bytes_read - before == 2 * raw.shape[1]
    np.testing.assert_array_equal(stored.read((-1, slice(5, 40))), expected[-1, 5:40])


@pytest.mark.parametrize("kind", sorted(PLAIN), ids=lambda k: k.name)
def test_plain_numbers(tmp_path: Path, kind: gguf.GGMLQuantizationType) -> None:
    dtype = np.dtype("f8" if kind is KINDS.F64 else f"i{gguf.GGML_QUANT_SIZES[kind][1]}")
    values = np.arange(-6, 6).astype(dtype).reshape(3, 4)
    opened = checkpoint.open(str(write_gguf(tmp_path / "m.gguf", {"w": values})))
    assert opened.tensors["w"].dtype == kind.name
    np.testing.assert_array_equal(opened.read("w"), values.astype(np.float32))


@pytest.mark.parametrize("kind", sorted(UNREADABLE), ids=lambda k: k.name)
def test_a_kind_without_a_decoder_is_listed_but_not_read(
    tmp_path: Path, kind: gguf.GGMLQuantizationType
) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    path = raw_gguf(tmp_path / "m.gguf", [("w", [block], int(kind), 0)], bytes(size))
    opened = checkpoint.open(str(path))
    with pytest.raises(UnsupportedFormatError) as caught:
        opened.read("w")
    check(caught.value, UnsupportedFormatError, file="m.gguf", tensor="w", reason=kind.name)


def test_quantised_values_come_back_as_close_as_the_kind_allows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    raw = quantize(values, KINDS.Q8_0)
    opened = checkpoint.open(str(write_gguf(tmp_path / "m.gguf", {"w": raw}, {"w": KINDS.Q8_0})))
    assert np.abs(opened.read("w") - values).max() < np.abs(values).max() / 127


def test_dimensions_are_turned_round(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    opened = checkpoint.open(str(write_gguf(tmp_path / "m.gguf", {"w": values})))
    assert opened.tensors["w"].shape == (2, 3, 4)
    np.testing.assert_array_equal(opened.read("w", 1, slice(1, 3)), values[1, 1:3])


def test_metadata_is_kept_whole(tmp_path: Path) -> None:
    tokens = [f"▁tok{i}" for i in range(5000)]
    values = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [float(i) for i in range(5000)],
        "llama.block_count": 7,
        "llama.rope.freq_base": 10000.0,
        "flag": True,
        "general.name": "Über",
    }
    path = write_gguf(tmp_path / "m.gguf", {"w": np.ones(4, np.float32)}, values=values)
    opened = checkpoint.open(str(path))
    assert opened.metadata["tokenizer.ggml.tokens"] == tuple(tokens)
    np.testing.assert_array_equal(opened.metadata["tokenizer.ggml.scores"], np.arange(5000, dtype=np.float32))
    assert opened.metadata["llama.block_count"] == 7
    assert opened.metadata["llama.rope.freq_base"] == 10000.0
    assert opened.metadata["flag"] is True
    assert opened.metadata["general.name"] == "Über"
    assert opened.metadata["general.architecture"] == "llama"
    assert opened.config is None
    assert "settings are taken from the GGUF metadata, not from a config.json" in opened.notes


def test_tokens_that_are_not_utf8_stay_bytes(tmp_path: Path) -> None:
    items = [b"ok", b"\xff\xfe"]
    value = struct.pack("<IIQ", 9, 8, 2) + b"".join(struct.pack("<Q", len(i)) + i for i in items)
    key = struct.pack("<Q", 1) + b"t"
    path = raw_gguf(tmp_path / "m.gguf", [("w", [1], 0, 0)], bytes(4), values=key + value, n_values=1)
    assert checkpoint.open(str(path)).metadata["t"] == ("ok", b"\xff\xfe")


def test_arrays_of_arrays(tmp_path: Path) -> None:
    inner = struct.pack("<IQ2i", 5, 2, 3, -4)
    value = struct.pack("<IIQ", 9, 9, 2) + inner + inner
    path = raw_gguf(
        tmp_path / "m.gguf",
        [("w", [1], 0, 0)],
        bytes(4),
        values=struct.pack("<Q", 1) + b"t" + value,
        n_values=1,
    )
    found = checkpoint.open(str(path)).metadata["t"]
    assert [a.tolist() for a in found] == [[3, -4], [3, -4]]


def test_only_the_header_is_read_at_open(tmp_path: Path) -> None:
    values = np.zeros((4096, 1024), np.float32)
    opened = checkpoint.open(str(write_gguf(tmp_path / "m.gguf", {"w": values})))
    hashed = sum(f.size for f in opened.files)
    assert opened.bytes_read - hashed <= (1 << 16) + 64


@given(
    st.dictionaries(
        st.text("abc.0_", min_size=1, max_size=8),
        st.lists(st.integers(1, 5), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**31),
)
def test_round_trip(
    tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tensors: dict[str, Any] = {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    opened = checkpoint.open(str(write_gguf(tmp_path_factory.mktemp("g") / "m.gguf", tensors)))
    assert set(opened.tensors) == set(tensors)
    for name, expected in tensors.items():
        np.testing.assert_array_equal(opened.read(name), expected)


def _split(folder: Path, parts: int, *, say: int | None = None) -> list[Path]:
    paths = [folder / f"m-{i + 1:05d}-of-{parts:05d}.gguf" for i in range(parts)]
    for i, path in enumerate(paths):
        values = {"split.no": i, "split.count": parts if say is None else say, "general.name": f"part {i}"}
        write_gguf(path, {f"w{i}": np.full(4, i, np.float32)}, values=values)
    return paths


def test_a_split_model_is_one(tmp_path: Path) -> None:
    paths = _split(tmp_path, 3)
    for named in (tmp_path, paths[1]):
        opened = checkpoint.open(str(named))
        assert list(opened.tensors) == ["w0", "w1", "w2"]
        assert opened.metadata["general.name"] == "part 0"
        assert opened.read("w2").tolist() == [2, 2, 2, 2]


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    paths = _split(tmp_path, 3)
    paths[1].unlink()
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, NotFoundError, file=paths[1].name, reason="2 of 3 shards")


def test_a_part_under_another_name_is_noticed(tmp_path: Path) -> None:
    paths = _split(tmp_path, 2)
    lone = paths[0].rename(tmp_path / "model.gguf")
    paths[1].unlink()
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(lone))
    check(caught.value, NotFoundError, file="model.gguf", reason="one of 2 parts; 1 were found")


def test_a_part_in_the_wrong_place_is_noticed(tmp_path: Path) -> None:
    paths = _split(tmp_path, 2)
    paths[0].rename(tmp_path / "x")
    paths[1].rename(paths[0])
    (tmp_path / "x").rename(paths[1])
    _refused_any(tmp_path, "It says it is part 1", paths[0].name)


def _refused_any(folder: Path, reason: str, file: str) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(folder))
    check(caught.value, CorruptCheckpointError, file=file, reason=reason)


def test_several_quantisations_in_one_folder_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("m-Q4_0.gguf", "m-Q8_0.gguf"):
        write_gguf(tmp_path / name, {"w": np.ones(4, np.float32)})
    with pytest.raises(UsageError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, UsageError, file="m-Q4_0.gguf", reason="m-Q4_0.gguf, m-Q8_0.gguf", exit_code=2)
    assert "Name the file" in str(caught.value.next_step)
    assert checkpoint.open(str(tmp_path / "m-Q8_0.gguf")).name == "m-Q8_0"


def test_a_projector_beside_the_model_does_not_stand_in_the_way(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", {"w": np.ones(4, np.float32)})
    write_gguf(tmp_path / "mmproj-m.gguf", {"v": np.ones(4, np.float32)})
    opened = checkpoint.open(str(tmp_path))
    assert list(opened.tensors) == ["w"]
    assert any("mmproj" in note for note in opened.notes)
    assert list(checkpoint.open(str(tmp_path / "mmproj-m.gguf")).tensors) == ["v"]


def test_a_truncated_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", {"a": np.ones(64, np.float32), "b": np.ones(64, np.float32)})
    path.write_bytes(path.read_bytes()[:-4])
    _refused(path, "truncated", "b")


def test_a_file_cut_off_in_its_header(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", {"a": np.ones(64, np.float32)}, values={"x": "y" * 500})
    whole = path.read_bytes()
    for size in (5, 20, 30, 200, 620):
        path.write_bytes(whole[:size])
        _refused(path, "the file ends at")


def test_overlapping_tensors(tmp_path: Path) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [16], 0, 0), ("b", [16], 0, 32)], bytes(96))
    _refused(path, "overlap", "b")


def test_a_gap_between_tensors(tmp_path: Path) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 0), ("b", [8], 0, 96)], bytes(128))
    _refused(path, "gap", "b")


def test_an_offset_out_of_range(tmp_path: Path) -> None:
    _refused(
        raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 0), ("b", [800], 0, 32)], bytes(64)), "truncated", "b"
    )


def test_an_offset_that_is_not_aligned(tmp_path: Path) -> None:
    _refused(raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 8)], bytes(64)), "not a multiple of 32", "a")


def test_a_name_that_stands_there_twice(tmp_path: Path) -> None:
    _refused(raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 0), ("a", [8], 0, 32)], bytes(64)), "twice", "a")


def test_rows_that_do_not_fill_blocks(tmp_path: Path) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [16, 2], int(KINDS.Q4_0), 0)], bytes(64))
    _refused(path, "do not fill blocks of 32", "a")


def test_an_unknown_kind(tmp_path: Path) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [32], 99, 0)], bytes(64))
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(path))
    check(caught.value, UnsupportedFormatError, file="m.gguf", tensor="a", reason="kind 99")


@pytest.mark.parametrize(("version", "reason"), [(1, "version 1"), (4, "version 4"), (3 << 24, "big-endian")])
def test_other_versions_are_named(tmp_path: Path, version: int, reason: str) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 0)], bytes(32), version=version)
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(path))
    check(caught.value, UnsupportedFormatError, file="m.gguf", reason=reason)


def _key(name: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", kind) + value


@pytest.mark.parametrize(
    ("values", "count", "reason"),
    [
        (b"", 2**60, "twice"),
        (_key("a", 8, struct.pack("<Q", 2**62)), 1, "the file ends at"),
        (_key("a", 9, struct.pack("<IQ", 4, 2**61)), 1, "the file ends at"),
        (_key("a", 9, struct.pack("<IQ", 8, 2**61)), 1, "the file ends at"),
        (_key("a", 9, struct.pack("<IQ", 9, 2**61)), 1, "the file ends at"),
        (_key("a", 9, struct.pack("<IQ", 9, 1) * 6), 1, "nested more than"),
        (struct.pack("<Q", 70_000) + bytes(70_000), 1, "A key claims 70000 bytes"),
        (_key("a", 77, b""), 1, "type 77"),
        (_key("a", 4, bytes(4)) * 2, 2, "'a' stands there twice"),
        (_key("a\n", 4, bytes(4)), 1, "unprintable"),
        (_key("general.alignment", 4, struct.pack("<I", 12)), 1, "power of two"),
        (_key("general.alignment", 8, struct.pack("<Q", 1) + b"x"), 1, "power of two"),
    ],
)
def test_lying_values(tmp_path: Path, values: bytes, count: int, reason: str) -> None:
    path = raw_gguf(tmp_path / "m.gguf", [("a", [8], 0, 0)], bytes(32), values=values, n_values=count)
    _refused(path, reason)


@pytest.mark.parametrize(
    ("dims", "reason"),
    [([1] * 9, "9 dimensions"), ([2**40, 2**40], "not believable"), ([0, 2**62], "not believable")],
)
def test_lying_shapes(tmp_path: Path, dims: list[int], reason: str) -> None:
    _refused(raw_gguf(tmp_path / "m.gguf", [("a", dims, 0, 0)], bytes(32)), reason, "a")


def test_more_tensors_than_the_file_could_list(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    _refused(raw_gguf(path, [("a", [8], 0, 0)], b"", n_tensors=2**62), "at most 1000000 are believed")
    _refused(raw_gguf(path, [("a", [8], 0, 0)], b"", n_tensors=1000), "the file ends at")


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGML" + bytes(100))
    _refused(path, "does not begin with 'GGUF'")


def test_an_empty_file_and_a_git_lfs_pointer(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for content, message in (
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
    ):
        path.write_bytes(content)
        with pytest.raises(CorruptCheckpointError) as caught:
            checkpoint.open(str(path))
        check(caught.value, CorruptCheckpointError, file="m.gguf", reason="", message=message)


def test_a_vocabulary_without_weights(tmp_path: Path) -> None:
    path = raw_gguf(tmp_path / "ggml-vocab.gguf", [], b"")
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(path))
    check(caught.value, UnsupportedFormatError, file="ggml-vocab.gguf", reason="vocabulary-only")
