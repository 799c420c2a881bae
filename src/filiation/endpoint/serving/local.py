"""Start and stop a model of one's own: wait until it is ready, end it with the block that uses it."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filiation.endpoint.client import Endpoint
from filiation.errors import InputError, MissingExtraError, NotFoundError

_TAIL = 600  # characters of what a child said before it died


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is being served.

    Attributes:
        url, name, speaks: its address on loopback, the name to ask for, and the dialect of its server.
        known_as: its file, for log and report.
    """

    url: str
    name: str
    speaks: str
    known_as: str

    def endpoint(self, role: str) -> Endpoint:
        """Return it as an endpoint of a session."""
        return Endpoint(role, self.url, self.name, self.speaks, known_as=self.known_as)


@contextmanager
def serve(
    path: Path,
    *,
    name: str | None = None,
    slots: int = 1,
    context: int = 2048,
    threads: int | None = None,
    patience: float = 300.0,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[LocalModel]:
    """Serve a GGUF file by llama.cpp (extra ``serve``), or a checkpoint folder by torch (extra ``lab``).

    Args:
        slots: requests answered at a time, each with ``context`` tokens.
        patience: seconds until it must be ready.

    Raises:
        NotFoundError: there is no such file. MissingExtraError: the server is not installed.
        InputError: the server ended, or was not ready in time; with what it said.
    """
    if not path.exists():
        raise NotFoundError("The model does not exist.", file=str(path), next_step="Check the path.")
    gguf = path if path.is_file() else next(iter(sorted(path.glob("*.gguf"))), None)
    if gguf is not None:
        _need("xllamacpp", "serve", "A local GGUF as reference")
    else:
        for package in ("torch", "transformers"):
            _need(package, "lab", "A local checkpoint as reference")
    shown = name or path.stem
    settings: dict[str, Any] = {
        "path": str((gguf or path).resolve()),
        "name": shown,
        "slots": slots,
        "context": context,
        "threads": threads or max(1, (os.cpu_count() or 2) // 2),
    }
    module = "filiation.endpoint.serving.gguf" if gguf else "filiation.endpoint.serving.checkpoint"
    with child([sys.executable, "-m", module, json.dumps(settings)], str(path), patience, clock) as host:
        yield LocalModel(f"{host}/v1", shown, "llama-server" if gguf else "local", f"local:{path.name}")


@contextmanager
def child(
    command: Sequence[str], file: str, patience: float, clock: Callable[[], float] = time.monotonic
) -> Generator[str]:
    """Run a server in a child process and yield its address once it is ready."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        try:
            until = clock() + patience
            host = _host(process, said, file, until - clock())
            _wait_until_ready(process, said, file, host, lambda: clock() < until)
            yield host
        finally:
            _end(process)


def _need(package: str, extra: str, feature: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(feature, extra, package)


def _host(process: subprocess.Popen[bytes], said: IO[bytes], file: str, seconds: float) -> str:
    """Return the address that the child says it listens on."""
    found: list[str] = []
    heard = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:  # to the end, or the child would block on a full pipe
            if not found and line.startswith(b'{"host"'):
                found.append(str(json.loads(line)["host"]))
                heard.set()
        heard.set()

    threading.Thread(target=listen, daemon=True).start()
    heard.wait(seconds)
    if not found:
        if heard.is_set():  # its output has ended: so does it, a moment later
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        raise _not_ready(process, said, file)
    return found[0].replace("0.0.0.0", "127.0.0.1")


def _wait_until_ready(
    process: subprocess.Popen[bytes], said: IO[bytes], file: str, host: str, has_time: Callable[[], bool]
) -> None:
    import httpx2

    with httpx2.Client(trust_env=False, timeout=5.0) as client:
        while process.poll() is None and has_time():
            with contextlib.suppress(httpx2.RequestError):
                if client.get(f"{host}/health").status_code == 200:
                    return
            time.sleep(0.05)
    raise _not_ready(process, said, file)


def _not_ready(process: subprocess.Popen[bytes], said: IO[bytes], file: str) -> InputError:
    said.seek(0)
    tail: Any = said.read().decode("utf-8", "replace")[-_TAIL:]
    ended = process.poll()
    what = "was not ready in time" if ended is None else f"ended with exit status {ended}"
    return InputError(
        "A local model could not be served.",
        file=file,
        reason=f"Its server {what}. It said: {' '.join(tail.split()) or 'nothing'}",
        next_step="Check the file, and that the machine has memory for it.",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child by closing its input; one that does not end is killed."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
