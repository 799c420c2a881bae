from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.checkpoint.model import Floats, TensorInfo
from filiation.checkpoint.packing.window import LazyTensor, Range, resolve


@dataclass(frozen=True)
class Whole(LazyTensor):
    """Holds its values and cuts windows out of them."""

    values: npt.NDArray[np.float32]

    def needs(self, ranges: tuple[Range, ...]) -> list[object]:  # type: ignore[override]
        return []

    def window(self, ranges: tuple[Range, ...]) -> Floats:
        assert all(
            0 <= start < stop <= size for (start, stop), size in zip(ranges, self.info.shape, strict=True)
        )
        return self.values[tuple(slice(*span) for span in ranges)]


def whole(*shape: int) -> Whole:
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Whole(TensorInfo("w", shape, "F32", values.nbytes, "f"), values)


bounds = st.none() | st.integers(-12, 12)
steps = st.none() | st.integers(-4, 4).filter(bool)
parts = st.builds(slice, bounds, bounds, steps)


@given(st.lists(parts | st.integers(-3, 2), max_size=3))
def test_an_index_means_what_it_means_to_numpy(index: list[int | slice]) -> None:
    tensor = whole(3, 5, 7)
    expected = tensor.values[tuple(index)]
    read = tensor.read(tuple(index))
    assert read.dtype == np.float32
    assert read.shape == expected.shape
    assert np.array_equal(read, expected)


@given(st.integers(-30, 30).filter(lambda i: not -3 <= i < 3))
def test_a_position_outside_is_refused_as_numpy_refuses_it(position: int) -> None:
    with pytest.raises(IndexError):
        whole(3, 5).read((position,))


def test_too_many_indices_are_refused() -> None:
    with pytest.raises(IndexError):
        whole(3, 5).read((0, 0, 0))


def test_only_the_covered_range_is_decoded() -> None:
    ranges, rest = resolve((slice(8, 2, -3), 4), (10, 6))
    assert ranges == ((5, 9), (4, 5))
    assert rest == (slice(None, None, -3), 0)


def test_an_empty_read_decodes_nothing_and_needs_no_bytes() -> None:
    tensor = whole(3, 5)
    assert tensor.read((slice(2, 2),)).shape == (0, 5)
    assert tensor.spans((slice(2, 2),)) == ()
