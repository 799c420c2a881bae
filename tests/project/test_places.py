"""A new member of a room is one file and one line in a list: nothing else in the package may name it."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path

import pytest

from filiation.origin import TESTS
from tests.project.tree import SOURCE, name, source_files

# "order" and "sign" are also the words for the two kinds of labels, so only the other names are telling.
LABELS = {test.labels for test in TESTS}
NAMED = sorted((test.name, type(test).__module__) for test in TESTS if test.name not in LABELS)


@cache
def named_in(path: Path) -> frozenset[str]:
    """The modules a file imports, and its string constants that are one word."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.add(repr(node.value))
    return frozenset(found)


def places(words: set[str], own: Path) -> list[str]:
    """The other files of the package that name one of ``words``."""
    return [name(p) for p in source_files() if p != own and words & named_in(p)]


def test_places_are_found() -> None:
    listed = named_in(SOURCE / "origin" / "__init__.py")
    assert {type(test).__module__ for test in TESTS} <= listed
    assert len(NAMED) >= 2


@pytest.mark.parametrize(("test", "module"), NAMED)
def test_only_its_own_file_knows_an_exact_test_by_name(test: str, module: str) -> None:
    own = Path(str(importlib.import_module(module).__file__))
    assert places({repr(test)}, own) == []
