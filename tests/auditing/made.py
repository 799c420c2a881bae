"""Small model repositories on disk, written for these tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filiation.source.corpus import build, dump
from tests.source.examples import HEAD, MODEL, YOURS, variant

CARD = """---
license: apache-2.0
base_model: example/Example-1B
---
# Yours

A model.
"""
TOKENS = {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4}


def tokenizer(**added: int) -> str:
    """A small tokenizer.json with added tokens."""
    listed = [{"id": n, "content": token, "special": True} for token, n in added.items()]
    model = {"type": "BPE", "vocab": {**TOKENS, **added}, "merges": ["a b", "b c"]}
    return json.dumps({"version": "1.0", "added_tokens": listed, "model": model, "pre_tokenizer": None})


def config(**values: Any) -> str:
    return json.dumps({"model_type": "yours", "architectures": ["YoursModel"], **values}, indent=1)


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def suspect(root: Path, **more: str | bytes) -> Path:
    """A repository whose code is the reference's after renaming, heads kept, with a card and a tokenizer."""
    files: dict[str, str | bytes] = {
        "README.md": CARD,
        "config.json": config(query_num=96, slice_mode=True, hidden_size=64),
        "tokenizer.json": tokenizer(odd_token=5),
        "modeling_yours.py": YOURS,
    }
    return write(root / "Yours-1B", files | {name.replace("__", "."): text for name, text in more.items()})


def reference(root: Path, **more: str | bytes) -> Path:
    files: dict[str, str | bytes] = {
        "README.md": "---\nlicense: apache-2.0\n---\n# Example\n",
        "config.json": config(query_num=96, slice_mode=True, hidden_size=64, model_type="example"),
        "tokenizer.json": tokenizer(odd_token=5),
        "modeling_example.py": HEAD + MODEL,
    }
    return write(root / "Example-1B", files | {name.replace("__", "."): text for name, text in more.items()})


def corpus(root: Path) -> Path:
    """A corpus file of forty small models that have nothing in common; the shipped one takes ten seconds to index."""
    named = {f"transformers/models/v{n}/modeling_v{n}.py": variant(n).encode() for n in range(40)}
    made = build(
        sorted(named.items()), package="transformers", version="0.1", released="2021-05-01", sha256="0" * 64
    )
    path = root / "transformers-0.1.npz.xz"
    path.write_bytes(dump(made))
    return path
