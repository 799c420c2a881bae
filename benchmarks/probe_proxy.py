"""A small relay on loopback before a real server: it counts, may bound answers, and may send a share elsewhere.

Nothing else is changed: what the server says comes back as it is. ``model`` is rewritten for the server that is asked,
so that a client sees one name whoever answers, as behind a reseller.
"""

from __future__ import annotations

import json
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.real.servers import Served


class Relay(ThreadingHTTPServer):
    """Passes requests on and counts those that ask for an answer.

    Attributes:
        count, elsewhere: requests passed on, and how many of them went to the other server.
    """

    daemon_threads = True

    def __init__(
        self,
        behind: Served,
        *,
        longest: int | None = None,
        other: Served | None = None,
        share: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Stand before a server.

        Args:
            behind: who answers.
            longest: the most tokens of an answer; ``None``: as many as are asked for.
            other: who answers a share of the requests in its place, drawn from ``seed``.
            share: how large that share is, 0 to 1.
        """
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind, self.longest, self.other, self.share = behind, longest, other, share
        self.count = self.elsewhere = 0
        self._draw = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def served(self) -> Served:
        """What a client is to ask."""
        return Served(f"http://127.0.0.1:{self.server_port}/v1", self.behind.model)

    def chosen(self) -> Served:
        """Return who is to answer the next request, and count it."""
        with self._lock:
            self.count += 1
            if self.other is None or self._draw.random() >= self.share:
                return self.behind
            self.elsewhere += 1
            return self.other


class _Passing(BaseHTTPRequestHandler):
    wbufsize = -1

    @property
    def _relay(self) -> Relay:
        return cast("Relay", self.server)

    def do_GET(self) -> None:
        self._pass(self._relay.behind, None)

    def do_POST(self) -> None:
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked, longest = self._relay.chosen(), self._relay.longest
        if longest is not None:
            body["max_tokens"] = min(body.get("max_tokens") or longest, longest)
        if body.get("model") == self._relay.behind.model:
            body["model"] = asked.model
        self._pass(asked, json.dumps(body).encode())

    def _pass(self, asked: Served, body: bytes | None) -> None:
        url = asked.url.removesuffix("/v1") + self.path
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=600) as reply:
                status, kind, content = reply.status, reply.headers["Content-Type"], reply.read()
        except urllib.error.HTTPError as error:
            status, kind, content = error.code, error.headers["Content-Type"], error.read()
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind or "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # whoever asked has gone: a tool that ran out of its time

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def relayed(
    behind: Served,
    *,
    longest: int | None = None,
    other: Served | None = None,
    share: float = 0.0,
    seed: int = 0,
) -> Generator[Relay]:
    """Put a :class:`Relay` before a server for as long as the block lasts."""
    relay = Relay(behind, longest=longest, other=other, share=share, seed=seed)
    thread = threading.Thread(target=relay.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield relay
    finally:
        relay.shutdown()
        thread.join()
        relay.server_close()
