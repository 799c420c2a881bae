"""A patch, applied, satisfies what was owed; what files cannot give is left and said."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure import (
    Basis,
    CodeFinding,
    Parent,
    RuleStatus,
    check,
    claims,
    fix,
    from_code,
    patched,
)
from filiation.disclosure import given as given_parent
from filiation.disclosure.headers import is_copyright_line
from filiation.disclosure.model import Parent as Model
from filiation.evidence import Claim, Place
from filiation.repository import Repository
from tests.disclosure.made import HOUSE_TEXT, card, repository

CONFIG = json.dumps({"model_type": "llama", "_name_or_path": "builders/house-7b"}, indent=1)
SOURCE = repository({"LICENSE": HOUSE_TEXT, "README.md": card(license="house-1.0")}, name="house-7b")
PARENT = Parent("builders/house-7b", frozenset({Basis.WEIGHTS}), repository=SOURCE, relation="finetune")


def owed(made: Repository, *parents: Model) -> set[str]:
    return {r.id for r in check(made, parents=parents) if r.owed}


CARDS = [
    "",
    "# Tuned\n\nA model.\n",
    card("# Tuned\n", license="mit"),
    card("# Tuned\n", license="mit", base_model="else/barn-7b", tags=["x", "y"]),
    card("# Tuned\n", license="other", base_model=["builders/house-7b", "builders/house-7b"]),
    "---\nlicense: mit\nbase_model:\n  - else/barn-7b\n  - else/shed-7b\n# a comment\ntags: [a]\n---\nText.\n",
]


@pytest.mark.parametrize("text", CARDS)
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_what_is_owed_is_satisfied_after_the_patch(house: str, text: str, language: str) -> None:
    files = {"config.json": CONFIG, **({"README.md": text} if text else {})}
    made = repository(files, name="Tuned-7B")
    before = owed(made, PARENT)
    assert {"L3", "L4", "L5", "L6"} <= before
    patch = fix(made, parents=[PARENT], language=language)
    after = patched(made, patch)
    left = {r.id for r in check(after, parents=[PARENT]) if r.owed and r.parent != "else/barn-7b"}
    assert left <= {"D1"} if "barn" in text else not left, left
    assert patch.name == "House-Tuned-7B"
    assert {x.rule for x in patch.left} <= {"L4", "L2", "L1"}
    again = fix(after, parents=[PARENT], language=language)
    assert not again.files or "barn" in text


def test_the_name_proposed_keeps_the_name_it_is_published_under(house: str) -> None:
    """A folder's name is none where the caller gave one."""
    made = repository(
        {"config.json": CONFIG, "README.md": card("# Tuned\n", license="mit")}, name="checkout-3"
    )
    said = (Claim("given_name", "Real-7B", Place(file=None)), *claims(made))
    assert fix(made, said, [PARENT]).name == "House-Real-7B"


def test_a_patch_leaves_the_rest_of_the_card_alone(house: str) -> None:
    text = "---\nlicense: mit\ntags: [a, b]   # kept\nwidget:\n- text: hi\n---\n# Title\n\nBody | of | text\n"
    patch = fix(repository({"README.md": text, "config.json": CONFIG}), parents=[PARENT])
    new = patch.files["README.md"]
    assert "tags: [a, b]   # kept\nwidget:\n- text: hi\n" in new
    assert "# Title\n\nBody | of | text\n" in new
    assert text == repository({"README.md": text}).text("README.md")


def test_the_text_of_a_licence_is_not_made_up(house: str) -> None:
    alone = dataclasses.replace(PARENT, repository=None)
    patch = fix(repository({"config.json": CONFIG}), parents=[alone])
    assert "LICENSE" not in patch.files
    assert "disclosure.left.licence_text" in {x.reason for x in patch.left}


def test_code_heads_get_their_lines_back() -> None:
    head = "# Copyright 2023 The House Builders. All rights reserved.\n"
    source = repository({"modeling_house.py": head + "class House: pass\n", "LICENSE": "x"}, name="house")
    finding = CodeFinding("same_after_renaming", "modeling_x.py", "modeling_house.py")
    parent = from_code("house", [finding], "apache-2.0", source)
    made = repository(
        {"modeling_x.py": "#!/usr/bin/env python\n# coding: utf-8\nclass X: pass\n", "README.md": "hi"}
    )
    assert {"L7", "L8"} <= owed(made, parent)
    patch = fix(made, parents=[parent])
    new = patch.files["modeling_x.py"]
    assert new.startswith("#!/usr/bin/env python\n# coding: utf-8\n# ")
    assert not {"L7", "L8", "D3"} & owed(patched(made, patch), parent)
    compile(new, "modeling_x.py", "exec")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_diff_is_one_that_git_applies(house: str, tmp_path: Path) -> None:
    files = {
        "README.md": card("# Tuned", license="mit").rstrip("\n"),
        "config.json": CONFIG,
        "NOTICE": "Ours.",
    }
    made = repository(files)
    for path, text in files.items():
        (tmp_path / path).write_text(text, encoding="utf-8")
    patch = fix(made, parents=[PARENT])
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn"], input=patch.diff.encode(), cwd=tmp_path, check=True
    )
    for path, text in patch.files.items():
        assert (tmp_path / path).read_text(encoding="utf-8") == text


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200))
def test_any_card_can_be_patched(text: str) -> None:
    made = repository({"README.md": text, "config.json": CONFIG})
    parent = Parent("meta-llama/Llama-3.1-8B", frozenset({Basis.WEIGHTS}))
    patch = fix(made, parents=[parent])
    after = {r.id: r for r in check(patched(made, patch), parents=[parent]) if r.parent == parent.name}
    for rule in ("D1", "L3", "L4"):
        assert after[rule].status is RuleStatus.SATISFIED


def test_a_relation_that_nobody_states_is_not_made_up() -> None:
    made = repository({"README.md": "# Ours\n"})
    patch = fix(made, parents=[given_parent("builders/house-7b", licence="apache-2.0")])
    assert "base_model:" in patch.diff
    assert "base_model_relation" not in patch.diff
    assert "fine-tuned" not in patch.diff
    assert "This model is based on" in patch.diff


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("Copyright 2023 The House Builders", True),
        ("(c) 2024 House", True),
        ("© 2024 House", True),
        ("See the copyright notice above (c)", False),
        ("and all of (c) the rest", False),
    ],
)
def test_only_copyright_lines_are_put_back(line: str, kept: bool) -> None:
    assert is_copyright_line(line) is kept
