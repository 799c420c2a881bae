"""The documents against the program: commands, options and targets exist; decisions are in form."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tests.project.tree import ROOT, name, project_files

SECTIONS = ("## Status", "## Context", "## Decision", "## Consequences", "## Alternatives")
DOCUMENTS = [p for p in project_files() if p.suffix == ".md"]
DECISIONS = [p for p in DOCUMENTS if p.parent == ROOT / "docs" / "decisions" and p.name != "index.md"]


def test_the_expected_documents_exist() -> None:
    expected = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "AGENTS.md", "docs/index.md"}
    assert expected <= {name(p) for p in DOCUMENTS}


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = [int(p.name[:4]) for p in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", DECISIONS, ids=lambda p: p.stem)
def test_decision_is_in_form(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
    assert lines[0].startswith(f"# {path.name[:4]}. ")
    assert [line for line in lines if line.startswith("## ")] == list(SECTIONS)


def code_lines(path: Path) -> list[str]:
    """Lines of the code blocks of a document, continuation lines joined, the prompt taken off.

    Where a block has prompts, its other lines are what a command printed.
    """
    blocks = re.findall(r"^ *```[^\n]*\n(.*?)^ *```", path.read_text(encoding="utf-8"), re.M | re.S)
    found: list[str] = []
    for block in blocks:
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        prompts = [line for line in lines if line.startswith("$ ")]
        found += [line.removeprefix("$ ") for line in prompts or lines]
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))


def test_make_targets_in_documents_exist() -> None:
    named = {
        (target, name(path))
        for path in DOCUMENTS
        for target in re.findall(r"`make ([a-z-]+)`", path.read_text(encoding="utf-8"))
        + [
            word
            for line in code_lines(path)
            if line.startswith("make ")
            for word in line.split("#")[0].split()[1:]
        ]
        if re.fullmatch(r"[a-z-]+", target)
    }
    assert {"demo", "test", "check"} <= {target for target, _ in named}
    unknown = {pair for pair in named if pair[0] not in make_targets()}
    assert not unknown


def program() -> click.Group:
    from filiation.cli.root import program

    return program


def problem(line: str) -> str | None:
    """What is wrong with a documented command line, or None."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = program()
    path = "filiation"
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        context = click.Context(command)
        found = command.get_command(context, words[0])
        if found is None:
            return f"{line!r}: no command {words[0]!r} in {path}"
        command, path, words = found, f"{path} {words[0]}", words[1:]
    known = {option for p in command.params for option in (*p.opts, *p.secondary_opts)} | {"--help"}
    unknown = [w.split("=")[0] for w in words if w.startswith("-") and w.split("=")[0] not in known]
    return f"{line!r}: {path} has no option {unknown[0]}" if unknown else None


def test_commands_in_documents_exist() -> None:
    lines = [
        (path, line) for path in DOCUMENTS for line in code_lines(path) if re.match(r"filiation [a-z-]", line)
    ]
    assert any(path.name == "README.md" and "filiation compare" in line for path, line in lines)
    problems = [f"{name(path)}: {wrong}" for path, line in lines if (wrong := problem(line))]
    assert not problems
