"""The audit's report for people: the answer in one sentence, every head, both languages, no file's text as markup."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from filiation.auditing import Audited, Request, examine
from filiation.auditing.excerpts import MOST_ROWS, excerpts
from filiation.evidence import to_json
from filiation.report import AUDIT_RENDERERS, renderer
from filiation.report.audit import html, markdown, terminal
from filiation.report.audit.answer import answer
from filiation.report.audit.code import views
from filiation.report.audit.story import RuleRow, tell
from filiation.report.audit.terminal import idle_entries
from filiation.report.audit.words import percent
from filiation.report.custody import custody, now
from filiation.report.wording import LANGUAGES, phrases
from filiation.source import Level
from tests.auditing import made
from tests.report.audit.conftest import NASTY
from tests.report.pages import Page, read
from tests.source.examples import OTHER

HEADS = (
    "answer",
    "examined",
    "traces",
    "tokenizer",
    "code",
    "claims",
    "duties",
    "alternatives",
    "left",
    "limits",
    "reproduce",
)


def page(found: Audited, language: str = "en", *, beside: bool = True) -> Page:
    shown = excerpts(found) if beside else ()
    return read(html.render(found.report, phrases(language), excerpts=shown))


def test_the_answer_is_one_sentence_in_the_words_of_the_case(audited: Audited) -> None:
    said = tell(audited.report, phrases("en")).answer.sentence
    assert said.startswith("modeling_yours.py is, compared with modeling_example.py of Example-1B, ")
    assert "the same after renaming, notices kept, source attributed" in said
    assert said.count(".") == said.count(".py") + 1
    chinese = tell(audited.report, phrases("zh-CN")).answer.sentence
    assert "改名后相同，声明已保留，已注明来源" in chinese


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_and_no_placeholder_is_left(audited: Audited, hostile: Audited, language: str) -> None:
    for found in (audited, hostile):
        text = terminal.render(found.report, phrases(language), width=100)
        assert not re.search(r"\{\w+\}", text.replace(NASTY, ""))
        assert not re.search(r"\b(?:shows|reason|note|not_read|cannot_show|question)\.\w+", text)
        assert not re.search(r"\baudit_\w+|\bdisclosure\.reason|\bsource_\w+_\w+", text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_has_every_head_once_in_order(audited: Audited, language: str) -> None:
    found = page(audited, language)
    ids = [e.attributes.get("id") for e in found.all("section")]
    assert ids == list(HEADS)
    assert found.all("html")[0].attributes["lang"] == language
    assert len(found.all("h1")) == 1


def test_it_says_once_that_it_is_no_legal_advice(audited: Audited) -> None:
    advice = phrases("en").say("disclosure", "not_legal_advice")
    for name in ("terminal", "html", "markdown"):
        text = renderer(name, audited.report.schema).render(audited.report, phrases("en"))
        assert " ".join(re.sub(r"\n> |\n", " ", text).split()).count(advice[:27]) == 1


def test_definitions_stand_beside_one_another_in_short_excerpts(audited: Audited) -> None:
    shown = excerpts(audited)
    assert shown
    assert all(len(e.rows) <= MOST_ROWS for e in shown)
    mine = (audited.suspect.text("modeling_yours.py")).split("\n")
    for row in (row for e in shown for row in e.rows if row.line):
        assert mine[row.line - 1].strip().startswith(row.text.strip())
    assert any(row.equal and row.text.strip() != row.reference_text.strip() for e in shown for row in e.rows)
    text = html.render(audited.report, phrases("en"), excerpts=shown)
    assert 'class="equal"' in text


def test_a_line_that_was_put_into_the_next_is_marked_by_its_renamed_text(audited: Audited) -> None:
    """What only names a value for the next statement is no statement of its own, and still the same line."""
    rows = [row for e in excerpts(audited) for row in e.rows]
    mine = next(row for row in rows if ".ln2(hidden)" in row.text)
    assert ".second_norm(hidden)" in mine.reference_text
    assert mine.equal


def test_code_that_was_compared_with_nothing_is_said_to_be(tmp_path: Path) -> None:
    """No finding is one only where something was looked at."""
    suspect = made.suspect(tmp_path)
    alone = examine(Request(str(suspect), corpus=False)).report
    said = answer(alone, phrases("en"))
    assert "its source code was compared with nothing" in said.sentence
    assert "unrelated" not in said.sentence
    assert ("Source code", "Not compared") in said.heads
    other = made.write(tmp_path / "other", {"modeling_other.py": OTHER})
    beside = answer(examine(Request(str(suspect), (str(other),), corpus=False)).report, phrases("en"))
    assert "without a corpus of public code no more can be told" in beside.sentence


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("level", [Level.REFACTORED, Level.SHARES_ANCESTOR])
def test_what_a_file_holds_of_a_reference_is_said(audited: Audited, level: Level, language: str) -> None:
    (file, *_) = audited.report.source.files
    thin = dataclasses.replace(file, level=level, share=0.2, reverse_share=0.97)
    source = dataclasses.replace(audited.report.source, level=level, files=(thin,))
    report = dataclasses.replace(audited.report, source=source)
    assert percent(0.97) in answer(report, phrases(language)).sentence
    (view,) = views(report, phrases(language))
    assert view.shows == phrases(language).find("shows", f"source_{level}_whole")


def test_without_the_files_positions_stand_there(audited: Audited) -> None:
    text = html.render(audited.report, phrases("en"))
    assert 'class="lines"' not in text
    assert phrases("en").say("audit", "ui", "beside_positions") in text


def test_the_page_asks_for_nothing_and_runs_nothing(audited: Audited, hostile: Audited) -> None:
    for found in (audited, hostile):
        seen = page(found)
        assert not [e for e in seen.elements if e.tag in {"link", "img", "iframe", "object", "form"}]
        assert not [e for e in seen.elements if {"src", "href"} & set(e.attributes) and e.tag != "a"]
        assert [e.attributes.get("href") for e in seen.all("a")] == ["#answer"]
        assert [e.attributes.get("type") for e in seen.all("script")] == ["application/json"]
        data = seen.by_id("filiation-report").text
        assert json.loads(data) == json.loads(to_json(found.report))


def test_nothing_from_a_file_is_markup_or_turns_the_reading(hostile: Audited) -> None:
    text = page(hostile)
    visible = "".join(e.text for e in text.all("main"))
    assert "\u202e" not in visible
    assert "\x1b" not in visible
    written = re.sub(r"```.*?```", "", markdown.render(hostile.report, phrases("en")), flags=re.S)
    assert not re.search(r"(?<!\\)\[x(?<!\\)\]\(", written)
    assert "<script>" not in written
    assert "@all" not in written
    plain = terminal.render(hostile.report, phrases("en"))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", plain)


def test_the_terminal_keeps_its_width(audited: Audited, hostile: Audited) -> None:
    from rich.cells import cell_len

    for found in (audited, hostile):
        for language in LANGUAGES:
            for width in (60, 80):
                text = terminal.render(found.report, phrases(language), width=width)
                lines = [x for x in text.splitlines() if not x.strip().startswith("filiation audit")]
                assert max(cell_len(line) for line in lines) <= width


def test_every_statement_of_the_rules_is_in_the_markdown(audited: Audited) -> None:
    text = markdown.render(audited.report, phrases("en"))
    named = {word for row in re.findall(r"^\| ([DLT][\d, DLT]*) \|", text, re.M) for word in row.split(", ")}
    assert named >= {rule.id for rule in audited.report.rules if rule.owed}


def test_rules_that_say_one_thing_share_a_row_and_nothing_is_said_twenty_times(tmp_path: Path) -> None:
    datasets = "".join(f"- org/set{n}\n" for n in range(20))
    card = f"---\nlicense: mit\ndatasets:\n{datasets}---\n# Yours\n"
    found = examine(Request(str(made.suspect(tmp_path, README__md=card)), parents=("no/body",), corpus=False))
    story = tell(found.report, phrases("en"))
    unknown = [row for row in story.open if "no/body is not known" in row.reason]
    assert [row.id.split(", ")[0] for row in unknown] == ["L2"]
    assert "L6" in unknown[0].id
    told = [row for row in story.open if row.id == "L11"]
    assert len(told) == 4
    assert told[-1].reason.endswith("(and 16 more)")


def test_what_was_left_out_is_told_with_its_reason(audited: Audited) -> None:
    left = tell(audited.report, phrases("en")).left
    files = " ".join(row.files for row in left)
    assert "notes.ipynb" in files
    assert all(row.reason and not row.reason.islower() for row in left)


def test_custody_names_every_input_with_its_digests(audited: Audited) -> None:
    text = to_json(audited.report)
    kept = custody(text, now(), now())
    roles = [i.role for i in kept.inputs]
    assert roles == ["reference", "suspect"]
    files = {f["name"]: f for f in kept.inputs[1].files}
    assert set(files["config.json"]) == {"name", "size", "sha256", "git_id"}
    assert kept.settings == audited.report.command
    assert kept.corpus == audited.report.source.corpus
    assert kept.warnings
    assert len(kept.tool["source_sha256"]) == 64
    shown = html.render(audited.report, phrases("zh-CN"), kept)
    assert kept.lock_sha256 in shown
    assert kept.inputs[0].digest in shown


def test_every_renderer_is_a_module_with_its_name(audited: Audited) -> None:
    for name in AUDIT_RENDERERS:
        found = renderer(name, audited.report.schema)
        assert name == found.NAME
        assert len(found.render(audited.report, phrases("en"))) > 500
    with pytest.raises(ValueError, match="no renderer"):
        renderer("pdf", audited.report.schema)
    with pytest.raises(ValueError, match="no renderer"):
        renderer("sarif")


def test_rules_that_do_not_apply_are_each_named_once_and_with_their_parent_where_told_elsewhere() -> None:
    def row(ident: str, parent: str = "") -> RuleRow:
        return RuleRow(ident, "", "not_applicable", "", "", "", "", parent)

    class Told:
        owed = (row("L4", "a/b"),)
        open = ()
        satisfied = (row("L6, L7", "a/b"),)
        idle = (row("L4", "c/d"), row("L3, L5", "c/d"), row("L3", "e/f"), row("L7", "c/d"))

    assert idle_entries(Told()) == ["L4 (c/d)", "L3", "L5", "L7 (c/d)"]  # type: ignore[arg-type]
