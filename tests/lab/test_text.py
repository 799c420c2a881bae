"""The corpus: what is read, what is cut out, and that the splits depend on names alone."""

from __future__ import annotations

import ast
from pathlib import Path

from filiation.lab.text import (
    Document,
    docstrings,
    load_corpus,
    signature_pairs,
    stdlib_modules,
    strip_docstrings,
)

SOURCE = '''"""The docstring of a module, long enough to be kept here."""

import os


def walk(top, *, depth=3):
    """Walk a tree of folders from the top down to a depth.

    More about it.
    """
    return os.walk(top)  # "a string" that stays


class Short:
    """Too short."""
'''


def _library(root: Path) -> Path:
    for name in ("b.py", "a.py", "test/t.py", "pkg/tests/u.py", "pkg/v.py", "_sysconfigdata_x.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SOURCE, encoding="utf-8")
    (root / "broken.py").write_text("def (:\n", encoding="utf-8")
    (root / "latin.py").write_bytes(b"# \xe9\xff\n")
    return root


def test_tests_and_generated_files_are_left_out(tmp_path: Path) -> None:
    names = [path.relative_to(tmp_path).as_posix() for path in stdlib_modules(_library(tmp_path))]
    assert names == ["a.py", "b.py", "broken.py", "latin.py", "pkg/v.py"]


def test_files_that_do_not_parse_are_passed_over(tmp_path: Path) -> None:
    corpus = load_corpus(_library(tmp_path))
    assert {d.name for d in corpus.documents} == {"a.py", "b.py", "pkg/v.py"}
    assert [d.domain for d in corpus.documents] == ["code"] * 3 + ["prose"] * 3


def test_the_domains_share_no_docstring(tmp_path: Path) -> None:
    for document in load_corpus(_library(tmp_path)).documents:
        inside = "long enough to be kept" in document.text
        assert inside == (document.domain == "prose")


def test_docstrings_are_cleaned_and_short_ones_dropped() -> None:
    found = docstrings(ast.parse(SOURCE))
    assert found[0] == "The docstring of a module, long enough to be kept here."
    assert found[1].splitlines()[2] == "More about it."
    assert len(found) == 2


def test_stripping_cuts_docstrings_and_nothing_else() -> None:
    out = strip_docstrings(SOURCE, ast.parse(SOURCE))
    assert '"""' not in out
    assert 'return os.walk(top)  # "a string" that stays' in out
    assert len(out.splitlines()) == len(SOURCE.splitlines()) - 6


def test_pairs_ask_by_signature_and_answer_by_the_first_paragraph() -> None:
    (pair,) = signature_pairs(ast.parse(SOURCE))
    assert pair.prompt == "What does def walk(top, *, depth=3) do?\n"
    assert pair.answer == "Walk a tree of folders from the top down to a depth.\n"


def test_the_split_is_decided_by_the_name_in_the_shares_it_promises() -> None:
    splits = [Document(f"module_{i}.py", "code", "x").split for i in range(3000)]
    assert Document("module_7.py", "prose", "other").split == splits[7]
    assert abs(splits.count("train") / 3000 - 13 / 16) < 0.03
    assert abs(splits.count("tune") / 3000 - 2 / 16) < 0.03
    assert abs(splits.count("held_out") / 3000 - 1 / 16) < 0.03


def test_the_digest_follows_the_text(tmp_path: Path) -> None:
    one = load_corpus(_library(tmp_path)).digest()
    assert load_corpus(tmp_path).digest() == one
    (tmp_path / "a.py").write_text(SOURCE.replace("stays", "goes"), encoding="utf-8")
    assert load_corpus(tmp_path).digest() != one


def test_this_interpreter_brings_enough_of_both_domains() -> None:
    corpus = load_corpus()
    for domain, least in (("prose", 1_000_000), ("code", 4_000_000)):
        for split, part in (("train", 1.0), ("held_out", 0.02)):
            assert sum(map(len, corpus.texts(domain, split))) > least * part
    assert len(corpus.pairs) > 300
    assert any(d.name.startswith("topics/") for d in corpus.documents)
