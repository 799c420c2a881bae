"""The child process that serves a GGUF with llama.cpp: ``python -m filiation.endpoint.serving.gguf SETTINGS``.

It says where it listens in one line of JSON, and ends when its standard input does: with the process that started it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any


def main(settings: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    # By name: the package is an optional one, of compiled code, and has no types.
    llama: Any = importlib.import_module("xllamacpp")
    params = llama.CommonParams()
    params.model.path = settings["path"]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.model_alias = {settings["name"]}
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["context"] * settings["slots"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    server = llama.Server(params)
    said = json.dumps({"host": server.listening_address})
    # llama.cpp writes to standard output too: the line must be found among others.
    os.write(1, f"\n{said}\n".encode())
    sys.stdin.read()
    os._exit(0)  # the server's threads do not end by themselves


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
