"""The phrase files: same keys, same placeholders, no accusation, and a raw key where there is no phrase."""

from __future__ import annotations

import ast
import dataclasses
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import likeness, origin
from filiation.anatomy import Geometry, Symmetry
from filiation.derivation.records import KINDS
from filiation.errors import UsageError
from filiation.evidence import Relation, RestsOn, Scale
from filiation.origin.examine import STAGES
from filiation.report.numbers import clean
from filiation.report.wording import LANGUAGES, Phrases, phrases

# Written in pieces, so that this file keeps the rule that it checks.
ENGLISH = (
    "st" + "olen",
    "st" + "eal",
    "th" + "eft",
    "th" + "ief",
    "plag" + "iar",
    "gui" + "lt",
    "fra" + "ud",
    "infr" + "ing",
)
ENGLISH += ("laun" + "der", "pir" + "at", "che" + "at", "cri" + "m", "illeg" + "al", "misapp" + "ropriat")
CHINESE = (
    "剽" + "窃",
    "盗",
    "窃",
    "抄" + "袭",
    "侵" + "权",
    "造" + "假",
    "违" + "法",
    "作" + "弊",
    "嫌" + "疑",
    "洗" + "稿",
    "犯" + "罪",
)


def leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def placeholders(phrase: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None}


EN, ZH = dict(leaves(phrases("en").tree)), dict(leaves(phrases("zh-CN").tree))


def test_both_languages_have_the_same_keys() -> None:
    assert set(EN) == set(ZH)
    assert len(EN) > 400


def test_both_languages_have_the_same_placeholders() -> None:
    assert {k: placeholders(v) for k, v in EN.items()} == {k: placeholders(v) for k, v in ZH.items()}


def test_every_phrase_is_text_and_only_places_may_be_empty() -> None:
    empty = {key for language in (EN, ZH) for key, value in language.items() if not value.strip()}
    assert empty <= {("where", "model"), ("ui", "sentence_join")}


def test_no_phrase_accuses() -> None:
    found = [(k, w) for k, v in EN.items() for w in ENGLISH if re.search(rf"\b{w}", v, re.I)]
    found += [(k, w) for k, v in ZH.items() for w in CHINESE if w in v]
    assert not found


def test_the_chinese_file_is_chinese() -> None:
    words = {key: re.sub(r"\{\w+\}", "", phrase) for key, phrase in EN.items()}
    same = {key for key in EN if EN[key] == ZH[key] and re.search(r"[a-z]{4}", words[key])}
    assert same <= {("ui", "log10_e_ascii"), ("ui", "strength_value")}, sorted(same)
    ascii_marks = {k: v for k, v in ZH.items() if re.search(r"[\u4e00-\u9fff][,;:?!]", v)}
    assert not ascii_marks, "full-width punctuation after Chinese characters"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_enumeration_of_the_code_has_its_phrases(language: str) -> None:
    said = phrases(language)
    wanted = [("relation", str(r), f) for r in Relation for f in ("name", "sentence", "means")]
    wanted += [("derivation", kind, f) for kind in KINDS for f in ("name", "text")]
    wanted += [
        ("test", statistic.name, f)
        for statistic in likeness.STATISTICS
        for f in ("name", "question", "shows")
    ]
    wanted += [("test", str(s), f) for s in Symmetry for f in ("name", "question", "shows")]
    wanted += [("symmetry", str(s)) for s in Symmetry] + [("scale", str(s)) for s in Scale]
    wanted += [("rests_on", str(r)) for r in RestsOn]
    wanted += [("stage", stage, f) for stage in STAGES for f in ("name", "why")]
    sizes = ("d_model", "n_layers", "d_ff", "n_heads", "n_kv_heads", "d_head", "vocab", "n_experts")
    assert set(sizes) <= {f.name for f in dataclasses.fields(Geometry)}
    wanted += [("geometry", size) for size in sizes]
    assert not [path for path in wanted if said.find(*path) is None]


def test_the_bound_is_explained_by_what_it_is_not() -> None:
    assert "not the probability that the finding is wrong" in phrases("en").say("bound", "not_meaning")
    assert "不是“结论有误”的概率" in phrases("zh-CN").say("bound", "not_meaning")


def test_unknown_language_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="en, zh-CN"):
        phrases("fr")


@given(st.text(), st.text())
def test_an_unknown_key_is_shown_as_it_is(section: str, key: str) -> None:
    said = Phrases("en", {})
    assert said.say(section, key, x=1) == clean(key)
    assert said.name(section, key) == clean(key).replace("_", " ")
    assert said.resolve(key, section) is None


def test_missing_values_leave_their_placeholder() -> None:
    said = Phrases("en", {"a": {"b": "{x} of {n}"}})
    assert said.say("a", "b", x=3) == "3 of {n}"


def test_keys_may_be_dotted_paths_or_bare() -> None:
    said = phrases("en")
    assert said.resolve("cannot_show.direction", "limit") == said.find("cannot_show", "direction")
    assert said.resolve("direction_unknown", "limit") == said.find("limit", "direction_unknown")
    assert said.resolve("sampled read", "reason") == said.find("reason", "sampled_read")


def given_reasons() -> set[str]:
    """Every key that the exact tests and the statistics give as the reason why something was not measured."""
    rooms = [Path(room.__path__[0]) for room in (origin, likeness)]
    found: set[str] = set()
    for file in (f for room in rooms for f in room.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.keyword)
                and node.arg == "reason"
                and isinstance(node.value, ast.Constant)
            ):
                found.add(str(node.value.value))
    return found - {"None"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_of_tests_and_statistics_has_words(language: str) -> None:
    reasons, said = given_reasons(), phrases(language)
    assert {"needs_full_read", "kept_for_exact_tests"} <= reasons
    assert not {reason for reason in reasons if said.resolve(reason, "reason") is None}


def ruling_sentences() -> set[str]:
    """Every reason that the anatomy's rulings can give, formatted values replaced by a word."""
    from filiation.anatomy import rulings

    assert rulings.__file__ is not None
    tree = ast.parse(Path(rulings.__file__).read_text(encoding="utf-8"))
    found: set[str] = set()
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.Return) or statement.value is None:
            continue
        for node in ast.walk(statement.value):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "silu" for p in node.values]
                found.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return {
        sentence
        for sentence in found
        if len(sentence.split()) > 1 and not sentence.startswith(("; ", " ", ","))
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_of_the_anatomy_is_reworded(language: str) -> None:
    sentences = ruling_sentences()
    assert len(sentences) > 25
    said = phrases(language)
    unknown = {s for s in sentences if said.reworded(s) is None}
    # The pieces of a formatted sentence are found by themselves too; a whole one holds them.
    unknown = {s for s in unknown if not any(s in whole and s != whole for whole in sentences)}
    assert not unknown, "add them to the section [said] of both phrase files"
