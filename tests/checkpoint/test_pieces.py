"""Columns of a wide matrix in a local file: of each row no more is read than the blocks that hold them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from filiation import checkpoint
from tests.checkpoint.makers import write_gguf

ROWS, WIDTH = 300, 2048


def _matrix(dtype: type[np.floating]) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(dtype)


@pytest.fixture(scope="module", params=[np.float16, np.float32])
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray]:
    values = _matrix(request.param)
    place = tmp_path_factory.mktemp("wide") / "model.safetensors"
    save_file({"before": np.ones(3, np.float16), "wide": values}, place)
    return place, values


@settings(max_examples=20, deadline=None)
@given(
    start=st.integers(0, WIDTH - 1),
    count=st.integers(1, 40),
    first=st.integers(0, 20),
    last=st.integers(290, ROWS),
)
def test_pieces_of_rows_are_the_columns(
    stored: tuple[Path, np.ndarray], start: int, count: int, first: int, last: int
) -> None:
    place, values = stored
    opened = checkpoint.open(str(place))
    before = opened.bytes_read
    found = opened.read("wide", slice(first, last), slice(start, start + count))
    expected = values[first:last, start : start + count]
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert opened.bytes_read - before == expected.size * values.itemsize


def test_narrow_matrices_are_read_at_once(tmp_path: Path) -> None:
    values = _matrix(np.float16).reshape(-1, 256)
    save_file({"narrow": values}, tmp_path / "model.safetensors")
    opened = checkpoint.open(str(tmp_path))
    before = opened.bytes_read
    np.testing.assert_array_equal(
        opened.read("narrow", slice(None), slice(3, 9)), values[:, 3:9].astype(np.float32)
    )
    assert opened.bytes_read - before == values.nbytes


@pytest.mark.parametrize(("start", "stop"), [(0, 8), (30, 40), (2040, 2048)])
def test_blocks_are_read_whole(start: int, stop: int, tmp_path: Path) -> None:
    from gguf import GGMLQuantizationType as Kind
    from gguf import dequantize, quantize

    raw = quantize(_matrix(np.float32), Kind.Q8_0)
    write_gguf(tmp_path / "model.gguf", {"wide": raw}, {"wide": Kind.Q8_0})
    opened = checkpoint.open(str(tmp_path / "model.gguf"))
    before = opened.bytes_read
    found = opened.read("wide", slice(None), slice(start, stop))
    np.testing.assert_allclose(found, dequantize(raw, Kind.Q8_0)[:, start:stop], rtol=1e-6)
    blocks = -(-stop // 32) - start // 32
    assert opened.bytes_read - before == ROWS * blocks * 34
