"""A reference that counts: its tokenizer is told by its counts, with no file of it at hand."""

from __future__ import annotations

import math

import pytest

from filiation.behaviour import tokenizer
from filiation.behaviour.candidates import shipped_candidates
from filiation.behaviour.records import Found
from filiation.behaviour.tokenizer import Setting
from filiation.evidence import Outcome
from tests.behaviour.asker import Scripted
from tests.behaviour.scripted import PLAIN, TOP_20, Speaking

SHIPPED = {c.name: c for c in shipped_candidates()}
NAMES = sorted(SHIPPED)


def probed(suspect: Speaking, reference: Speaking, *, seed: int = 3, expected: str | None = None) -> Found:
    """Ask both; the reference's own tokenizer is not among the candidates unless it is expected."""
    others = tuple(c for c in SHIPPED.values() if c is not reference.generates or c.name == expected)
    able = {"suspect": TOP_20 if suspect.spells else PLAIN, "reference": PLAIN}
    asker = Scripted({"suspect": suspect, "reference": reference}, able)
    return tokenizer.run(asker, Setting(others, expected=expected, reference="reference", seed=seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [1, 2])
def test_one_tokenizer_on_both_sides_is_supported_by_spelt_tokens_and_counts(name: str, seed: int) -> None:
    found = probed(
        Speaking(SHIPPED[name], spells="text", offset=90), Speaking(SHIPPED[name], offset=12), seed=seed
    )
    assert (found.test.outcome, found.test.reason) == (Outcome.SUPPORTED, None)
    assert found.test.against == "reference"
    assert {e.name: e.value for e in found.test.effect}["beyond_reference"] == 78
    assert found.evidence[0].shows == "spelt_as_reference"
    assert found.test.requests == 26 + 20 + 6


@pytest.mark.parametrize("mine", NAMES)
@pytest.mark.parametrize("theirs", NAMES)
def test_two_tokenizers_are_told_apart(mine: str, theirs: str) -> None:
    if mine == theirs:
        return
    for spells in (None, "text"):
        found = probed(Speaking(SHIPPED[mine], spells=spells), Speaking(SHIPPED[theirs]))
        assert found.test.outcome is Outcome.CONTRADICTED
        assert found.test.against == "reference"


def test_counts_alone_that_go_together_decide_nothing() -> None:
    own = SHIPPED["Qwen 3"]
    found = probed(Speaking(own), Speaking(own))
    assert (found.test.outcome, found.test.reason) == (Outcome.UNDECIDED, "usage_alone")


def test_counts_that_were_multiplied_do_not_outweigh_spelt_tokens() -> None:
    own = SHIPPED["SmolLM2"]
    altered = Speaking(
        own, spells="text", usage=lambda text: math.floor(1.2 * len(own.encode([text])[0])) + 7
    )
    found = probed(altered, Speaking(own))
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.evidence[0].shows == "counted_unlike_reference"


@pytest.mark.parametrize("usage", [lambda text: 40, lambda text: len(text) // 4, lambda text: None])
def test_a_reference_that_does_not_count_says_nothing(usage) -> None:  # type: ignore[no-untyped-def]
    own = SHIPPED["Qwen 3"]
    found = probed(Speaking(own, spells="text"), Speaking(own, usage=usage))
    assert found.test.outcome is Outcome.UNDECIDED
    assert found.test.reason == "no_candidate_fits"
    assert found.test.against is None


def test_a_reference_whose_counts_drift_says_nothing() -> None:
    own = SHIPPED["Qwen 3"]
    found = probed(Speaking(own, spells="text"), Speaking(own, drifts=True))
    assert found.test.against is None


def test_where_the_file_is_at_hand_the_reference_adds_the_hidden_prompt_alone() -> None:
    own = SHIPPED["SmolLM2"]
    found = probed(Speaking(own, spells="ids", offset=75), Speaking(own, offset=30), expected="SmolLM2")
    assert found.test.outcome is Outcome.SUPPORTED
    assert found.evidence[0].shows == "tokenizer_spelt"
    assert {e.name: e.value for e in found.test.effect} == {"offset": 75, "beyond_reference": 45}
