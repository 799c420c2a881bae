"""The terminal: 80 columns in both languages, no colour codes where there is no terminal, every section there."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from filiation.evidence import Relation
from filiation.report import terminal
from filiation.report.flow import Flow, breaks
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import full_report, hostile_report, verdict_report


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("depth", [4, 24, 80])
def test_no_line_is_wider_than_eighty_columns(depth: int, language: str) -> None:
    lines = terminal.render(full_report(depth, depth // 6), phrases(language)).splitlines()
    command = [line for line in lines if "filiation compare" in line]
    assert len(command) == 1  # stays one line, so that it can be copied
    assert not [line for line in lines if cell_len(line) > 80 and line not in command]
    assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("relation", list(Relation))
def test_every_relation_is_said_first(relation: Relation) -> None:
    first = terminal.render(verdict_report(relation), phrases("en")).strip().splitlines()[0]
    assert first == phrases("en").name("relation", str(relation))


def test_everything_a_report_holds_is_said() -> None:
    text = " ".join(terminal.render(full_report(), phrases("en")).split())
    for words in (
        "10^-9423",
        "not the probability that the finding is wrong",
        "96,810 of 97,280",
        "0–11 ↔ 0–11, 12–19 ↔ 16–23",
        "134 of 142 tested parts",
        "Layers dropped, repeated or reordered: The layers follow another path",
        "layers dropped 12–15",
        "There are no experts.",
        "Distillation from a model's outputs",
        "37,748,736",
        "The error rates of this version have not been measured.",
    ):
        assert words in text, words


def coloured(**settings: str) -> str:
    with io.StringIO() as file:
        terminal.show(
            full_report(), phrases("en"), Console(file=file, force_terminal=True, _environ=settings)
        )
        return file.getvalue()


def test_colours_only_for_a_terminal_that_wants_them() -> None:
    colour = re.compile(r"\x1b\[[\d;]*3\dm")
    assert colour.search(coloured(TERM="xterm-256color"))
    assert not colour.search(coloured(TERM="xterm-256color", NO_COLOR="1"))
    assert "\x1b" not in terminal.render(full_report(), phrases("en"))


def test_text_from_the_models_cannot_steer_the_terminal() -> None:
    text = terminal.render(hostile_report(), phrases("en"))
    assert "[bold red]" in text
    assert not set(text) & {"\x1b", "\u202e", "\r", "\x07"}


def test_the_map_is_readable_without_unicode() -> None:
    with io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace") as file:
        terminal.show(full_report(), phrases("en"), Console(file=file, width=80))
        file.flush()
        text = file.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "   0 @@" in text


def test_one_line_names_relation_strength_and_what_happened() -> None:
    line = terminal.one_line(full_report(), phrases("en")).plain
    assert line.startswith("Consistent with common origin  log10 e 9,423  ")
    assert line.endswith("Fine-tuned, Requantised")
    assert "\n" not in line


Mixed = st.text(st.sampled_from("ab 0，。、（）“”一二三四é\u3000-—"), max_size=60)


@given(Mixed, st.integers(4, 40))
def test_breaking_lines_loses_nothing_and_keeps_the_width(text: str, width: int) -> None:
    offsets = breaks(text, width)
    assert offsets == sorted(set(offsets))
    edges = [0, *offsets, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert "".join(pieces) == text
    assert all(cell_len(piece.rstrip()) <= width for piece in pieces)


def test_no_line_begins_with_a_full_stop() -> None:
    console = Console(width=12, file=io.StringIO())
    lines = Flow("两个模型的权重，与“同源”相符。其余部件未见证据。").wrap(console, 12)
    assert len(lines) > 3
    assert not [line.plain for line in lines if line.plain[0] in "，。”"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("width", [50, 60, 100])
def test_a_given_width_is_kept(width: int, language: str) -> None:
    lines = terminal.render(full_report(), phrases(language), width=width).splitlines()
    assert not [line for line in lines if cell_len(line) > width and "filiation compare" not in line]
    assert max(cell_len(line) for line in lines if "filiation compare" not in line) > width - 8


@pytest.mark.parametrize(
    ("given", "wanted"), [("60", 60), ("", 80), ("wide", 80), ("-5", 80), ("7", 40), ("500", 100), ("²", 80)]
)
def test_columns_are_what_the_environment_says(
    given: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert terminal.columns() == wanted
    monkeypatch.delenv("COLUMNS")
    assert terminal.columns() == 80


def test_log10_e_is_explained_right_below_the_evidence() -> None:
    text = " ".join(terminal.render(full_report(), phrases("en")).split())
    assert "at most once in a million pairs of independently trained models" in text
    table, _, rest = text.partition("log10 e: 6 means")
    assert "96,810 of 97,280" in table
    assert "Published similarity statistics" in rest


def test_nothing_found_names_no_bound() -> None:
    report = verdict_report(Relation.NONE_FOUND)
    text = " ".join(
        terminal.render(replace(report, verdict=replace(report.verdict, log10_e=-0.8)), phrases("en")).split()
    )
    assert "none worth naming (log₁₀ e = −0.8; a finding needs 6)" in text
    assert "at most 1" not in text.replace("at most 10", "").partition("Suspect")[0]
    found = verdict_report(Relation.COMMON_ORIGIN)
    assert "that is at most 10^-" in " ".join(terminal.render(found, phrases("en")).split())
