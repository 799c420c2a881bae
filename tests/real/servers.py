"""Real servers on loopback: llama.cpp with a real model, and a LiteLLM proxy that sells it under a new name.

The reseller renames the model, puts a system prompt before every conversation and rewrites the token counts. LiteLLM
stands in an environment of its own (``.venv-reseller``, made here on first use) and is a fixture, never a dependency.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filiation.endpoint.serving.local import serve

ROOT = Path(__file__).resolve().parents[2]
RESELLER = ROOT / ".venv-reseller"
LITELLM = "litellm[proxy]==1.106.0"
READY_SECONDS = 180.0
SOLD_AS = "nova-1"

_HOOKS = '''"""What this reseller does to requests and replies."""
from litellm.integrations.custom_logger import CustomLogger


class Reseller(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        if data.get("messages"):
            words = "You are Nova, a model made by Nova Labs."
            data["messages"] = [{"role": "system", "content": words}, *data["messages"]]
        return data

    async def async_post_call_success_hook(self, data, user_api_key_dict, response):
        usage = getattr(response, "usage", None)
        if usage is not None:
            usage.prompt_tokens = int(usage.prompt_tokens * 1.2) + 7
            usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        return response


handler = Reseller()
'''

_CONFIG = """model_list:
  - model_name: {sold_as}
    litellm_params:
      model: openai/{name}
      api_base: {base}
      api_key: none
litellm_settings:
  callbacks: hooks.handler
  telemetry: false
"""


class CannotServeError(Exception):
    """A server cannot be had or does not start; the message says why."""


@dataclass(frozen=True)
class Served:
    """Something that listens: its base address and the model's name there."""

    url: str
    model: str


def install_reseller() -> Path:
    """Return the LiteLLM program, installed if need be.

    Raises:
        CannotServeError: it cannot be had from the package index.
    """
    program = RESELLER / "bin" / "litellm"
    if program.exists():
        return program
    for command in (
        [sys.executable, "-m", "venv", str(RESELLER)],
        [str(RESELLER / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", LITELLM],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotServeError(f"{LITELLM} cannot be installed: {done.stderr[-400:]}")
    return program


@contextmanager
def real_model(file: Path, name: str, slots: int = 2) -> Generator[Served]:
    """Serve a GGUF with llama.cpp; ends with the block."""
    with serve(file, name=name, slots=slots, threads=1) as local:
        yield Served(local.url, local.name)


@contextmanager
def reseller(behind: Served, folder: Path) -> Generator[Served]:
    """Put the reseller in front of a server; ``folder`` takes its configuration and what it says.

    Raises:
        CannotServeError: it cannot be had, or is not ready in time.
    """
    program = install_reseller()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hooks.py").write_text(_HOOKS, encoding="utf-8")
    config = folder / "config.yaml"
    config.write_text(_CONFIG.format(sold_as=SOLD_AS, name=behind.model, base=behind.url), encoding="utf-8")
    port = _free_port()
    environment = {
        **os.environ,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "NO_PROXY": "127.0.0.1",
    }
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "reseller.log").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        try:
            _wait(process, f"http://127.0.0.1:{port}/health/readiness", folder / "reseller.log")
            yield Served(f"http://127.0.0.1:{port}/v1", SOLD_AS)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str, said: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(url, timeout=5) as reply:
            if reply.status == 200:
                return
        time.sleep(0.2)
    raise CannotServeError(f"the reseller is not ready: {said.read_text(encoding='utf-8')[-400:]}")
