"""Markdown: the same answer in the same order, with nothing that a model's name could turn into markup."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.evidence import Relation
from filiation.report import renderer
from filiation.report.markdown import safe
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import full_report, hostile_report, verdict_report


def text(report, language: str = "en") -> str:
    return renderer("markdown").render(report, phrases(language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_sections_in_order(language: str) -> None:
    said = phrases(language)
    keys = ("models", "evidence", "layer_map", "inheritance", "happened", "untested", "limits", "reproduce")
    headings = [line[3:] for line in text(full_report(), language).splitlines() if line.startswith("## ")]
    assert headings == [said.say("ui", key) for key in keys]


@pytest.mark.parametrize("relation", list(Relation))
def test_the_answer_comes_first(relation: Relation) -> None:
    lines = text(verdict_report(relation)).splitlines()
    assert lines[0].startswith("# ")
    assert lines[2] == f"**{phrases('en').name('relation', str(relation))}**"


def test_tables_have_one_width() -> None:
    table: list[str] = []
    for line in [*text(hostile_report()).splitlines(), ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table}) == 1
            table = []


@given(st.text(max_size=40))
def test_escaped_text_holds_no_markup(name: str) -> None:
    escaped = safe(name)
    assert "\n" not in escaped
    without = re.sub(r"\\[\\`*_\[\]#|~]|&(lt|gt|amp);|10<sup>−[\d,]+</sup>|10\^\\-", "", escaped)
    assert not re.search(r"[`*_\[\]#|<>~]|@(?!\u200b)", without)


def test_powers_of_ten_are_raised() -> None:
    assert safe("at most 10^-844.") == "at most 10<sup>−844</sup>."


def test_a_hostile_command_stays_in_its_block() -> None:
    block = text(hostile_report()).split("```console\n")[1].split("\n```")[0]
    assert "\n" not in block
    assert "`" not in block
