"""llm-provenance-probe on real tokenizers behind a counting endpoint: ``python -m benchmarks.probe_peer_counts``.

The eleven tokenizers of benchmarks/probe_tokenizers.py, each behind an endpoint that generates nothing and states true
counts plus a fixed offset: what the tool's fingerprint needs, and all that it looks at. It calls a match at 0.75.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.probe_peers import called, installed
from benchmarks.probe_tokenizers import candidates
from filiation.behaviour.candidates import Candidate
from filiation.lab.tables import table

MATCH = 0.75
OFFSET = 37


class Counting(ThreadingHTTPServer):
    """Answers every conversation with an empty text and the number of its last message's tokens."""

    daemon_threads = True

    def __init__(self, candidate: Candidate) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.candidate = candidate


class _Answering(BaseHTTPRequestHandler):
    server: Counting

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (ids,) = self.server.candidate.encode([asked["messages"][-1]["content"]])
        usage = {"prompt_tokens": len(ids) + OFFSET, "completion_tokens": 1}
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "length"}
        content = json.dumps({"model": "counted", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def counting(candidate: Candidate) -> Generator[str]:
    """Serve a tokenizer's counts; gives the address."""
    server = Counting(candidate)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main() -> None:
    """Print which tokenizer the tool calls each of them."""
    python = installed("llm-provenance-probe")
    if python is None:
        print("not run: llm-provenance-probe could not be installed")
        return
    with ExitStack() as stack:
        endpoints = {c.name: stack.enter_context(counting(c)) for c in candidates()}
        found = called("counted-tokenizers", python, {"endpoints": endpoints})
    if "error" in found:
        raise SystemExit(found["error"])
    rows = [
        [name, best, f"{score:.2f}", f"{exact} of {probes}", "match" if score >= MATCH else "-"]
        for name, (best, score, exact, probes) in found.items()
    ]
    print(table(["behind the endpoint", "nearest shipped vector", "score", "equal counts", "called"], rows))


if __name__ == "__main__":
    main()
