"""Every phrase key that the wings traces and tokenizer give out stands in both languages, placeholders alike."""

from __future__ import annotations

import ast
import re
import string
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import filiation
from filiation.tokenizer import TokenizerRelation
from filiation.traces import KINDS

ROOT = Path(filiation.__file__).parent
SOURCES = {
    "traces": [*(ROOT / "traces").glob("*.py"), *(ROOT / "repository").glob("*.py")],
    "tokenizer": list((ROOT / "tokenizer").glob("*.py")),
}


def phrases(wing: str, language: str) -> dict[str, str]:
    text = (files("filiation.report") / "phrases" / language / f"{wing}.toml").read_text(encoding="utf-8")
    return dict(flat(tomllib.loads(text)))


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def gaps(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("wing", sorted(SOURCES))
def test_both_languages_have_the_same_keys_and_placeholders(wing: str) -> None:
    english, chinese = phrases(wing, "en"), phrases(wing, "zh-CN")
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert gaps(text) == gaps(chinese[key]), key


@pytest.mark.parametrize("wing", sorted(SOURCES))
def test_every_key_in_the_code_has_a_phrase(wing: str) -> None:
    known = phrases(wing, "en")
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCES[wing])
    for key in set(re.findall(r"\"((?:shows|cannot_show)\.\w+)\"", code)):
        assert key in known, key
    if wing == "traces":
        for note in noted():
            assert f"note.{note}" in known, note


def noted() -> set[str]:
    """The keys of the notes that the rooms repository and traces write: pairs of a path and a key."""
    found = {"history_incomplete"}
    for path in SOURCES["traces"]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2 and path.parent.name == "repository":
                second = node.elts[1]
                if isinstance(second, ast.Constant) and isinstance(second.value, str) and "_" in second.value:
                    found.add(second.value)
    assert {"history_elsewhere", "listing_incomplete", "unsafe_name"} <= found
    return found - {"git_id"}


def test_every_kind_and_every_relation_has_its_phrases() -> None:
    known = phrases("traces", "en")
    for kind in KINDS:
        assert {f"test.{kind}.name", f"test.{kind}.question", f"question.{kind}"} <= known.keys()
    known = phrases("tokenizer", "en")
    for relation in TokenizerRelation:
        assert f"tokenizer.relation.{relation}" in known
        assert relation is TokenizerRelation.CANNOT_TELL or f"shows.tokenizer_{relation}" in known


@pytest.mark.parametrize("wing", sorted(SOURCES))
def test_no_phrase_accuses(wing: str) -> None:
    for text in phrases(wing, "en").values():
        assert not re.search(
            r"\b(stole|stolen|theft|plagiari|copied from|guilty|cheat|fraud)", text.lower()
        ), text
