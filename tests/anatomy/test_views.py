"""Reading through a view equals slicing the whole canonical matrix, whatever the layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy import Anatomy, Axis, Geometry, Part, View
from filiation.anatomy.parts import pair_order, split_rows
from filiation.anatomy.tables import Layout
from tests.support import MemoryTensor, memory_checkpoint


@st.composite
def parts(draw: st.DrawFn) -> tuple[np.ndarray, Part, np.ndarray]:
    """A stored tensor, a part of it, and the canonical matrix worked out by plain numpy."""
    experts = draw(st.none() | st.integers(1, 3))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    ndim = draw(st.sampled_from([1, 2, 2, 2]))
    transpose = ndim == 2 and draw(st.booleans())
    inner = (rows,) if ndim == 1 else (columns, rows) if transpose else (rows, columns)
    shape = inner if experts is None else (experts, *inner)
    stored = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    expert = None if experts is None else draw(st.integers(0, experts - 1))
    chosen = draw(st.none() | st.lists(st.integers(0, rows - 1), min_size=1, max_size=12))
    offset = draw(st.sampled_from([0.0, 1.0]))
    whole = stored if expert is None else stored[expert]
    whole = whole.T if transpose else whole
    index = None if chosen is None else np.array(chosen, dtype=np.int64)
    whole = whole if index is None else whole[index]
    whole = whole + np.float32(offset)
    view = View(expert, transpose, index, offset)
    part = Part("language", "q", 0, expert, "w", whole.shape, (Axis.OTHER,) * whole.ndim, view)
    return stored, part, whole


def anatomy_of(stored: np.ndarray, part: Part) -> Anatomy:
    checkpoint = memory_checkpoint({"w": stored})
    return Anatomy(checkpoint, None, {"language": Geometry(1, 1)}, (part,), (), {})


@given(parts(), st.data())
def test_a_slice_is_a_slice_of_the_whole(
    item: tuple[np.ndarray, Part, np.ndarray], data: st.DataObject
) -> None:
    stored, part, whole = item
    anatomy = anatomy_of(stored, part)
    np.testing.assert_array_equal(anatomy.read(part), whole)
    axis = data.draw(st.integers(0, whole.ndim - 1))
    bound = st.none() | st.integers(-12, 12)
    start, stop = data.draw(bound), data.draw(bound)
    window = slice(start, stop)
    expected = whole[window] if axis == 0 else whole[:, window]
    np.testing.assert_array_equal(anatomy.read(part, start, stop, axis), expected)


def test_a_row_slice_reads_only_those_rows() -> None:
    stored = np.zeros((100, 8), np.float32)
    part = Part("language", "q", 0, None, "w", (100, 8), (Axis.QUERY, Axis.RESIDUAL))
    anatomy = anatomy_of(stored, part)
    anatomy.read(part, 10, 20)
    assert anatomy.checkpoint.bytes_read == 10 * 8 * 4


def test_a_column_slice_of_a_transposed_matrix_reads_only_those_columns() -> None:
    stored = np.zeros((8, 100), np.float32)
    view = View(transpose=True)
    part = Part("language", "up", 0, None, "w", (100, 8), (Axis.FFN, Axis.RESIDUAL), view)
    anatomy = anatomy_of(stored, part)
    assert anatomy.read(part, 2, 4, axis=1).shape == (100, 2)
    assert anatomy.checkpoint.bytes_read == 2 * 100 * 4


def test_scattered_rows_are_read_run_by_run() -> None:
    stored = np.arange(4000, dtype=np.float32).reshape(1000, 4)
    rows = np.array([990, 3, 4, 500], dtype=np.int64)
    part = Part("language", "q", 0, None, "w", (4, 4), (Axis.QUERY, Axis.RESIDUAL), View(rows=rows))
    anatomy = anatomy_of(stored, part)
    np.testing.assert_array_equal(anatomy.read(part), stored[rows])
    assert anatomy.checkpoint.bytes_read == 4 * 4 * 4


def test_a_scalar_part_reads() -> None:
    part = Part("language", "logit_scale", None, None, "w", (), ())
    assert anatomy_of(np.array(3.0, np.float32), part).read(part) == 3.0


@given(st.integers(1, 5), st.integers(1, 6))
def test_pair_order_undoes_the_interleaving(heads: int, half: int) -> None:
    """Interleave two halves of every head as llama.cpp's converter does, then undo it."""
    d_head = 2 * half
    original = np.arange(heads * d_head)
    interleaved = original.reshape(heads, 2, half).swapaxes(1, 2).reshape(-1)
    np.testing.assert_array_equal(interleaved[pair_order(heads * d_head, d_head)], original)


@pytest.mark.parametrize("layout", [Layout.CONTIGUOUS, Layout.GROUPED])
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 5))
def test_split_rows_are_a_partition(layout: Layout, groups: int, share: int, d_head: int) -> None:
    split = dict(split_rows(("q", "k", "v"), layout, groups * share, groups, d_head))
    every = np.concatenate(list(split.values()))
    assert sorted(every.tolist()) == list(range((groups * share + 2 * groups) * d_head))
    assert len(split["q"]) == groups * share * d_head
    assert len(split["k"]) == len(split["v"]) == groups * d_head
    if layout is Layout.CONTIGUOUS:
        assert every.tolist() == sorted(every.tolist())


def test_codegen_blocks_hold_q_then_v_then_k() -> None:
    """Four blocks of (q, v, k) share 8 heads of 3: two heads a block."""
    split = dict(split_rows(("q", "v", "k"), Layout.BLOCKED, 8, 8, 3))
    assert split["q"].tolist() == [*range(6), *range(18, 24), *range(36, 42), *range(54, 60)]
    assert split["v"].tolist()[:6] == [*range(6, 12)]
    assert split["k"].tolist()[:6] == [*range(12, 18)]


def test_memory_tensor_counts_what_it_reads() -> None:
    checkpoint = memory_checkpoint({"w": np.zeros((10, 10), np.float32)})
    assert isinstance(checkpoint.stored["w"], MemoryTensor)
    checkpoint.read("w", slice(0, 1))
    assert checkpoint.bytes_read == 40
