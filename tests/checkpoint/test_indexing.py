"""Indices against numpy, and the bytes they cost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.checkpoint.indexing import plan, row_blocks

shapes = st.lists(st.integers(0, 6), min_size=0, max_size=4).map(tuple)


@st.composite
def indexed(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int | slice, ...]]:
    shape = draw(shapes)
    depth = draw(st.integers(0, len(shape)))
    index: list[int | slice] = []
    for length in shape[:depth]:
        if length and draw(st.booleans()):
            index.append(draw(st.integers(-length, length - 1)))
        else:
            index.append(draw(st.slices(length)))
    return shape, tuple(index)


@given(indexed())
def test_a_plan_gives_what_numpy_gives(case: tuple[tuple[int, ...], tuple[int | slice, ...]]) -> None:
    shape, index = case
    whole = np.arange(math.prod(shape)).reshape(shape)
    wanted = plan(shape, index)
    run = whole.reshape(-1)[wanted.start : wanted.stop].reshape(wanted.shape)
    np.testing.assert_array_equal(run[wanted.rest], whole[index])


@given(indexed())
def test_a_plan_never_reaches_outside(case: tuple[tuple[int, ...], tuple[int | slice, ...]]) -> None:
    shape, index = case
    wanted = plan(shape, index)
    assert 0 <= wanted.start <= wanted.stop <= max(0, math.prod(shape))
    assert wanted.stop - wanted.start == math.prod(wanted.shape)


def test_leading_indices_narrow_the_run() -> None:
    assert (plan((10, 4, 3), (2, slice(1, 3))).start, plan((10, 4, 3), (2, slice(1, 3))).stop) == (27, 33)
    assert plan((10, 4), (slice(8, None),)).start == 32


@pytest.mark.parametrize("index", [(10,), (-11,), (0, 0, 0)])
def test_an_index_that_does_not_fit_is_refused(index: tuple[int, ...]) -> None:
    with pytest.raises(IndexError):
        plan((10, 4), index)


def test_numpy_integers_are_integers() -> None:
    assert plan((10, 4), (np.int64(3),)).start == 12  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 7), min_size=0, max_size=4).map(tuple), st.integers(1, 50))
def test_row_blocks_cover_every_value_once(shape: tuple[int, ...], values: int) -> None:
    seen: Any = np.zeros(shape, int)
    for index in row_blocks(shape, values):
        assert np.zeros(shape)[index].size <= max(values, 1) or shape == ()
        seen[index] += 1
    assert (seen == 1).all()


def test_a_tensor_without_values_is_one_block() -> None:
    assert row_blocks((0, 5), 3) == [()]
