"""Every key that the tests of statistics leave in a record is worded, in every language."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import filiation.behaviour
from filiation.report.wording import LANGUAGES, phrases

FOLDER = Path(str(filiation.behaviour.__file__)).parent
MODULES = (
    "asking",
    "controls",
    "derived",
    "distilled",
    "exclusive",
    "mistakes",
    "same_model",
    "same_records",
    "similar",
)
GIVING = {"obstacle", "_missing", "wanting", "_judge"}
KEYWORDS = {"reason", "shows", "cannot_show"}


def constants(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value.isidentifier():
            yield each.value


def keys(module: str) -> set[str]:
    """Strings that are given as reason, shows or cannot_show, assigned to ``reason``, or come with an outcome."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        for each in _givers(node):
            found |= set(constants(each))
    return found - {"text", "likelihood", "right"}


def _givers(node: ast.AST) -> list[ast.expr]:
    """The expressions of a node that become phrase keys."""
    if isinstance(node, ast.keyword):
        return [node.value] if node.arg in KEYWORDS else []
    if isinstance(node, ast.Assign):
        return [node.value] if getattr(node.targets[0], "id", "") == "reason" else []
    if isinstance(node, ast.FunctionDef) and node.name in GIVING:
        returned = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value]
        return returned + [a for n in ast.walk(node) if isinstance(n, ast.Call) for a in n.args]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"as_", "not_measured"}:
        return node.args[1:]
    return []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("module", MODULES)
def test_every_key_has_its_words(module: str, language: str) -> None:
    said = phrases(language)
    found = keys(module) | ({"similar_only"} if module == "similar" else set())
    assert found
    assert not [key for key in sorted(found) if said.find("behaviour", key) is None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_questions_have_their_words(language: str) -> None:
    for module in MODULES:
        for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "applied":
                named = next(iter(constants(node.args[1])), None)
                if named:
                    assert phrases(language).find("behaviour", "question", named)
    assert phrases(language).find("behaviour", "question", "same_model")
