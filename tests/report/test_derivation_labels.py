"""Every number that a derivation can carry has a label a reader understands, in every language."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import filiation.derivation
from filiation.report.wording import LANGUAGES, phrases

SOURCES = sorted(Path(filiation.derivation.__file__).parent.glob("*.py"))
#: Keys of mappings inside the room that never get into a record: weights of an attention layer by role, labels by
#: what they speak of, numpy types; and what stands for a layer's number where an order is of none.
INTERNAL = {"q", "k", "v", "o", "F16", "F32", "F64", "all"}


def inside_functions(tree: ast.Module) -> list[ast.AST]:
    """What functions are made of: tables of a module name kinds and roles, not numbers."""
    return [
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    ]


def keys() -> set[str]:
    """Every text that is the key of a mapping which is written or added to in the room's functions."""
    found: set[str] = set()
    for source in SOURCES:
        for node in inside_functions(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                written = [key for key in node.keys if key is not None]
            elif isinstance(node, ast.DictComp):
                written = list(ast.walk(node.key))
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                written = [node.slice]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
                found |= {keyword.arg for keyword in node.keywords if keyword.arg}
                continue
            else:
                continue
            found |= {k.value for k in written if isinstance(k, ast.Constant) and isinstance(k.value, str)}
    return found - INTERNAL


def settings_keys() -> set[str]:
    """Keys of a configuration, which a change of settings lists under their own labels."""
    return {"hidden_act", "tie_word_embeddings"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_of_a_derivation_has_a_label(language: str) -> None:
    said = phrases(language)
    wanted = keys() - settings_keys()
    assert {
        "agreement",
        "largest_entry",
        "hadamard",
        "white",
        "looked_at",
        "order_sha256",
        "kept_sha256",
    } <= wanted
    missing = [k for k in sorted(wanted) if not said.find("number", k)]
    assert not missing


def whats() -> set[str]:
    """Every text that stands under a key whose value is a word: what was permuted, how, chosen by what."""
    found: set[str] = set()
    for source in SOURCES:
        for node in inside_functions(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value in {
                        "what",
                        "by",
                        "from",
                        "change",
                        "beneath",
                    }:
                        words = [v for v in ast.walk(value) if not isinstance(value, ast.Dict)]
                        found |= {
                            w.value
                            for w in words
                            if isinstance(w, ast.Constant)
                            and isinstance(w.value, str)
                            and w.value != "values"
                        }
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_a_derivation_is_worded(language: str) -> None:
    said = phrases(language)
    missing = [
        w for w in sorted(whats()) if not (said.find("value", w) or said.find("derivation", w, "name"))
    ]
    assert not missing
