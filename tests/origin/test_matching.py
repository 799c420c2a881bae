from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.origin import matching
from filiation.origin.matching import assign, nearest, same_position
from filiation.origin.units import Units
from tests.origin.units import channels, drawn, ffn


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nearest_finds_the_unit_wherever_it_is() -> None:
    rows = drawn(0, 40, 16)
    order = rng().permutation(40)
    np.testing.assert_array_equal(nearest(ffn(rows[order]), ffn(rows), rng()), order)
    np.testing.assert_array_equal(nearest(channels(-rows[order]), channels(rows), rng()), order)


def test_nearest_compares_in_chunks_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    suspect, candidate = ffn(drawn(1, 50, 8)), ffn(drawn(2, 30, 8))
    at_once = nearest(suspect, candidate, rng())
    monkeypatch.setattr(matching, "ROWS", 7)
    np.testing.assert_array_equal(nearest(suspect, candidate, rng()), at_once)
    best = (suspect.normed @ candidate.normed.T).argmax(axis=1)
    np.testing.assert_array_equal(at_once, best)


def test_nearest_stays_inside_the_block() -> None:
    rows = drawn(3, 12, 5)
    suspect = ffn(rows, block=np.repeat([0, 1, 5], 4))
    candidate = ffn(rows[::-1], block=np.repeat([0, 1, 2], 4))
    match = nearest(suspect, candidate, rng())
    assert (match[:4] < 4).all()
    assert ((match[4:8] >= 4) & (match[4:8] < 8)).all()
    assert (match[8:] == -1).all()


@pytest.mark.parametrize("free", [False, True])
def test_ties_are_broken_without_the_index(free: bool) -> None:
    """All similarities are equal: a unit meets its own number once on average, not always."""
    make = channels if free else ffn
    suspect, candidate = make(np.ones((12, 4))), make(np.ones((12, 4)))
    hits = [(nearest(suspect, candidate, rng(i)) == np.arange(12)).sum() for i in range(300)]
    assert 0.5 < np.mean(hits) < 1.5
    linear = [(assign(np.ones((12, 12)), rng(i)) == np.arange(12)).sum() for i in range(300)]
    assert 0.5 < np.mean(linear) < 1.5


def test_rounding_does_not_break_ties_by_index() -> None:
    """A matrix product rounds by the place of a row; with wide rows, ties are never quite ties."""
    rows = np.repeat(drawn(4, 1, 701), 33, axis=0)
    hits = [(nearest(ffn(rows), ffn(rows), rng(i)) == np.arange(33)).sum() for i in range(200)]
    assert 0.4 < np.mean(hits) < 1.6


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 7))
def test_assignment_is_the_best_one(seed: int, rows: int, columns: int) -> None:
    from scipy.optimize import linear_sum_assignment

    scores = rng(seed).standard_normal((rows, columns))
    match = assign(scores, rng(seed))
    used = match[match >= 0]
    assert len(used) == len(set(used.tolist())) == min(rows, columns)
    chosen = np.flatnonzero(match >= 0)
    best = linear_sum_assignment(scores, maximize=True)
    assert scores[chosen, match[chosen]].sum() == pytest.approx(scores[best].sum())


def test_same_position_needs_the_same_block() -> None:
    suspect = Units("ffn", drawn(0, 3, 2), np.array([5, 6, 5]), np.array([0, 0, 1]))
    candidate = Units("ffn", drawn(1, 3, 2), np.array([6, 5, 9]), np.array([0, 0, 1]))
    assert same_position(suspect, candidate).tolist() == [1, 0, -1]
