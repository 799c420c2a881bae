"""Derived? On scripted models: children are found against controls, unrelated models are not, whatever is chosen."""

from __future__ import annotations

from typing import Any

import pytest

from filiation.behaviour import derived
from filiation.behaviour.controls import Standing
from filiation.behaviour.derived import Setting
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Law, Scripted, able, said
from tests.behaviour.laws import Greedy, binomial_bound

PARENT = Greedy(1)
CONTROLS = ("control-1", "control-2")


def asker(suspect: Law, **changes: Any) -> Scripted:
    laws = {
        "suspect": suspect,
        "parent": PARENT,
        "parent-2": Greedy(7),
        "control-1": Greedy(2),
        "control-2": Greedy(3),
    }
    return Scripted(laws, **changes)


def setting(**changes: Any) -> Setting:
    return Setting(**{"seed": 5, "controls": CONTROLS, "prompts": 200} | changes)


def test_a_child_is_closer_to_its_parent_than_to_every_control() -> None:
    found = derived.run(asker(Greedy(9, parent=PARENT, loyalty=0.3)), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.p is not None
    assert found.test.p < 1e-6
    assert found.test.against == "parent"
    assert found.test.controls == CONTROLS
    assert {row["control"] for row in found.test.figures["paired"]} == set(CONTROLS)
    assert [row["control"] for row in found.test.figures["agreement"]] == [False, True, True]


def test_an_unrelated_model_is_undecided_with_the_smallest_excess_that_would_have_shown() -> None:
    found = derived.run(asker(Greedy(9)), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "not_beyond_controls")
    assert found.test.smallest_effect is not None
    assert 0.0 < found.test.smallest_effect.value < 0.5


def test_a_sibling_among_the_controls_is_not_beaten_by_a_nephew() -> None:
    # The suspect comes from the control's side: the parent that was named is no closer.
    laws = {"suspect": Greedy(9, parent=Greedy(2), loyalty=0.3), "parent": PARENT, "control-1": Greedy(2)}
    found = derived.run(Scripted(laws), setting(controls=("control-1",)))
    assert found.test.outcome is Outcome.UNDECIDED


def test_unrelated_models_are_called_derived_no_more_often_than_the_level() -> None:
    runs, alpha, wrong = 150, 0.05, 0
    for seed in range(runs):
        laws = {role: Greedy(100 * seed + n) for n, role in enumerate(("suspect", "parent", "control-1"))}
        found = derived.run(
            Scripted(laws), setting(seed=seed, prompts=80, alpha=alpha, controls=("control-1",))
        )
        wrong += found.test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)


def test_of_several_parents_one_is_chosen_on_prompts_that_are_not_tested() -> None:
    played = asker(Greedy(9, parent=PARENT, loyalty=0.4))
    found = derived.run(played, setting(parents=("parent-2", "parent")))
    assert found.test.against == "parent"
    assert found.test.outcome is Outcome.SUPPORTED
    scouted = {said(c.ask) for c in played.asked if c.role == "parent-2"}
    tested = {said(c.ask) for c in played.asked if c.role == "control-1"}
    assert len(scouted) == len(tested) == 100
    assert not scouted & tested


def test_the_temperature_zero_of_a_server_that_is_not_deterministic_changes_nothing_but_power() -> None:
    noisy = Greedy(9, parent=PARENT, loyalty=0.4, noise=0.3)
    assert derived.run(asker(noisy), setting()).test.outcome is Outcome.SUPPORTED


@pytest.mark.parametrize("text", ["the", ""])
def test_one_answer_to_everything_decides_nothing(text: str) -> None:
    found = derived.run(asker(lambda ask, rng: text), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "one_answer_to_all")


def test_silence_agrees_with_nobody() -> None:
    silent: Law = lambda ask, rng: ""  # noqa: E731
    laws = {"suspect": silent, "parent": silent, "control-1": Greedy(2)}
    found = derived.run(Scripted(laws), setting(controls=("control-1",)))
    assert found.test.outcome is not Outcome.SUPPORTED


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"controls": ()}, "no_control"),
        ({"parents": ("absent",)}, "no_parent"),
        ({"parents": ()}, "no_parent"),
        ({"controls": ("absent",)}, "endpoint_absent"),
    ],
)
def test_what_cannot_be_asked_is_not_measured(changes: dict[str, Any], reason: str) -> None:
    played = asker(Greedy(9))
    found = derived.run(played, setting(**changes))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, reason)
    assert not played.asked


def test_a_thinking_model_has_no_first_word() -> None:
    played = asker(Greedy(9), capabilities={"parent": able(reasoning=True)})
    assert derived.run(played, setting()).test.reason == "reasoning_model"


def test_chat_alone_is_asked_to_continue_and_completions_are_preferred() -> None:
    chatting = asker(Greedy(9), capabilities={"parent": able(completions=False)})
    derived.run(chatting, setting(prompts=40))
    assert all(call.ask.messages and derived.INSTRUCTION in said(call.ask) for call in chatting.asked)
    plainly = asker(Greedy(9))
    derived.run(plainly, setting(prompts=40))
    assert all(isinstance(call.ask.prompt, str) for call in plainly.asked)


def test_a_small_budget_asks_fewer_prompts_and_too_small_a_one_is_the_reason() -> None:
    child = Greedy(9, parent=PARENT, loyalty=0.4)
    some = derived.run(asker(child, requests=500), setting(parents=("parent-2", "parent")))
    assert some.test.outcome is Outcome.SUPPORTED
    assert some.test.requests <= 500
    none = derived.run(asker(child, requests=50), setting())
    assert (none.test.outcome, none.test.reason) == (Outcome.NOT_MEASURED, "budget_too_small")


def test_controls_are_listed_with_what_they_share_and_what_none_shares() -> None:
    found = derived.run(asker(Greedy(9)), setting(standings={"control-1": Standing(True, False)}))
    assert found.test.figures["standings"]["control-1"] == {"same_tokenizer": True, "same_generation": False}
    assert "no_control_generation" in found.evidence[0].cannot_show
    assert "no_control_tokenizer" not in found.evidence[0].cannot_show


def test_equal_answers_give_equal_records() -> None:
    one, other = (plain(derived.run(asker(Greedy(9)), setting())) for _ in range(2))
    assert one == other
