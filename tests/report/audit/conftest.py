"""Two audits for every renderer: one with findings under each head, and one of a repository made to break a page."""

from __future__ import annotations

import json

import pytest

from filiation.auditing import Audited, Request, examine
from tests.auditing import made

NASTY = "</script><script>alert(1)</script>\u202e`|* [x](https://evil.example) @all \x1b[31m"


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    root = tmp_path_factory.mktemp("audited")
    suspect = made.suspect(root, broken__py="def (:\n" * 60, notes__ipynb="{}")
    reference = made.reference(root)
    against = (str(reference), str(made.corpus(root)))
    return examine(Request(str(suspect), against, parents=("meta-llama/Meta-Llama-3-8B",), corpus=False))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Audited:
    """Names, claims, comments and tokens that would be markup, control characters or links if they could."""
    root = tmp_path_factory.mktemp("hostile")
    card = f"---\nlicense: {json.dumps(NASTY)}\nbase_model: {json.dumps(NASTY)}\n---\nBased on {NASTY}.\n"
    config = json.dumps(
        {"_name_or_path": NASTY, "model_type": NASTY, "auto_map": {"AutoModel": f"{NASTY}.X"}}
    )
    head = f"# Copyright 2024 {NASTY}\n# Copied from {NASTY}\n"
    suspect = made.suspect(root, README__md=card, config__json=config)
    code = head.replace("\u202e", "").replace("\x1b", "") + (suspect / "modeling_yours.py").read_text()
    (suspect / "modeling_yours.py").write_text(code, encoding="utf-8")
    (suspect / "a&b <i>.json").write_text("{}", encoding="utf-8")
    reference = made.reference(root, README__md=card, config__json=config)
    return examine(Request(str(suspect), (str(reference), str(made.corpus(root))), (NASTY,), corpus=False))
