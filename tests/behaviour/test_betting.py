"""The bet against "these two answer alike": fair at every pair, level kept at every length, fast where it matters."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.behaviour.betting import MeanBet, Wealth
from tests.behaviour.laws import World, binomial_bound, pairs_needed

ANSWERS = st.sampled_from(["a", "b", "c", "d", ""])
PAIRS = st.lists(st.tuples(st.sampled_from(["x", "y"]), ANSWERS, ANSWERS), max_size=30)


def after(pairs: list[tuple[str, str, str]]) -> Wealth:
    wealth = Wealth()
    for pair in pairs:
        wealth.step(*pair)
    return wealth


@settings(max_examples=60, deadline=None)
@given(past=PAIRS, left=ANSWERS, right=ANSWERS)
def test_whatever_came_before_the_mean_of_the_next_factor_is_one(
    past: list[tuple[str, str, str]], left: str, right: str
) -> None:
    # Under the null hypothesis either order of the two answers is as likely: the two wealths must average to the last.
    before = after(past).log_wealth
    one, other = (after([*past, ("x", *pair)]).log_wealth for pair in ((left, right), (right, left)))
    assert 0.5 * (math.exp(one - before) + math.exp(other - before)) == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(past=PAIRS, extra=ANSWERS, left=ANSWERS, right=ANSWERS)
def test_a_further_answer_of_the_reference_keeps_the_bet_fair(
    past: list[tuple[str, str, str]], extra: str, left: str, right: str
) -> None:
    wealths: list[float] = []
    for pair in ((left, right), (right, left)):
        wealth = after(past)
        wealth.learn("x", extra)
        before = wealth.log_wealth
        wealths.append(math.exp(wealth.step("x", *pair) - before))
    assert sum(wealths) == pytest.approx(2.0, abs=1e-9)


def test_equal_models_are_rejected_no_more_often_than_the_level() -> None:
    runs, alpha = 250, 0.01
    rejected = sum(pairs_needed(World(seed).pairs(400), alpha) is not None for seed in range(runs))
    assert binomial_bound(rejected, runs, alpha)


def test_an_equal_model_may_be_asked_for_very_long() -> None:
    # A stored law taken for the truth rejects an identical endpoint in every run by 3,000 observations (research 2.6).
    runs, alpha = 30, 0.01
    rejected = sum(pairs_needed(World(10_000 + seed).pairs(3000), alpha) is not None for seed in range(runs))
    assert binomial_bound(rejected, runs, alpha)


def test_a_full_swap_is_seen_within_a_median_of_100_pairs() -> None:
    needed = [pairs_needed(World(seed, share=1.0).pairs(600), 0.01) for seed in range(60)]
    assert None not in needed
    assert median(n for n in needed if n) <= 100


def test_one_answer_in_ten_from_another_model_is_seen_within_3000_pairs() -> None:
    needed = [pairs_needed(World(seed, share=0.1).pairs(3000), 0.01) for seed in range(30)]
    seen = [n for n in needed if n]
    assert len(seen) >= 27
    assert median(seen) <= 2000


def test_the_bet_on_a_mean_keeps_its_level() -> None:
    runs, alpha = 250, 0.01
    rejected = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        bet = MeanBet(-1.0)
        best = max(bet.step(value) for value in rng.choice([-1.0, 0.0, 0.5], p=[0.2, 0.4, 0.4], size=300))
        rejected += best >= -math.log(alpha)
    assert binomial_bound(rejected, runs, alpha)


def test_the_bet_on_a_mean_wins_where_the_mean_is_above_zero() -> None:
    bet = MeanBet(-0.75)
    for value in np.random.default_rng(0).choice([-0.75, 0.25, 1.0], p=[0.2, 0.4, 0.4], size=300):
        bet.step(float(value))
    assert bet.log10 > 2.0


def test_the_bet_on_a_mean_refuses_what_it_was_not_made_for() -> None:
    with pytest.raises(ValueError, match="below"):
        MeanBet(-0.5).step(-0.6)
    with pytest.raises(ValueError, match="negative"):
        MeanBet(0.0)
