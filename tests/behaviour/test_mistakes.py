"""Shared mistakes: beyond what popularity explains, or not; association and never more."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.behaviour import mistakes
from filiation.behaviour.items import Choice
from filiation.behaviour.mistakes import (
    Joint,
    Setting,
    chosen,
    exchangeable_chance,
    pool_chance,
    upper_tail,
)
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Law, Scripted
from tests.behaviour.laws import binomial_bound, examinee

ITEMS = tuple(Choice(f"Q{n}?", tuple(f"o{k}" for k in range(4)), n % 4) for n in range(300))
POOL = tuple(f"control-{n}" for n in range(1, 6))


def asker(suspect: Law, parent: Law | None = None, first: int = 10) -> Scripted:
    laws = {"suspect": suspect, "parent": parent or examinee(1)}
    return Scripted(laws | {role: examinee(first + n) for n, role in enumerate(POOL)})


def setting(**changes: Any) -> Setting:
    return Setting(**{"items": ITEMS, "digest": "cd" * 32, "pool": POOL} | changes)


def test_a_model_that_answers_as_the_other_does_shares_its_mistakes() -> None:
    parent = examinee(1)
    found = mistakes.run(asker(examinee(2, parent=parent, loyalty=0.6), parent), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.figures["ceiling"] == "associated"
    assert "association" in found.evidence[0].cannot_show


def test_unrelated_models_share_the_popular_mistakes_and_nothing_is_made_of_it() -> None:
    found = mistakes.run(asker(examinee(2)), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "not_beyond_pool")
    assert found.test.effect[0].value > 1 / 3  # more than "one in three wrong options" would make of it
    assert found.test.smallest_effect is not None
    assert found.test.smallest_effect.value > found.test.figures["expected_share"]


def test_unrelated_models_are_called_associated_no_more_often_than_the_level() -> None:
    runs, alpha, wrong = 40, 0.05, 0
    for seed in range(runs):
        played = asker(examinee(1000 * seed + 2), examinee(1000 * seed + 1), 1000 * seed + 10)
        wrong += (
            mistakes.run(played, setting(items=ITEMS[:120], alpha=alpha)).test.outcome is Outcome.SUPPORTED
        )
    assert binomial_bound(wrong, runs, alpha)


def test_given_who_chose_what_the_exchangeable_test_is_exact_with_any_pool() -> None:
    # A pool of three estimates popularity badly: the exchangeable test must keep its level all the same.
    runs, alpha, wrong = 500, 0.05, 0
    rng = np.random.default_rng(0)
    for _ in range(runs):
        laws = rng.dirichlet([0.3] * 3, 40)
        drawn = [[int(o) for o in rng.choice(3, 5, p=law)] for law in laws]
        joint = [Joint(3, a, b, tuple(rest)) for a, b, *rest in drawn]
        matches = sum(item.suspect == item.other for item in joint)
        wrong += upper_tail([exchangeable_chance(item) for item in joint], matches) <= alpha
    assert binomial_bound(wrong, runs, alpha)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(0, 8))
def test_the_upper_tail_is_the_sum_over_all_outcomes(chances: list[float], matches: int) -> None:
    total = sum(
        float(np.prod([c if hit else 1 - c for c, hit in zip(chances, hits, strict=True)]))
        for hits in product((False, True), repeat=len(chances))
        if sum(hits) >= matches
    )
    assert upper_tail(chances, matches) == pytest.approx(total, abs=1e-9)


def test_chances() -> None:
    item = Joint(3, suspect=0, other=1, pool=(1, 1, 2))
    assert pool_chance(item) == pytest.approx(2.5 / 4.5)
    assert exchangeable_chance(item) == pytest.approx(3 * 2 / (5 * 4))


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("B", 1),
        ("(B) Rome", 1),
        ("The answer is C.", 2),
        ("A or B", None),
        ("E", None),
        ("", None),
        ("none", None),
    ],
)
def test_letters(text: str, option: int | None) -> None:
    assert chosen(ITEMS[0], text) == option


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pool": POOL[:2]}, "no_pool"),
        ({"pool": (*POOL, "parent")}, "no_pool"),
        ({"other": "absent"}, "endpoint_absent"),
        ({"items": ITEMS[:20]}, "too_few_mistakes"),
    ],
)
def test_what_cannot_be_asked_is_not_measured(changes: dict[str, Any], reason: str) -> None:
    found = mistakes.run(asker(examinee(2)), setting(**changes))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, reason)


def test_equal_answers_give_equal_records() -> None:
    one, other = (plain(mistakes.run(asker(examinee(2)), setting())) for _ in range(2))
    assert one == other
