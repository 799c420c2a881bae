"""Everything that a result can say has a phrase, in each language, with the placeholders that the result fills."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from filiation.disclosure import NOT_LEGAL_ADVICE, RuleResult, RuleStatus, check, fix
from filiation.disclosure.check import CANNOT_SHOW
from filiation.disclosure.rules import RULES
from tests.disclosure.made import HOUSE_TEXT, card, repository
from tests.disclosure.test_claims import HOSTILE
from tests.disclosure.test_rules import HOUSE, code_parent, weights

FOLDER = files("filiation.report") / "phrases"
LANGUAGES = ("en", "zh-CN")


def tree(language: str) -> Mapping[str, Any]:
    return tomllib.loads((FOLDER / language / "disclosure.toml").read_text(encoding="utf-8"))


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = set(re.findall(r"\{(\w+)\}", value))
    return found


def test_both_languages_have_the_same_keys_and_placeholders() -> None:
    assert flat(tree("en")) == flat(tree("zh-CN"))


def test_fixed_keys() -> None:
    keys = set(flat(tree("en")))
    assert {NOT_LEGAL_ADVICE, *CANNOT_SHOW} <= keys
    assert {f"disclosure.rule.{rule}" for rule in RULES} <= keys
    assert {f"disclosure.status.{status}" for status in RuleStatus} <= keys


def test_every_phrase_of_a_reason_is_used_somewhere() -> None:
    import filiation.disclosure as room

    source = "".join(p.read_text(encoding="utf-8") for p in Path(str(room.__file__)).parent.rglob("*.py"))
    reasons = [
        k.removeprefix("disclosure.reason.") for k in flat(tree("en")) if k.startswith("disclosure.reason.")
    ]
    unused = [r for r in reasons if f'"{r}"' not in source and not r.startswith("name_")]
    assert not unused


def everything() -> list[RuleResult]:
    parents = [
        HOUSE,
        code_parent(),
        weights("nobody/nothing-7b"),
        weights("meta-llama/Llama-3.1-8B"),
        weights("google/gemma-3-4b-it"),
        weights("01-ai/Yi-34B"),
        weights("tiiuae/falcon-11B"),
        weights("CohereForAI/c4ai-command-r-v01"),
    ]
    texts = [
        card(
            license="mit",
            base_model="else/barn",
            datasets=["tatsu-lab/alpaca", "Magpie-Align/Magpie-Pro-300K"],
        ),
        card("Built with House. Fine-tuned from house-7b.", license="other", base_model="builders/house-7b"),
        "",
    ]
    made = [repository({"README.md": t, "config.json": "{}", "LICENSE": HOUSE_TEXT}) for t in texts]
    made += [repository(HOSTILE), repository({})]
    found = [r for m in made for group in ([], *[[p] for p in parents]) for r in check(m, parents=group)]
    assert all(isinstance(left.reason, str) for m in made for left in fix(m, parents=parents).left)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_placeholder_is_filled(house: str, language: str) -> None:
    phrases = tree(language)["disclosure"]["reason"]
    for result in everything():
        text = phrases[result.reason]
        assert set(re.findall(r"\{(\w+)\}", text)) <= set(result.said(language)), result
        assert "{" not in text.format(**result.said(language))
