from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from filiation.origin import sweep
from filiation.origin.diagonal import Diagonal
from filiation.origin.order import FixedPoints
from filiation.origin.sweep import InOrder, in_order
from filiation.origin.testing import Outcome
from filiation.origin.units import Units
from tests.origin.units import channels, drawn, ffn

N, M = 40, 24


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def one_by_one(suspect: Units, candidate: Units) -> tuple[float, float]:
    """Fixed points, and the mean of the two tests' e-values."""
    outcomes = [t.measure(suspect, candidate, rng()) for t in (FixedPoints(), Diagonal())]
    assert all(isinstance(o, Outcome) for o in outcomes)
    logs = [o.log_e for o in outcomes if isinstance(o, Outcome)]
    return outcomes[0].statistic, float(np.logaddexp(*logs) - np.log(2))  # type: ignore[union-attr]


def moved(units: Units, by: int) -> Units:
    """The same contents at other positions; some positions exist on one side only."""
    return replace(units, position=units.position + by)


@pytest.mark.parametrize("pool", [1, 2 * N * N, sweep.POOL])
@pytest.mark.parametrize("kind", [ffn, channels])
def test_a_sweep_gives_what_the_tests_give(kind: object, pool: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "POOL", pool)
    make = ffn if kind is ffn else channels
    base = drawn(0, N, M)
    dead = base.copy()
    dead[3:7] = 0.0
    suspect = make(dead)
    candidates = [
        make(base),
        make(base + 2.0 * drawn(1, N, M)),
        make(-base),
        make(drawn(2, N, M)),
        moved(make(base), 1),
        make(base[:11]),
    ]
    found = in_order(suspect, candidates, rng())
    for cell, candidate in zip(found, candidates, strict=True):
        in_place, log_e = one_by_one(suspect, candidate)
        assert cell.in_place == in_place
        assert cell.n == N - 4
        assert cell.log_e == pytest.approx(log_e, rel=1e-6, abs=1e-6)
    assert found[0].in_place == N - 4
    assert found[2].in_place == (N - 4 if kind is channels else found[2].in_place)
    assert found[4].in_place < 5


def test_other_widths_and_dead_units_are_no_evidence() -> None:
    suspect = ffn(drawn(0, N, M))
    assert in_order(suspect, [ffn(drawn(0, N, M + 1)), ffn(np.zeros((N, M)))], rng()) == [InOrder()] * 2
    assert in_order(suspect, [], rng()) == []


def test_several_blocks_are_left_to_the_tests() -> None:
    block = np.repeat([0, 1], N // 2)
    suspect, twin = ffn(drawn(0, N, M), block=block), ffn(drawn(1, N, M), block=block)
    (same, other) = in_order(suspect, [suspect, twin], rng())
    assert (same.in_place, same.n) == (N, N)
    assert same.log_e == pytest.approx(one_by_one(suspect, suspect)[1])
    assert other.log_e < 3


def test_equal_contents_earn_no_index() -> None:
    """Units that cannot be told apart are shuffled before the nearest is taken: a tie is no fixed point."""
    rows = np.repeat(drawn(0, 4, M), 10, axis=0) + 2e-2 * drawn(1, N, M)
    cell = in_order(ffn(rows), [ffn(rows[::-1].copy())], rng())[0]
    assert cell.in_place < 12
