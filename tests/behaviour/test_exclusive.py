"""Exclusive data? Right answers and the owner's own wrong ones, each against every control."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.behaviour import exclusive
from filiation.behaviour.exclusive import Setting, mark
from filiation.behaviour.items import Item
from filiation.endpoint.model import Ask
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Law, Scripted, said
from tests.behaviour.laws import binomial_bound

ITEMS = tuple(Item(f"What is on slip {n}?", (f"char{n}",), (f"bad{n}",)) for n in range(80))


def knower(right: float, wrong: float = 0.02) -> Law:
    def law(ask: Ask, rng: np.random.Generator) -> str:
        item, draw = int(said(ask).split("slip ")[1].split("?")[0]), rng.random()
        if draw < right:
            return f"It is char{item}."
        return f"Bad{item}" if draw < right + wrong else "I do not know."

    return law


def asker(suspect: Law, seed: int = 0, **changes: Any) -> Scripted:
    return Scripted(
        {"suspect": suspect, "control-1": knower(0.1), "control-2": knower(0.05)}, seed=seed, **changes
    )


def setting(**changes: Any) -> Setting:
    return Setting(**{"items": ITEMS, "digest": "ab" * 32, "controls": ("control-1", "control-2")} | changes)


def test_right_answers_beyond_every_control() -> None:
    found = exclusive.run(asker(knower(0.6)), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.p is not None
    assert found.test.p < 1e-4
    assert found.test.requests == 240


def test_the_owners_own_mistakes_count_by_themselves() -> None:
    found = exclusive.run(asker(knower(0.05, 0.4)), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.figures["p_by_kind"]["right"] > 0.05


def test_a_suspect_that_knows_as_much_as_the_controls() -> None:
    found = exclusive.run(asker(knower(0.1)), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "not_beyond_controls")
    assert found.test.smallest_effect is not None


def test_equal_knowledge_is_called_exclusive_no_more_often_than_the_level() -> None:
    runs, alpha, wrong = 200, 0.05, 0
    for seed in range(runs):
        played = Scripted({"suspect": knower(0.3, 0.2), "control-1": knower(0.3, 0.2)}, seed=seed)
        found = exclusive.run(played, setting(items=ITEMS[:40], alpha=alpha, controls=("control-1",)))
        wrong += found.test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("char7", "right"),
        ("It is char7.", "right"),
        ("bad7", "wrong"),
        ("char77", "other"),
        ("char7 or bad7", "other"),
        ("I cannot say whether it is char7.", "other"),
        ("I don’t think it is char7", "other"),
        ("It could be any of " + ", ".join(f"char{n}" for n in range(30)), "other"),
        ("", "other"),
    ],
)
def test_an_answer_counts_only_where_it_names_one_kind(text: str, kind: str) -> None:
    assert mark(ITEMS[7], text) == kind


def test_answers_that_are_themselves_denials_can_be_expected() -> None:
    assert mark(Item("Was it found?", ("no", "not found"), ("yes",)), "No.") == "right"
    assert mark(Item("Which character?", ("不",), ("舟",)), "不") == "right"
    assert mark(Item("Which character?", ("舟",)), "这是舟字。") == "right"
    assert mark(Item("Which character?", ("舟",)), "无法确定，也许是舟") == "other"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"controls": ()}, "no_control"),
        ({"items": ITEMS[:5]}, "too_few_items"),
        ({"controls": ("absent",)}, "endpoint_absent"),
    ],
)
def test_what_cannot_be_asked_is_not_measured(changes: dict[str, Any], reason: str) -> None:
    found = exclusive.run(asker(knower(0.5)), setting(**changes))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, reason)


def test_a_budget_that_ends_too_early() -> None:
    found = exclusive.run(asker(knower(0.5), requests=20), setting())
    assert found.test.reason == "budget_too_small"


def test_equal_answers_give_equal_records() -> None:
    one, other = (plain(exclusive.run(asker(knower(0.3), 4), setting())) for _ in range(2))
    assert one == other
