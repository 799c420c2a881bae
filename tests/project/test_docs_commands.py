"""What the documents show is what the program prints: their commands and snippets are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from docs._generate import transcripts
from docs._generate.__main__ import pages
from tests.project.test_documents import program
from tests.project.tree import ROOT, name

CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
RUN = [page for page in pages() if any(transcripts.blocks(page.read_text(encoding="utf-8")))]
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
HEX = re.compile(r"\b[0-9a-f]{12,}\b")
#: Another processor adds in another order, and the last digit shown may turn.
TOLERANCE = 0.02


def commands() -> list[tuple[Path, list[str]]]:
    """Every ``$ filiation ...`` of a console block that reads the examples."""
    found: list[tuple[Path, list[str]]] = []
    for page in pages():
        for body in CONSOLE.findall(page.read_text(encoding="utf-8")):
            for line in re.findall(r"^\$ (filiation .*)$", body.replace("\\\n", " "), re.M):
                found.append((page, shlex.split(line, comments=True)[1:]))
    return found


COMMANDS = commands()


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{p.stem}:{' '.join(w)[:60]}" for p, w in COMMANDS]
)
def test_a_command_is_one_that_the_program_takes(page: Path, words: list[str]) -> None:
    """Options exist, choices are choices, arguments are as many as wanted; nothing is run."""
    command: click.Command = program()
    path = "filiation"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{name(page)}: no command {words[0]!r}"
        command, path, words = found, f"{path} {words[0]}", words[1:]
    if "--help" not in words:
        command.make_context(path, list(words))


def test_examples_that_are_named_exist() -> None:
    named = {word for _, words in COMMANDS for word in words if word.startswith("examples/")}
    assert {"examples/models/base", "examples/models/twin"} <= named
    assert not [word for word in named if not (ROOT / word).exists()]


@pytest.mark.parametrize("page", RUN, ids=lambda p: name(p))
def test_what_a_page_shows_is_what_is_printed(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    again, problems = transcripts.rerun(text, tmp_path)
    assert not problems, "\n".join(problems)
    assert alike(text, again), f"{name(page)} is out of date: python -m docs._generate --transcripts"


def alike(old: str, new: str) -> bool:
    """Tell whether two pages differ in nothing but the last digits of numbers."""
    old, new = (HEX.sub("<digest>", text) for text in (old, new))
    if words(old) != words(new):
        return False
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    return all(
        abs(a - b) <= TOLERANCE * max(1.0, abs(a)) + 0.1 for a, b in ((value(x), value(y)) for x, y in pairs)
    )


def words(text: str) -> list[str]:
    return NUMBER.sub("#", text).split()


def value(number: str) -> float:
    return float(number.replace(",", ""))


def test_pages_are_compared_by_words_and_numbers() -> None:
    assert alike("10^-2783, at 0.67", "10^-2784, at 0.68")
    assert not alike("5 of 1,152", "50 of 1,152")
    assert not alike("common origin", "no origin")


def test_a_command_that_ends_otherwise_is_noticed(tmp_path: Path) -> None:
    page = "<!-- run -->\n```console\n$ filiation compare nowhere examples/models/base\n```\n"
    _, problems = transcripts.rerun(page, tmp_path)
    assert len(problems) == 1
    assert "exit code 4, not 0" in problems[0]


def test_a_snippet_that_fails_is_noticed(tmp_path: Path) -> None:
    page = "<!-- python -->\n```python\nraise SystemExit(3)\n```\n\n<!-- output -->\n```text\n```\n"
    _, problems = transcripts.rerun(page, tmp_path)
    assert len(problems) == 1


def test_a_line_that_is_not_printed_is_noticed(tmp_path: Path) -> None:
    page = "<!-- run: start=Nothing -->\n```console\n$ filiation schema\n```\n"
    _, problems = transcripts.rerun(page, tmp_path)
    assert len(problems) == 1
    assert "Nothing" in problems[0]


def test_readme_snippets_are_all_run() -> None:
    """Python in the README and the how-to pages is run, or it is no example."""
    unmarked = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs" / "howto").glob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        marked = {block.start for block in transcripts.blocks(text)}
        for match in re.finditer(r"^```python\n", text, re.M):
            if match.end() not in marked:
                unmarked.append(f"{name(page)}: {text[match.end() : match.end() + 60]!r}")
    assert not unmarked
