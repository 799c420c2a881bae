"""What the five tests measure, and when they abstain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from filiation.origin import TESTS, Abstention, Outcome
from filiation.origin.diagonal import Diagonal
from filiation.origin.order import FixedPoints
from filiation.origin.sign import Signs, SignsInPlace
from filiation.origin.subsequence import Subsequence
from filiation.origin.testing import ExactTest
from filiation.origin.units import Units
from tests.origin.units import channels, drawn, ffn

N = 64


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def outcome(
    test: ExactTest, suspect: Units, candidate: Units, weights: dict[int, float] | None = None
) -> Outcome:
    found = test.measure(suspect, candidate, rng(), weights)
    assert isinstance(found, Outcome)
    return found


def layer(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn(seed, N, 32), drawn(seed + 100, N, 32), drawn(seed + 200, N, 16)


@pytest.mark.parametrize("test", TESTS, ids=lambda t: t.name)
def test_independent_units_show_nothing(test: ExactTest) -> None:
    for seed in range(5):
        found = test.measure(ffn(*layer(seed)), ffn(*layer(seed + 10)), rng())
        assert isinstance(found, Abstention) or found.log_e < math.log(10)


def test_units_in_place_are_counted() -> None:
    gate, up, down = layer(0)
    found = outcome(FixedPoints(), ffn(gate, up, down), ffn(gate, up, down))
    assert (found.statistic, found.expected, found.n) == (N, 1.0, N)
    assert found.log_e > 0.9 * math.lgamma(N + 1)
    half = np.concatenate([np.arange(N // 2), N // 2 + rng().permutation(N // 2)])
    assert N // 2 <= outcome(FixedPoints(), ffn(gate[half]), ffn(gate)).statistic <= N // 2 + 4


def test_a_block_has_its_own_index() -> None:
    rows = drawn(0, 24, 8)
    block = np.repeat([0, 1, 2], 8)
    moved = np.concatenate([np.arange(8), rng().permutation(8) + 8, np.arange(16, 24)])
    found = outcome(FixedPoints(), ffn(rows[moved], block=block), ffn(rows, block=block))
    assert 16 <= found.statistic <= 19
    assert found.expected == 3.0


def test_weights_discount_copied_blocks() -> None:
    """Four copies of one head are worth one head."""
    one = drawn(0, 8, 6)
    rows, block = np.vstack([one] * 4), np.repeat(np.arange(4), 8)
    weights = dict.fromkeys(range(4), 0.25)
    signed = np.vstack([drawn(1, 8, 5)] * 4)
    for test in (FixedPoints(), Diagonal(), Signs(), SignsInPlace()):
        alone = outcome(test, ffn(one, signed[:8]), ffn(one, signed[:8])).log_e
        copied = outcome(test, ffn(rows, signed, block=block), ffn(rows, signed, block=block), weights).log_e
        # A little less than one head where a grid of bets is shared over blocks; never more.
        assert 0.5 * alone < copied <= alone + 1e-6


def test_diagonal_reports_z_and_sees_what_matching_does_not() -> None:
    candidate = drawn(0, 400, 256)
    suspect = 0.05 * candidate + drawn(1, 400, 256)
    found = outcome(Diagonal(), ffn(suspect), ffn(candidate))
    assert found.statistic > 8
    assert found.log_e > 20
    assert outcome(FixedPoints(), ffn(suspect), ffn(candidate)).log_e < found.log_e / 3


def test_ascending_matches_show_pruning() -> None:
    rows = drawn(0, 96, 24)
    kept = np.sort(rng().permutation(96)[:60])
    found = outcome(Subsequence(), ffn(rows[kept]), ffn(rows))
    assert found.statistic == found.n == 60
    assert found.log_e > 60
    scrambled = outcome(Subsequence(), ffn(rows[rng().permutation(kept)]), ffn(rows))
    assert scrambled.log_e < 0
    assert isinstance(Subsequence().measure(ffn(rows[:7]), ffn(rows), rng()), Abstention)
    two = ffn(rows, block=np.repeat([0, 1], 48))
    assert Subsequence().measure(two, two, rng()) == Abstention("needs_one_block")


def test_signs_survive_a_permutation_and_signs_in_place_do_not() -> None:
    gate, up, down = layer(0)
    order = rng().permutation(N)
    moved = ffn(gate[order], up[order], down[order])
    by_content = outcome(Signs(), moved, ffn(gate, up, down))
    assert by_content.statistic == by_content.n == N
    assert by_content.log_e > 0.6 * N * math.log(2)
    assert outcome(SignsInPlace(), moved, ffn(gate, up, down)).log_e < 2


def test_flipped_units_are_seen_as_flipped() -> None:
    """A sign is a label only where it varies: all flipped is as telling as none flipped, half of them says nothing."""
    rows = drawn(0, N, 32)
    signs = np.where(rng().random(N) < 0.5, -1.0, 1.0)[:, None]
    assert outcome(Signs(), channels(-rows), channels(rows)).log_e > 30
    assert outcome(Signs(), channels(rows * signs), channels(rows)).log_e < 2


def test_a_unit_speaks_once_on_either_side() -> None:
    """Many suspect units that match one candidate unit are one coin: the most similar one's."""
    target = drawn(0, 1, 16)
    others = drawn(1, 5, 16) - 3 * target
    candidate = np.vstack([target, others])
    crowd = target + 0.1 * drawn(2, 20, 16)
    found = Signs().measure(channels(crowd), channels(candidate), rng())
    assert found == Abstention("too_few_units") or (isinstance(found, Outcome) and found.n <= 6)
    best = int(np.argmax(np.abs(channels(crowd).normed @ channels(target).normed.T)))
    suspect = np.vstack([crowd, others])
    kept = outcome(Signs(), channels(suspect), channels(candidate))
    assert kept.n == 6
    flipped = suspect.copy()
    flipped[best] *= -1
    assert outcome(Signs(), channels(flipped), channels(candidate)).statistic == kept.statistic - 1


def test_tests_abstain_with_a_reason() -> None:
    gate, up, _ = layer(0)
    plain = ffn(gate)
    assert Signs().measure(plain, plain, rng()) == Abstention("sign_is_no_label")
    assert SignsInPlace().measure(ffn(gate, up), plain, rng()) == Abstention("sign_is_no_label")
    dead = ffn(np.zeros((8, 4)), np.zeros((8, 4)))
    for test in (FixedPoints(), Diagonal(), Subsequence(), Signs(), SignsInPlace()):
        assert test.measure(dead, dead, rng()) == Abstention("too_few_units")
    assert Signs().measure(ffn(gate, 0 * up), ffn(gate, up), rng()) == Abstention("too_few_units")
