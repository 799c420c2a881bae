"""Intervals against published values; tallies that see a broken law and let a kept one pass."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab.laws import Rate, Tally, auroc, quantiles, tallies


def test_exact_intervals() -> None:
    # Clopper and Pearson: 0 of n has the upper end 1 - (0.025)^(1/n).
    assert Rate(0, 100).interval == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert Rate(10, 10).interval == pytest.approx((0.025 ** (1 / 10), 1.0))
    assert Rate(5, 10).interval == pytest.approx((0.1871, 0.8129), abs=1e-4)
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert str(Rate(0, 0)) == "none measured"


def test_fair_coins_pass_and_loaded_ones_do_not() -> None:
    rng = np.random.default_rng(1)
    fair, loaded = Tally("ffn_sign"), Tally("ffn_sign")
    for _ in range(400):
        fair.add(float(rng.binomial(200, 0.5)), 100.0, 200, -0.3)
        loaded.add(float(rng.binomial(200, 0.52)), 100.0, 200, -0.3)
    assert abs(fair.z() or 9) < 3
    assert (fair.p_uniform() or 0) > 0.01
    assert (loaded.z() or 0) > 6
    assert (loaded.p_uniform() or 1) < 1e-6


def test_units_in_place_are_held_to_the_law_of_fixed_points() -> None:
    rng = np.random.default_rng(2)
    free, held = Tally("ffn_order"), Tally("ffn_order")
    for _ in range(400):
        fixed = int((rng.permutation(64) == np.arange(64)).sum())
        free.add(float(fixed), 1.0, 64, -0.2)
        held.add(float(fixed + rng.integers(0, 2)), 1.0, 64, 1.5)
    assert (free.p_poisson() or 0) > 0.01
    assert (held.p_poisson() or 1) < 1e-6
    assert held.record()["over"] == {"10": 400, "100": 0, "1000": 0}
    assert Tally("a test of z values").z() is None


def test_only_label_sets_as_they_lie_are_counted() -> None:
    rows = [
        {
            "tests": [
                ["ffn_order", "direct", "a", 1.0, 1.0, 9, -0.1],
                ["ffn_order", "rotated", "a", 9.0, 1.0, 9, 5.0],
            ]
        },
        {},
    ]
    (tally,) = tallies(rows)
    assert (tally.label_sets, tally.observed, tally.largest) == (1, 1.0, -0.1)


def test_quantiles() -> None:
    assert quantiles([]) is None
    assert quantiles([3.0, 1.0, 2.0]) == {"least": 1.0, "median": 2.0, "largest": 3.0}


def test_area_under_the_curve() -> None:
    assert auroc([3.0, 4.0], [1.0, 2.0]) == 1.0
    assert auroc([1.0, 4.0], [2.0, 3.0]) == 0.5
    assert auroc([1.0], [1.0]) == 0.5
    assert auroc([], [1.0]) is None
