"""Values far from one are squared and multiplied as exactly as others; those that need nothing are left as they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.origin.scale import LARGEST, energy, held, mean_square, over, tamed, wide

exponents = st.integers(-100, 100)


def ordinary(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((12, 24)).astype(np.float32)


@given(st.integers(-12, 12))
def test_ordinary_values_are_handed_back(exponent: int) -> None:
    values = np.ldexp(ordinary(), exponent)
    assert wide(values) is values
    assert all(
        a is b for a, b in zip(tamed(values, ordinary()), (values, ordinary()), strict=True) if a is values
    )


@pytest.mark.parametrize("values", [np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32)])
def test_nothing_is_handed_back(values: np.ndarray) -> None:
    assert wide(values) is values
    assert energy(values) == 0


@given(exponents, st.integers(0, 11))
def test_one_far_row_is_enough(exponent: int, row: int) -> None:
    values = ordinary()
    values[row] = np.ldexp(values[row], exponent)
    largest, least = np.abs(values).max(), np.abs(values).max(axis=1).min()
    assert (wide(values) is values) == (largest <= LARGEST and least >= 2.0**-30)


@given(exponents, st.integers(0, 2**32))
def test_whether_values_are_far_depends_on_no_order_and_no_sign(exponent: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = ordinary()
    values[:, 0] = 0.0
    values[3] = np.ldexp(values[3], exponent)
    turned = values[rng.permutation(12)][:, rng.permutation(24)] * rng.choice([-1, 1], (12, 1))
    assert wide(turned.astype(np.float32)).dtype == wide(values).dtype


@given(exponents)
def test_sums_of_squares_follow_the_scale(exponent: int) -> None:
    values = ordinary()
    scaled = np.ldexp(values, exponent)
    with np.errstate(over="raise", under="raise"):
        sums = energy(scaled), mean_square(scaled)
    assert np.log2(float(sums[0])) == pytest.approx(np.log2(float(energy(values))) + 2 * exponent, abs=1e-5)
    assert float(sums[1]) == pytest.approx(float(sums[0]) / values.size, rel=1e-6)


@given(exponents)
def test_tamed_values_keep_every_digit_and_their_proportion(exponent: int) -> None:
    first, second = ordinary(), ordinary(1) / 3
    a, b = tamed(np.ldexp(first, exponent), np.ldexp(second, exponent))
    assert a.dtype == b.dtype == np.float32
    power = np.frexp(a[0, 0])[1] - np.frexp(first[0, 0])[1]
    np.testing.assert_array_equal(a, np.ldexp(first, power))
    np.testing.assert_array_equal(b, np.ldexp(second, power))
    assert 2.0**-30 <= max(np.abs(a).max(), np.abs(b).max()) <= LARGEST


def test_factors_are_held_as_float32_where_it_holds_their_inverse() -> None:
    assert held(np.array([0.0, 2.0**-120, 2.0**120])).dtype == np.float32
    assert held(np.zeros(0)).dtype == np.float32
    far = np.array([1.0, 2.0**-200])
    np.testing.assert_array_equal(held(far), far)
    np.testing.assert_array_equal(held(1.0 / far), 1.0 / far)


def test_dividing_by_no_size_leaves_values() -> None:
    np.testing.assert_array_equal(over(np.array([2.0, 3.0]), np.array([0.0, 2.0])), [2.0, 1.5])
