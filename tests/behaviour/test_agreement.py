"""Paired agreement: the exact sign test, its level under correlation, and the numbers around it."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.behaviour.agreement import (
    Paired,
    against,
    conformal_p,
    largest_p,
    rate,
    sign_p,
    smallest_difference,
)
from tests.behaviour.laws import binomial_bound


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_sign_test_is_the_binomial_tail(b: int, c: int) -> None:
    tail = sum(comb(b + c, k) for k in range(b, b + c + 1)) / 2 ** (b + c)
    assert sign_p(b, c) == pytest.approx(tail, rel=1e-9)


def test_a_very_small_p_is_not_mistaken_for_none() -> None:
    assert largest_p([Paired("c", 5000, 0, sign_p(5000, 0))]) < 1e-300


def test_counts_are_of_the_same_prompts() -> None:
    rows = against([True, True, False, False], {"c": [True, False, True, False]})
    assert rows == (Paired("c", 1, 1, 0.75),)
    with pytest.raises(ValueError, match="zip"):
        against([True], {"c": [True, False]})


def test_every_control_has_to_be_beaten() -> None:
    rows = (Paired("weak", 30, 2, sign_p(30, 2)), Paired("strong", 10, 9, sign_p(10, 9)))
    assert largest_p(rows) == rows[1].p
    with pytest.raises(ValueError, match="empty"):
        largest_p(())


def correlated(
    rng: np.random.Generator, n: int, left: float, right: float, weight: float
) -> tuple[list, list]:
    """Two indicators that share a prompt's difficulty in a share ``weight`` of prompts."""
    common, own = rng.random(n), rng.random((2, n))
    shared = rng.random(n) < weight
    draws = np.where(shared, common, own)
    return list(draws[0] < left), list(draws[1] < right)


def test_correlated_prompts_keep_the_level() -> None:
    runs, alpha = 1000, 0.05
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(runs):
        claimed, control = correlated(rng, 300, 0.4, 0.4, 0.8)
        rejected += largest_p(against(claimed, {"c": control})) <= alpha
    assert binomial_bound(rejected, runs, alpha)


def test_conformal_ranks() -> None:
    assert conformal_p(5, [1, 2, 3]) == 0.25
    assert conformal_p(2, [1, 2, 3]) == 0.75
    assert conformal_p(5, []) is None
    rng = np.random.default_rng(1)
    runs, alpha = 1000, 0.1
    rejected = sum((conformal_p(own, others) or 1) <= alpha for own, *others in rng.random((runs, 20)))
    assert binomial_bound(rejected, runs, alpha)


def test_shares_with_intervals() -> None:
    found = rate("x", 8, 10)
    assert found.value == 0.8
    assert found.low == pytest.approx(0.490, abs=1e-3)
    assert found.high == pytest.approx(0.943, abs=1e-3)
    assert (rate("x", 0, 0).low, rate("x", 0, 0).high) == (0.0, 1.0)


def test_the_smallest_difference_is_found_nine_times_in_ten() -> None:
    rows = (Paired("c", 50, 50, 0.5),)
    smallest = smallest_difference(rows, 400, 0.01)
    assert smallest is not None
    share = 0.5 + smallest.value * 400 / 100 / 2
    rng = np.random.default_rng(0)
    power = np.mean([sign_p(int(b), 100 - int(b)) <= 0.01 for b in rng.binomial(100, share, 2000)])
    assert 0.88 <= power <= 0.94
    assert smallest_difference((Paired("c", 1, 1, 0.75),), 400, 0.01) is None
    assert smallest_difference((), 400, 0.01) is None
