"""Distilled? By likelihood against a base where prompts have log-probabilities; by text, "similar to" and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.behaviour import distilled
from filiation.behaviour.distilled import Setting, swapped_p
from filiation.evidence import Outcome, plain
from tests.behaviour.asker import Law, Scripted
from tests.behaviour.laws import PROMPT_LOGPROBS, Greedy, Scorer, Teacher, binomial_bound

CONTROLS = ("control-1", "control-2")
SCORED = {"suspect": PROMPT_LOGPROBS, "base": PROMPT_LOGPROBS}


def asker(student: Law, base: Law | None = None, **changes: Any) -> Scripted:
    laws = {"suspect": student, "base": base or Scorer(), "teacher": Teacher("t")}
    laws |= {"control-1": Teacher("u"), "control-2": Teacher("v")}
    return Scripted(laws, capabilities=SCORED, **changes)


def setting(**changes: Any) -> Setting:
    return Setting(**{"seed": 5, "base": "base", "controls": CONTROLS, "permutations": 999} | changes)


def texts(student: Greedy, **changes: Any) -> Scripted:
    laws = {
        "suspect": student,
        "base": Greedy(5),
        "teacher": Greedy(1),
        "control-1": Greedy(2),
        "control-2": Greedy(3),
    }
    return Scripted(laws, **changes)


def test_a_student_whose_likelihood_rose_on_the_teachers_answers() -> None:
    found = distilled.run(asker(Scorer(0.3)), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.p == 0.001
    assert found.test.figures["ceiling"] == "trained_on_outputs"
    assert all(effect.low is not None and effect.low > 0.15 for effect in found.test.effect)
    assert found.test.requests == 60 * 9


def test_a_student_that_rose_on_a_controls_answers_as_much_is_not_called_distilled() -> None:
    # Everything rose: that is training, not training on this teacher. A constant shared by all must not count.
    found = distilled.run(asker(Scorer(5.0, "")), setting())
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.smallest_effect is not None
    assert 0.0 < found.test.smallest_effect.value < 0.3
    assert found.test.figures["gain"]["teacher"] > 4.0


def test_the_best_control_counts_not_their_mean() -> None:
    # Control 1 rose as much as the teacher; control 2 not at all, so the mean of the controls is beaten.
    class Both(Scorer):
        def __init__(self) -> None:
            super().__init__(0.3)
            self.word = ("t", "u")  # type: ignore[assignment]

    found = distilled.run(asker(Both()), setting())
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.figures["p_by_control"]["control-2"] <= 0.01


def test_students_of_nobody_are_called_distilled_no_more_often_than_the_level() -> None:
    runs, alpha, wrong = 60, 0.05, 0
    for seed in range(runs):
        chosen = setting(seed=seed, alpha=alpha, prompts=25, permutations=99, controls=("control-1",))
        wrong += distilled.run(asker(Scorer(), seed=seed), chosen).test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)


def test_swapping_within_prompts_keeps_its_level_and_is_never_zero() -> None:
    runs, alpha = 500, 0.05
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=(runs, 30)) * rng.choice([0.1, 10.0], size=(runs, 30))
    rejected = sum(swapped_p(gap, n, 199) <= alpha for n, gap in enumerate(heavy))
    assert binomial_bound(rejected, runs, alpha)
    assert swapped_p(np.ones(40), 0, 199) == 1 / 200
    assert swapped_p(np.zeros(40), 0, 199) == 1.0


@pytest.mark.parametrize("scorer", [Scorer(cut=r"\n\nAnswer:|\s*\S"), Scorer(lost=True), Scorer(cut=r"\S+")])
def test_likelihoods_that_cannot_be_compared_are_not_measured(scorer: Scorer) -> None:
    # Tokens cut otherwise than the base cuts them; a value missing; the place where the answer begins not found.
    base = Scorer() if scorer.cut.pattern != r"\S+" else Scorer(cut=r"\S+")
    found = distilled.run(asker(scorer, base), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "likelihoods_unusable")


def test_tokens_spelt_as_in_a_vocabulary_file_are_understood() -> None:
    student, base = Scorer(0.3), Scorer()
    student.spelling = base.spelling = {" ": "Ġ", "\n": "Ċ"}
    assert distilled.run(asker(student, base), setting()).test.outcome is Outcome.SUPPORTED


def test_text_alone_says_similar_to_and_no_more() -> None:
    found = distilled.run(texts(Greedy(9, parent=Greedy(1), loyalty=0.3)), setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.SUPPORTED, "similar_only")
    assert found.test.figures["ceiling"] == "associated"
    assert found.evidence[0].shows == "similar"
    assert "text_only" in found.evidence[0].cannot_show


def test_without_a_base_the_sides_are_counted_as_they_are() -> None:
    found = distilled.run(texts(Greedy(9, parent=Greedy(1), loyalty=0.3)), setting(base=None))
    assert (found.test.outcome, found.test.reason) == (Outcome.SUPPORTED, "similar_only")
    assert found.test.figures["base"] is None


def test_what_the_base_already_answered_is_no_move() -> None:
    # The base is itself a relative of the teacher and the student is the base: it moved nowhere.
    relative = Greedy(9, parent=Greedy(1), loyalty=0.6)
    played = texts(relative)
    played.laws = {**played.laws, "base": relative}
    found = distilled.run(played, setting())
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, "too_few_answers")


def test_unrelated_texts_are_called_similar_no_more_often_than_the_level() -> None:
    runs, alpha, wrong = 80, 0.05, 0
    for seed in range(runs):
        roles = ("suspect", "base", "teacher", "control-1")
        played = Scripted({role: Greedy(100 * seed + n, words=8) for n, role in enumerate(roles)})
        chosen = setting(seed=seed, words=120, alpha=alpha, controls=("control-1",))
        wrong += distilled.run(played, chosen).test.outcome is Outcome.SUPPORTED
    assert binomial_bound(wrong, runs, alpha)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"controls": ()}, "no_control"),
        ({"teacher": "absent"}, "no_teacher"),
        ({"base": "absent"}, "no_base"),
        ({"controls": ("absent",)}, "endpoint_absent"),
    ],
)
def test_what_cannot_be_asked_is_not_measured(changes: dict[str, Any], reason: str) -> None:
    played = asker(Scorer())
    found = distilled.run(played, setting(**changes))
    assert (found.test.outcome, found.test.reason) == (Outcome.NOT_MEASURED, reason)
    assert not played.asked


def test_the_budget_is_shared_between_asking_teachers_and_scoring() -> None:
    found = distilled.run(asker(Scorer(0.3), requests=300), setting())
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.test.requests <= 300
    assert distilled.run(asker(Scorer(0.3), requests=60), setting()).test.reason == "budget_too_small"


def test_equal_answers_give_equal_records() -> None:
    one, other = (plain(distilled.run(asker(Scorer(0.1), seed=2), setting())) for _ in range(2))
    assert one == other
