"""Claims are read from everywhere they stand, each with its place; hostile files say nothing and break nothing."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation import repository as repositories
from filiation.disclosure import check, claims
from filiation.evidence import Claim
from tests.checkpoint.makers import write_gguf
from tests.disclosure.made import card, repository

MERGE = """models:
  - model: else/barn-7b
    parameters:
      weight: 0.5
  - model: else/shed-7b+else/door-lora
merge_method: ties
base_model: builders/house-7b
"""


def said(found: tuple[Claim, ...]) -> set[tuple[str, str, str | None, int | None]]:
    return {(c.subject, c.text, c.place.file, c.place.line) for c in found}


def test_everywhere() -> None:
    made = repository(
        {
            "README.md": card(
                "Fine-tuned from Qwen2-7B.", license="mit", base_model=["a/b-7b"], datasets=["x/y"]
            ),
            "config.json": json.dumps({"_name_or_path": "a/b-7b", "auto_map": {"A": "m.X"}}, indent=1),
            "adapter_config.json": json.dumps({"base_model_name_or_path": "a/b-7b"}),
            "mergekit_config.yml": MERGE,
            "LICENSE": "MIT License",
            "m.py": "# SPDX-License-Identifier: MIT\n# Copyright (c) 2024 Some Body\n# Modified from n.py\nx = 1\n",
        }
    )
    found = said(claims(made))
    expected = {
        ("license", "mit", "README.md", 2),
        ("base_model", "a/b-7b", "README.md", 4),
        ("datasets", "x/y", "README.md", 6),
        ("prose_parent", "Qwen2-7B", "README.md", 8),
        ("config_name_or_path", "a/b-7b", "config.json", 2),
        ("auto_map", "m.X", "config.json", 4),
        ("adapter_base", "a/b-7b", "adapter_config.json", 1),
        ("merge_parent", "else/barn-7b", "mergekit_config.yml", 2),
        ("merge_parent", "else/shed-7b", "mergekit_config.yml", 5),
        ("merge_parent", "else/door-lora", "mergekit_config.yml", 5),
        ("merge_parent", "builders/house-7b", "mergekit_config.yml", 7),
        ("merge_method", "ties", "mergekit_config.yml", 6),
        ("licence_mention", "mit", "LICENSE", 1),
        ("header_licence", "MIT", "m.py", 1),
        ("header_holder", "Copyright (c) 2024 Some Body", "m.py", 2),
        ("header_changed", "Modified from n.py", "m.py", 3),
        ("repository_name", "Tuned-7B", None, None),
    }
    assert expected <= found, expected - found
    assert all(c.place.digest for c in claims(made) if c.place.file)


def test_gguf_metadata(tmp_path: Path) -> None:
    values = {
        "general.name": "Tuned 7B",
        "general.license": "llama3.1",
        "general.base_model.count": 1,
        "general.base_model.0.name": "Llama 3.1 8B",
        "general.base_model.0.repo_url": "https://huggingface.co/meta-llama/Llama-3.1-8B",
        "general.dataset.0.repo_url": "https://huggingface.co/datasets/x/y",
    }
    write_gguf(tmp_path / "model.gguf", {"token_embd.weight": np.zeros((4, 32), np.float32)}, values=values)
    found = {(c.subject, c.text, c.place.tensor) for c in claims(repositories.open(str(tmp_path)))}
    assert {
        ("gguf_name", "Tuned 7B", "general.name"),
        ("gguf_license", "llama3.1", "general.license"),
        ("gguf_base_model", "meta-llama/Llama-3.1-8B", "general.base_model.0.repo_url"),
        ("gguf_dataset", "x/y", "general.dataset.0.repo_url"),
    } <= found
    names = [r for r in check(repositories.open(str(tmp_path))) if r.id == "L4" and r.owed]
    assert "Tuned 7B" in names[0].said()["names"]


HOSTILE = {
    "deep.json": "[" * 100_000,
    "config.json": "[" * 100_000,
    "adapter_config.json": '{"base_model_name_or_path": ["a", {"b": 1}, null, 3, ["x/y-1"]]}',
    "tokenizer_config.json": '{"auto_map": {"A": ["m.X", null]}, "tokenizer_class": 7}',
    "README.md": b"---\nlicense: \xff\xfe\nbase_model: &a [*a]\n---\n" + b"\xff" * 1000,
    "mergekit_config.yml": "models: *x\n",
    "model.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60),
    "broken.gguf": b"GG",
    "LICENSE": b"\x00\x01\x02" * 5000,
    "NOTICE": "(" * 50_000,
    "m.py": '"""' + "# Copyright " * 20_000,
    "n.py": "def (:\n  \x00",
}


def test_hostile_files_say_nothing_and_break_nothing() -> None:
    made = repository(HOSTILE)
    found = claims(made)
    assert ("adapter_base", "x/y-1") in {(c.subject, c.text) for c in found}
    assert {c.text for c in found if c.subject == "card_problem"} == {"yaml_alias"}
    assert check(made, found)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(HOSTILE)), st.binary(max_size=200)))
def test_any_bytes_under_known_names(files: dict[str, bytes]) -> None:
    made = repository(files)
    assert len({r.id for r in check(made)}) == 16


@pytest.mark.parametrize(
    ("path", "is_licence"),
    [
        ("LICENSE", True),
        ("LICENSE.md", True),
        ("LICENCE.txt", True),
        ("COPYING", True),
        ("LICENSE-MODEL", True),
        ("Tongyi Qianwen LICENSE AGREEMENT", True),
        ("docs/MODEL_LICENSE", True),
        ("license.py", False),
        ("NOTICE", False),
        ("README.md", False),
    ],
)
def test_which_files_are_licences(path: str, is_licence: bool) -> None:
    found = [c for c in claims(repository({path: "MIT License"})) if c.subject.startswith("licence_")]
    assert bool(found) is is_licence


def test_claims_are_the_same_twice() -> None:
    made = repository(HOSTILE)
    assert claims(made) == claims(made)
