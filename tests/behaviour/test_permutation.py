"""The fixed-n permutation test: exact within prompts, never 0, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.behaviour.permutation import Stratum, two_sample
from tests.behaviour.laws import World, binomial_bound


def strata(seed: int, share: float = 0.0, count: int = 120) -> list[Stratum]:
    return [Stratum(c, (x,), (y,)) for c, x, y in World(seed, cells=24, share=share).pairs(count)]


def test_p_counts_the_observed_labelling_and_is_never_zero() -> None:
    apart = [Stratum("c", ("left",), ("right",)) for _ in range(60)]
    for permutations in (1, 99, 999):
        assert two_sample(apart, 0, permutations).p == pytest.approx(1 / (permutations + 1))


def test_equal_models_are_rejected_no_more_often_than_the_level() -> None:
    runs, alpha = 250, 0.05
    rejected = sum(two_sample(strata(seed), seed, 99).p <= alpha for seed in range(runs))
    assert binomial_bound(rejected, runs, alpha)


def test_prompts_that_differ_from_each_other_do_not_matter() -> None:
    # Each prompt has its own answer and some have more answers of one side: relabelling the pool would see a
    # difference of the sides, relabelling within prompts must not.
    same = [Stratum(f"c{n % 5}", (f"w{n}",) * (1 + n % 3), (f"w{n}",)) for n in range(40)]
    assert two_sample(same, 3, 199).p == 1.0


def test_unequal_numbers_of_answers_keep_the_level() -> None:
    runs, alpha = 150, 0.05
    rejected = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        laws = rng.dirichlet([0.3] * 6, 30)
        rows = [
            Stratum(
                f"c{n % 6}",
                tuple(map(str, rng.choice(6, 1 + n % 4, p=law))),
                tuple(map(str, rng.choice(6, 2, p=law))),
            )
            for n, law in enumerate(laws)
        ]
        rejected += two_sample(rows, seed, 99).p <= alpha
    assert binomial_bound(rejected, runs, alpha)


def test_a_full_swap_is_seen_and_its_distance_lies_beyond_the_noise() -> None:
    found = two_sample(strata(1, share=1.0), 1, 999)
    assert found.p == pytest.approx(0.001)
    assert found.low > 0.1
    assert found.observed > found.by_chance


def test_the_distance_of_equal_models_is_freed_of_noise() -> None:
    distances = [two_sample(strata(seed), seed, 99).distance for seed in range(100)]
    assert abs(float(np.mean(distances))) < 0.02
    assert two_sample(strata(0), 0, 99).by_chance > 0.15  # what would have been reported otherwise


def test_the_same_seed_gives_the_same_result() -> None:
    assert two_sample(strata(4), 7, 199) == two_sample(strata(4), 7, 199)


@pytest.mark.parametrize("rows", [[], [Stratum("c", (), ("a",))], [Stratum("c", ("a",), ())]])
def test_a_prompt_without_an_answer_is_refused(rows: list[Stratum]) -> None:
    with pytest.raises(ValueError, match="each side"):
        two_sample(rows, 0)
