"""The hub client's environment variables, each in a process of its own: they are read when it is imported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from benchmarks.hubserver import Fault, HubServer

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


def environment(tmp_path: Path) -> dict[str, str]:
    """The environment without what the hub client reads, and with a home of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}
    return clean | {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}


def run(tmp_path: Path, **variables: str) -> object:
    """Open `org/name` and read its config in a process with nothing but these variables set."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(tmp_path) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to a child on Windows")
def test_ctrl_c_ends_a_read_that_nobody_answers(server: HubServer, tmp_path: Path) -> None:
    server.add("org/name", small_model())
    server.inject(Fault("silent", match="signature", delay=600, times=100))
    program = """
from filiation.checkpoint.sources.hub import open_source
source = open_source("org/name")
source.prefetch("model.safetensors", [(0, 10), (1_000_000, 1_000_010), (2_000_000, 2_000_010)])
"""
    env = {**environment(tmp_path), "HF_ENDPOINT": server.endpoint, "HF_HUB_DOWNLOAD_TIMEOUT": "600"}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stderr=subprocess.PIPE, text=True
    ) as process:
        while not any(r.site == "storage" for r in server.log):
            assert process.poll() is None
            sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode not in (0, None)
    assert "KeyboardInterrupt" in stderr


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
