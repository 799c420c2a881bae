"""The walk over protobuf fields: what it leaves out, and that no damaged file gets past it as anything but damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.checkpoint.formats import onnx as format_onnx
from filiation.checkpoint.onnxfile import wire
from filiation.checkpoint.sources.local import LocalSource
from filiation.errors import CorruptCheckpointError, FiliationError
from filiation.evidence import FileRecord

onnx = pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
GOLDEN = Path(__file__).parent / "golden_onnx"
WHOLE = (GOLDEN / "dynamo.onnx").read_bytes()
SMALL = (GOLDEN / "dynamic_qint8.onnx").read_bytes()


class MemorySource:
    """One file in memory."""

    locator = name = "memory"
    revision = None
    chosen = "model.onnx"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes_read = 0

    def files(self) -> Sequence[FileRecord]:
        return [FileRecord("model.onnx", len(self.data), None)]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        end = len(self.data) if stop is None else stop
        assert 0 <= start <= end <= len(self.data)
        self.bytes_read += end - start
        return self.data[start:end]

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        return

    def local_path(self, name: str) -> Path | None:
        return None


def test_only_large_raw_data_are_left_out() -> None:
    outline = wire.skeleton(MemorySource(WHOLE), "model.onnx", len(WHOLE))
    thin, full = onnx.ModelProto.FromString(outline.model), onnx.ModelProto.FromString(WHOLE)
    assert len(outline.payloads) == len(full.graph.initializer)
    for payload, left, whole in zip(
        outline.payloads, thin.graph.initializer, full.graph.initializer, strict=True
    ):
        if payload is not None:
            assert WHOLE[payload[0] : payload[1]] == whole.raw_data
            assert len(whole.raw_data) > 1024
            left.raw_data = whole.raw_data
    assert thin == full


@given(st.integers(0, len(SMALL) - 1))
@settings(max_examples=300)
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(CorruptCheckpointError):
        format_onnx.load(MemorySource(SMALL[:length]))


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=400)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for place, byte in changes:
        data[place] = byte
    try:
        loaded = format_onnx.load(MemorySource(bytes(data)))
        for tensor in loaded.tensors.values():
            tensor.read((slice(0, 1),) if tensor.info.shape else ())
    except FiliationError:
        return


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=200)
def test_bytes_that_are_no_model_are_refused(data: bytes) -> None:
    with pytest.raises(FiliationError):
        format_onnx.load(MemorySource(data))


def test_a_file_larger_than_protobuf_allows_is_refused() -> None:
    with pytest.raises(CorruptCheckpointError, match="cannot be parsed"):
        wire.skeleton(MemorySource(b""), "model.onnx", (1 << 31) + 1)


def test_a_file_is_walked_without_its_weights(tmp_path: Path) -> None:
    values = onnx.numpy_helper.from_array(__import__("numpy").zeros((1024, 1024), "float32"), "w.weight")
    graph = onnx.helper.make_graph([], "g", [], [], [values])
    path = tmp_path / "m.onnx"
    onnx.save_model(onnx.helper.make_model(graph), path)
    source = LocalSource(path)
    wire.skeleton(source, "m.onnx", path.stat().st_size)
    assert source.bytes_read <= 2 * (1 << 17)
