"""Every formula against brute force: all permutations, all signs, many-to-one maps."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.origin import evalues
from filiation.origin.subsequence import longest_increasing

LOGS = st.floats(-50, 50)


@given(st.lists(LOGS, min_size=1, max_size=20))
def test_mean_lies_between_the_extremes(logs: list[float]) -> None:
    mean = evalues.log_mean(logs)
    assert min(logs) - 1e-9 <= mean <= max(logs) + 1e-9
    assert math.exp(mean) == pytest.approx(np.mean(np.exp(logs)), rel=1e-9)


def test_weights_may_leave_something_out_and_not_add_anything() -> None:
    assert math.exp(evalues.log_mean([0.0, 0.0], [0.5, 0.25])) == pytest.approx(0.75)
    assert evalues.log_mean([-math.inf, -math.inf]) == -math.inf
    for weights in ([0.6, 0.6], [-0.1, 0.5]):
        with pytest.raises(ValueError, match="weights"):
            evalues.log_mean([0.0, 0.0], weights)
    with pytest.raises(ValueError, match="no e-values"):
        evalues.log_mean([])


@given(LOGS)
def test_insurance_costs_at_most_a_factor_of_two(log_e: float) -> None:
    assert evalues.insured(log_e) >= math.log(0.5)
    assert math.exp(evalues.insured(log_e)) == pytest.approx((1 + math.exp(log_e)) / 2)


def fixed_points(match: tuple[int, ...], order: tuple[int, ...]) -> int:
    """Units whose match, after ``order`` has moved the units, is at their own place."""
    return sum(match[unit] == place for place, unit in enumerate(order))


def mean_e(values: list[float]) -> float:
    return float(np.mean(np.exp(np.array(values))))


@pytest.mark.parametrize("n", range(1, 7))
def test_fixed_points_have_mean_one_for_a_permutation(n: int) -> None:
    """E[binomial(X, k)] = 1/k! up to k = n: the truncated divisor is exact (for small bets exp(t), a little more)."""
    every = [
        evalues.fixed_points([fixed_points(tuple(range(n)), o)], [n], [1.0]) for o in permutations(range(n))
    ]
    assert 0.995 < mean_e(every) <= 1 + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_fixed_points_of_many_to_one_maps_have_mean_below_one(seed: int) -> None:
    n = 5
    match = tuple(int(i) for i in np.random.default_rng(seed).integers(0, n + 2, n))
    every = [evalues.fixed_points([fixed_points(match, o)], [n], [1.0]) for o in permutations(range(n))]
    assert mean_e(every) <= 1 + 1e-9


def test_fixed_points_in_blocks_and_with_weights() -> None:
    counts = [
        (fixed_points((0, 1), a), fixed_points((0, 1, 2), b), fixed_points((0, 1, 2), b))
        for a in permutations(range(2))
        for b in permutations(range(3))
    ]
    independent = [evalues.fixed_points(c[:2], [2, 3], [1.0, 1.0]) for c in counts]
    assert mean_e(independent) <= 1 + 1e-9
    # The third block is a copy of the second: counted twice it is no e-value, with weights of a half it is.
    assert mean_e([evalues.fixed_points(c, [2, 3, 3], [1.0, 1.0, 1.0]) for c in counts]) > 1.1
    assert mean_e([evalues.fixed_points(c, [2, 3, 3], [1.0, 0.5, 0.5]) for c in counts]) <= 1 + 1e-9


@given(st.integers(1, 3000), st.data())
def test_fixed_points_grow_with_their_number(n: int, data: st.DataObject) -> None:
    few = data.draw(st.integers(0, n - 1))
    assert evalues.fixed_points([few], [n], [1.0]) < evalues.fixed_points([few + 1], [n], [1.0])


def test_fixed_points_of_a_copy_are_worth_almost_n_factorial() -> None:
    """No statistic of one permutation of n units can be worth more than n!."""
    for n in (8, 64, 352, 2816):
        log_e = evalues.fixed_points([n], [n], [1.0])
        assert math.lgamma(n + 1) - 3 < log_e <= math.lgamma(n + 1)


@pytest.mark.parametrize("n", [4, 6, 7])
@pytest.mark.parametrize("seed", range(4))
def test_increasing_subsequences_keep_their_bound_and_their_mean(n: int, seed: int) -> None:
    """``seed`` 0 is the identity, others are maps that may repeat."""
    match = np.arange(n) if seed == 0 else np.random.default_rng(seed).integers(0, n, n)
    lengths = [longest_increasing(match[list(order)]) for order in permutations(range(n))]
    for k in range(1, n + 1):
        assert np.mean(np.array(lengths) >= k) <= math.comb(n, k) / math.factorial(k) + 1e-12
    assert mean_e([evalues.increasing_subsequence(length, n) for length in lengths]) <= 1 + 1e-9


@given(st.lists(st.integers(0, 9), max_size=9))
def test_longest_increasing_is_strict_and_longest(values: list[int]) -> None:
    best = max(
        sum(chosen)
        for chosen in product((False, True), repeat=len(values))
        if (kept := [v for v, c in zip(values, chosen, strict=True) if c]) == sorted(set(kept))
    )
    assert longest_increasing(np.array(values, np.int64)) == best


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_sign_counts_have_mean_one(n: int) -> None:
    total = sum(math.comb(n, k) * math.exp(evalues.sign_counts(k, n)) for k in range(n + 1))
    assert total / 2**n == pytest.approx(1.0)


def test_sign_counts_follow_the_formula() -> None:
    exact = 2**12 * math.factorial(9) * math.factorial(3) / math.factorial(13)
    assert math.exp(evalues.sign_counts(9, 12)) == pytest.approx(exact)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-3, 50), min_size=1, max_size=7))
def test_sign_magnitudes_have_mean_one_over_the_signs(sizes: list[float]) -> None:
    values = np.array(sizes)
    for test in (evalues.sign_magnitudes, evalues.signs):
        every = [test(values * np.array(s)) for s in product((-1.0, 1.0), repeat=len(sizes))]
        assert mean_e(every) == pytest.approx(1.0, rel=1e-6)


def test_signs_of_nothing_say_nothing() -> None:
    assert evalues.signs(np.zeros(0)) == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_diagonal_has_mean_one_for_every_bet(seed: int) -> None:
    """Also where some positions exist on one side only, and for heavy tails and repeated columns."""
    rng = np.random.default_rng(seed)
    similarity = rng.standard_cauchy((5, 6)) if seed % 2 else rng.standard_normal((5, 6)).round(0)
    column_at = np.array([0, 1, 3, 4, 6, 9])
    places = np.array([0, 2, 3, 4, 9])
    bets = [evalues.diagonal_bets(similarity, places[list(o)], column_at) for o in permutations(range(5))]
    np.testing.assert_allclose(np.mean(np.exp(bets), axis=0), 1.0, rtol=1e-6)


def test_diagonal_of_blocks_and_copies() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 3, 3))
    at = np.arange(3)
    orders = [np.array(o) for o in permutations(range(3))]
    pairs = [
        (evalues.diagonal_bets(one, a, at), evalues.diagonal_bets(other, b, at))
        for a in orders
        for b in orders
    ]
    assert mean_e([evalues.diagonal(p, [1.0, 1.0]) for p in pairs]) == pytest.approx(1.0, rel=1e-6)
    twice = [[evalues.diagonal_bets(5 * np.eye(3), a, at)] * 2 for a in orders]
    assert mean_e([evalues.diagonal(p, [1.0, 1.0]) for p in twice]) > 1.1
    assert mean_e([evalues.diagonal(p, [0.5, 0.5]) for p in twice]) <= 1 + 1e-9


def test_diagonal_stays_finite_where_one_unit_stands_out_of_very_many() -> None:
    """The units that remain after an outlier would add up to zero in a double: an infinite e-value from nothing."""
    n = 60_000
    column = np.zeros((n, 1))
    column[0, 0] = 1.0
    bets = evalues.diagonal_bets(column, np.arange(n), np.array([n // 2]))
    assert np.isfinite(bets).all()
    assert (bets < 1).all()


def test_diagonal_takes_rounding_for_what_it_is() -> None:
    rounding = 1.0 + 1e-7 * np.eye(6)
    np.testing.assert_array_equal(evalues.diagonal_bets(rounding, np.arange(6), np.arange(6)), 0.0)


@pytest.mark.parametrize(("cosine", "least"), [(0.02, 100.0), (0.03, 300.0)])
def test_diagonal_sees_drift_that_fixed_points_do_not(cosine: float, least: float) -> None:
    """The contract's figures: 149 and 408 bans at n = 1,024 and width 2,048, where fixed points give 9 and 53."""
    rng = np.random.default_rng(5)
    candidate = rng.standard_normal((1024, 2048), np.float32)
    suspect = cosine * candidate + math.sqrt(1 - cosine**2) * rng.standard_normal((1024, 2048), np.float32)
    similarity = (suspect @ candidate.T / 2048).astype(np.float64)
    at = np.arange(1024)
    by_diagonal = evalues.diagonal([evalues.diagonal_bets(similarity, at, at)], [1.0]) / evalues.LOG10
    hits = int((similarity.argmax(axis=1) == at).sum())
    by_hits = evalues.fixed_points([hits], [1024], [1.0]) / evalues.LOG10
    assert by_diagonal > least > 3 * by_hits
