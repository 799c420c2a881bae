"""The verdict over an endpoint's tests: two kinds of signal or no relation of weights."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.behaviour.records import ProbeTest
from filiation.evidence import Outcome, ProbeRelation
from filiation.probing.verdict import SIMILAR_ONLY, judge

NAMES = (
    "same_model",
    "tokenizer",
    "output_layer",
    "derived",
    "distilled",
    "exclusive_data",
    "shared_mistakes",
    "identity",
)
WEIGHTS = {ProbeRelation.SAME_WEIGHTS, ProbeRelation.DERIVATIVE}
S, C, U, N = Outcome.SUPPORTED, Outcome.CONTRADICTED, Outcome.UNDECIDED, Outcome.NOT_MEASURED


def found(name: str, outcome: Outcome, against: str | None = "m", **fields: object) -> ProbeTest:
    return ProbeTest(name, f"behaviour.{name}", outcome, against=against, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcomes", "relation"),
    [
        ({"same_model": S, "output_layer": S}, ProbeRelation.SAME_WEIGHTS),
        ({"same_model": S, "tokenizer": S}, ProbeRelation.SAME_WEIGHTS),
        ({"same_model": S, "tokenizer": S, "output_layer": C}, ProbeRelation.ASSOCIATED),
        ({"same_model": S}, ProbeRelation.ASSOCIATED),
        ({"same_model": S, "tokenizer": C, "output_layer": S}, ProbeRelation.ASSOCIATED),
        ({"same_model": C, "derived": S, "tokenizer": S}, ProbeRelation.ASSOCIATED),
        ({"same_model": C, "derived": S, "output_layer": S}, ProbeRelation.DERIVATIVE),
        ({"exclusive_data": S, "output_layer": S}, ProbeRelation.DERIVATIVE),
        ({"derived": S, "exclusive_data": S}, ProbeRelation.DERIVATIVE),
        ({"derived": S, "tokenizer": C, "exclusive_data": S}, ProbeRelation.ASSOCIATED),
        ({"output_layer": S, "tokenizer": S}, ProbeRelation.ASSOCIATED),
        ({"derived": S}, ProbeRelation.ASSOCIATED),
        ({"distilled": S}, ProbeRelation.TRAINED_ON_OUTPUTS),
        ({"exclusive_data": S}, ProbeRelation.ASSOCIATED),
        ({"shared_mistakes": S}, ProbeRelation.ASSOCIATED),
        ({"same_model": C, "tokenizer": S}, ProbeRelation.DIFFERENT),
        ({"tokenizer": S}, ProbeRelation.NONE_FOUND),
        ({"same_model": U, "derived": U}, ProbeRelation.NONE_FOUND),
        ({"same_model": N, "derived": N}, ProbeRelation.CANNOT_TEST),
        ({"identity": S}, ProbeRelation.CANNOT_TEST),
        ({}, ProbeRelation.CANNOT_TEST),
    ],
)
def test_relation(outcomes: dict[str, Outcome], relation: ProbeRelation) -> None:
    assert judge([found(name, outcome) for name, outcome in outcomes.items()]).relation is relation


def test_likeness_of_texts_is_no_training_on_outputs() -> None:
    verdict = judge([found("distilled", S, reason=SIMILAR_ONLY, p=1e-30)])
    assert verdict.relation is ProbeRelation.ASSOCIATED


def test_tests_about_two_models_do_not_add_up() -> None:
    tests = [found("derived", S, "parent"), found("output_layer", S, "candidate")]
    assert judge(tests).relation is ProbeRelation.ASSOCIATED
    assert judge(tests, {"parent": "sha256:1", "candidate": "sha256:1"}).relation is ProbeRelation.DERIVATIVE
    assert judge(tests, {"parent": "sha256:1", "candidate": "sha256:2"}).relation is ProbeRelation.ASSOCIATED


def test_the_numbers_are_the_weakest_of_what_it_rests_on() -> None:
    verdict = judge(
        [
            found("same_model", C, p=1e-300, log10_e=50.0),
            found("derived", S, p=1e-9),
            found("exclusive_data", S, p=1e-4),
        ]
    )
    assert verdict.relation is ProbeRelation.DERIVATIVE
    assert verdict.rests_on == ("derived", "exclusive_data")
    assert verdict.p == 1e-4
    assert verdict.log10_e is None


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([U, N, C])), st.sampled_from(NAMES))
def test_one_supported_test_never_makes_a_relation_of_weights(others: dict[str, Outcome], one: str) -> None:
    tests = [found(name, outcome) for name, outcome in {**others, one: S}.items()]
    assert judge(tests).relation not in WEIGHTS


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(list(Outcome))))
def test_what_a_model_says_of_itself_changes_nothing(outcomes: dict[str, Outcome]) -> None:
    silent = [found(name, outcome) for name, outcome in outcomes.items() if name != "identity"]
    for outcome in Outcome:
        assert judge([*silent, found("identity", outcome)]) == judge(silent)


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(list(Outcome))))
def test_a_contradicting_tokenizer_never_leaves_a_relation_of_weights(outcomes: dict[str, Outcome]) -> None:
    tests = [found(name, outcome) for name, outcome in {**outcomes, "tokenizer": C}.items()]
    assert judge(tests).relation not in WEIGHTS


@given(
    st.permutations(
        [
            found("same_model", C, "a"),
            found("derived", S, "b"),
            found("output_layer", S, "b"),
            found("distilled", S, "c"),
        ]
    )
)
def test_the_order_of_the_tests_does_not_matter(tests: list[ProbeTest]) -> None:
    assert judge(tests).relation is ProbeRelation.DERIVATIVE


def test_agreement_and_tokenizer_are_what_two_models_of_one_recipe_share() -> None:
    tests = [found("derived", S, p=1e-9), found("tokenizer", S)]
    assert judge(tests).relation is ProbeRelation.ASSOCIATED
    assert judge(tests).reasons == ("no_sibling_control",)
    assert judge(tests, has_sibling=True).relation is ProbeRelation.DERIVATIVE


@given(
    st.dictionaries(st.sampled_from(("output_layer", "tokenizer", "identity", "shared_mistakes")), st.just(S))
)
def test_what_can_be_taken_over_without_the_model_makes_no_relation_of_weights(
    outcomes: dict[str, Outcome],
) -> None:
    tests = [found(name, outcome) for name, outcome in outcomes.items()]
    assert judge(tests, has_sibling=True).relation not in WEIGHTS


def test_a_shared_layer_beside_answers_that_differ_says_both() -> None:
    # What a proxy shows that has requests for log-probabilities answered by the model that it is to look like.
    verdict = judge([found("output_layer", S), found("tokenizer", S), found("same_model", C)])
    assert verdict.relation is ProbeRelation.ASSOCIATED
    assert "answers_contradict" in verdict.reasons
    assert "answers_contradict" not in judge([found("output_layer", S), found("same_model", U)]).reasons
