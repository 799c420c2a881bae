"""Claims of own making: which sentences make one, and what stands beside it."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure import (
    Basis,
    Beside,
    CodeFinding,
    Parent,
    RuleResult,
    RuleStatus,
    check,
    fix,
    from_code,
)
from filiation.disclosure import given as told
from filiation.disclosure.ownwork import own_work
from filiation.repository import Repository
from tests.disclosure.made import card, repository

CONFIG = json.dumps({"model_type": "llama", "hidden_size": 64})
CONTRADICTED, CANNOT_TELL = RuleStatus.CONTRADICTED, RuleStatus.CANNOT_TELL

CLAIMING = [
    ("This model was trained entirely from scratch.", ["scratch"]),
    ("It is not based on any other model.", ["scratch"]),
    ("Trained from scratch with our own code.", ["scratch", "own_code"]),
    ("We train Zeta from scratch on 2T tokens.", ["scratch"]),
    ("Unlike Llama 2, this model was trained from scratch.", ["scratch"]),
    ("Zeta models are trained from scratch by Zeta Labs.", ["scratch"]),
    ("Zeta was built from the ground up.", ["own_model"]),
    ("A self-developed large language model.", ["own_model"]),
    ("Zeta is independently developed by Zeta Labs.", ["own_model"]),
    ("We trained our own tokenizer.", ["own_tokenizer"]),
    ("Zeta uses our own tokenizer and was trained from scratch.", ["scratch", "own_tokenizer"]),
    ("It has been trained from scratch on a vast dataset of 2 trillion tokens.", ["scratch"]),
    ("The tokenizer used in the model was trained from scratch by us.", ["own_tokenizer"]),
    ("The tokenizer was trained from scratch.", ["own_tokenizer"]),
    ("A self-developed tokenizer is used.", ["own_tokenizer"]),
    ("Written from scratch.", ["own_code"]),
    ("The code was implemented from scratch by us.", ["own_code"]),
    ("本模型从零开始训练。", ["scratch"]),
    ("完全自主研发的大模型。", ["own_model"]),
    ("采用自研分词器。", ["own_tokenizer"]),
    ("模型代码从零编写。", ["own_code"]),
]
SILENT = [
    "Qwen2.5 was pretrained from scratch on 18T tokens; this model is a fine-tune of it.",
    "BERT was trained from scratch.",
    "The projector was trained from scratch.",
    "It is better than models trained from scratch.",
    "It was not trained from scratch.",
    "Instead of training from scratch we fine-tuned Llama 2.",
    "You can train from scratch with this script.",
    "It can be trained from scratch.",
    "Neither model was trained from scratch (random weights).",
    "No model was trained from scratch.",
    "We didn't train our own tokenizer.",
    "Bring your own tokenizer.",
    "Thanks to the communities, as they reducing the efforts required to build from scratch.",
    "Training a 7B model from scratch costs much.",
    "We use a self-developed training framework.",
    "Our own code model.",
    "Our own data was used.",
    "自研训练框架。",
    "并非从零训练。",
    "| Zeta | trained from scratch | yes |",
    "```\ntrained from scratch\n```",
]


@pytest.mark.parametrize(("text", "kinds"), CLAIMING)
def test_a_sentence_that_claims(text: str, kinds: list[str]) -> None:
    assert [said.kind for said in own_work(text, own=("Zeta-7B",))] == kinds


@pytest.mark.parametrize("text", SILENT)
def test_a_sentence_that_claims_nothing(text: str) -> None:
    assert own_work(text, own=("Zeta-7B",)) == ()


@given(st.text(alphabet="trainedfomsch \n.,我从零训练()|`#", max_size=400))
@settings(max_examples=60, deadline=None)
def test_any_text_is_read(text: str) -> None:
    for said in own_work(text):
        assert said.line >= 1


def test_a_long_line_is_read_in_time() -> None:
    started = time.process_time()
    own_work("trained " * 50_000 + "from scratch")
    assert time.process_time() - started < 20


def made(body: str, **front: str | list[str]) -> Repository:
    return repository({"README.md": card(body, **front), "config.json": CONFIG}, name="Zeta-7B")


def d3(found: Repository, *shown: Parent, beside: tuple[Beside, ...] = ()) -> list[RuleResult]:
    results = [r for r in check(found, findings=shown, beside=beside) if r.id == "D3"]
    return [r for r in results if r.reason.startswith("origin_")]


SCRATCH = "This model was trained from scratch."


def test_weights_speak_against_training_from_scratch() -> None:
    shown = Parent("acme/base-7b", frozenset({Basis.WEIGHTS}))
    (found,) = d3(made(SCRATCH), shown)
    assert (found.status, found.reason, found.parent) == (CONTRADICTED, "origin_weights", "acme/base-7b")
    assert found.said()["said"] == SCRATCH
    assert found.place is not None
    assert (found.place.file, found.place.line) == ("README.md", 3)
    (same,) = d3(made(SCRATCH), dataclasses.replace(shown, relation="identical"))
    assert same.reason == "origin_same_weights"
    assert [r.reason for r in d3(made(SCRATCH), told("acme/base-7b"))] == ["origin_given"]


def test_the_repository_contradicts_itself() -> None:
    (found,) = d3(made(SCRATCH, base_model="acme/base-7b"))
    assert (found.status, found.reason) == (CONTRADICTED, "origin_declared")
    assert found.said()["where"] == "README.md:2"


def test_a_card_carried_over_to_a_quantised_copy_is_no_contradiction() -> None:
    (found,) = d3(made(SCRATCH, base_model="acme/base-7b", base_model_relation="quantized"))
    assert (found.status, found.reason) == (CANNOT_TELL, "origin_of_packed")


def test_a_sentence_that_training_scripts_write_is_no_contradiction() -> None:
    (found,) = d3(made("This model was trained from scratch on the None dataset.", base_model="acme/base-7b"))
    assert (found.status, found.reason) == (CANNOT_TELL, "origin_of_template")


def test_nothing_found_is_said_and_proves_nothing() -> None:
    (found,) = d3(made(SCRATCH))
    assert (found.status, found.reason) == (CANNOT_TELL, "origin_open")


@pytest.mark.parametrize(
    ("relation", "status"),
    [("same", CONTRADICTED), ("reordered", CONTRADICTED), ("extended", CANNOT_TELL), ("pruned", CANNOT_TELL)],
)
def test_an_own_tokenizer_beside_an_equal_one(relation: str, status: RuleStatus) -> None:
    (found,) = d3(made("We trained our own tokenizer."), beside=(Beside("tokenizer", "base", relation),))
    assert (found.status, found.reason, found.parent) == (status, f"origin_tokenizer_{relation}", "base")


@pytest.mark.parametrize("relation", ["retrained", "unrelated", "cannot_tell"])
def test_an_own_tokenizer_beside_another_one(relation: str) -> None:
    (found,) = d3(made("We trained our own tokenizer."), beside=(Beside("tokenizer", "base", relation),))
    assert found.reason == "origin_open"


def test_an_own_tokenizer_that_is_a_published_one() -> None:
    (found,) = d3(made("We trained our own tokenizer."), beside=(Beside("public_tokenizer", "GPT-2"),))
    assert (found.status, found.reason, found.parent) == (CONTRADICTED, "origin_tokenizer_public", "GPT-2")


def test_own_code_beside_matched_code() -> None:
    code = from_code(
        "transformers", [CodeFinding("same_after_renaming", "modeling_z.py", "modeling_llama.py")]
    )
    (found,) = d3(made("Written from scratch."), code)
    assert (found.status, found.reason) == (CONTRADICTED, "origin_code_same_after_renaming")
    (weak,) = d3(made("Written from scratch."), from_code("t", [CodeFinding("refactored", "a.py", "b.py")]))
    assert (weak.status, weak.reason) == (CANNOT_TELL, "origin_code_refactored")


def test_code_tokenizer_and_traces_only_stand_beside_a_claim_on_weights() -> None:
    """Pangu: the code is known to be another's, and that says nothing of how the weights were trained."""
    code = from_code(
        "transformers", [CodeFinding("same_after_renaming", "modeling_z.py", "modeling_llama.py")]
    )
    beside = (Beside("tokenizer", "base", "same"), Beside("traces", "base", count=2))
    found = d3(made(SCRATCH), code, beside=beside)
    assert {r.status for r in found} == {CANNOT_TELL}
    assert [r.reason for r in found] == [
        "origin_beside_code_same_after_renaming",
        "origin_beside_tokenizer_same",
        "origin_beside_traces",
    ]


def test_a_patch_leaves_the_sentence_to_its_author() -> None:
    patch = fix(made(SCRATCH, base_model="acme/base-7b"))
    assert [x.reason for x in patch.left if x.rule == "D3"] == ["disclosure.reason.origin_declared"]
