"""What a comparison of two remote 7B-shaped models costs, against a loopback server that makes their bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hubserver import HubServer, add_7b


def table() -> None:
    """Print requests and bytes for a derived and for an independent pair."""
    print("\n## Hub cost: two 7B-shaped remote models (13.5 GB each), bytes made on demand\n")
    print("| pair | relation | log10 e | requests | megabytes sent |")
    print("| --- | --- | --- | --- | --- |")
    with HubServer() as server, tempfile.TemporaryDirectory() as home:
        add_7b(server)
        for name in ("derived", "independent"):
            server.reset()
            report = _compare(f"bench/{name}", "bench/base", HF_ENDPOINT=server.endpoint, HF_HOME=home)
            verdict = report["verdict"]
            print(
                f"| {name} | {verdict['relation']} | {verdict['log10_e']:.1f} | {len(server.log)} | "
                f"{server.bytes_sent / 1e6:.1f} |"
            )


def _compare(suspect: str, candidate: str, **env: str) -> dict[str, dict[str, float]]:
    command = [str(Path(sys.executable).parent / "filiation"), "compare", suspect, candidate, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **env})
    return json.loads(done.stdout)
