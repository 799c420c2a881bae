"""The hub client's environment variables, each in a process of its own: they are read when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hubserver import HubServer

from .conftest import TOKEN, small_model

PROGRAM = """
import json
from filiation.checkpoint.sources.hub import open_source
from filiation.errors import FiliationError
try:
    source = open_source("org/name")
    data = source.read("config.json")
    print(json.dumps([source.revision, len(data), source.requests]))
except FiliationError as error:
    print(json.dumps(error.envelope()))
"""


def run(tmp_path: Path, **environment: str) -> object:
    """Open `org/name` and read its config in a process with nothing but these variables set."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}
    clean |= {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=clean | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return json.loads(done.stdout)


def test_endpoint_and_token(server: HubServer, tmp_path: Path) -> None:
    server.tokens.add(TOKEN)
    repo = server.add("org/name", small_model(), private=True, granted=(TOKEN,))
    assert run(tmp_path, HF_ENDPOINT=server.endpoint, HF_TOKEN=TOKEN) == [repo.commit, 23, 3]
    assert {r.token for r in server.log} == {TOKEN}
    server.reset()
    error = run(tmp_path, HF_ENDPOINT=server.endpoint, HF_TOKEN=TOKEN, HF_HUB_DISABLE_IMPLICIT_TOKEN="1")
    assert error["error"]["code"] == "not_found"  # type: ignore[index]
    assert {r.token for r in server.log} == {None}


def test_the_stored_token_of_hf_home(server: HubServer, tmp_path: Path) -> None:
    server.tokens.add(TOKEN)
    server.add("org/name", small_model(), private=True, granted=(TOKEN,))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(TOKEN)
    assert isinstance(run(tmp_path, HF_ENDPOINT=server.endpoint), list)


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline(server: HubServer, tmp_path: Path, variable: str) -> None:
    server.add("org/name", small_model())
    answer = run(tmp_path, HF_ENDPOINT=server.endpoint, **{variable: "1"})
    assert answer["error"]["code"] == "not_found"  # type: ignore[index]
    assert "hf download org/name" in answer["error"]["next_step"]  # type: ignore[index]
    assert server.log == []


def test_offline_with_a_cache_of_ones_own(server: HubServer, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    repo = server.add("org/name", small_model())
    cache = tmp_path / "cache"
    hf_hub_download("org/name", "config.json", cache_dir=cache, endpoint=server.endpoint, token=False)
    server.reset()
    answer = run(tmp_path, HF_ENDPOINT=server.endpoint, HF_HUB_CACHE=str(cache), HF_HUB_OFFLINE="1")
    assert answer == [repo.commit, 23, 0]
    assert server.log == []
