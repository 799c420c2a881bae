"""The relay of the probe's benchmarks: it counts, bounds answers, and sends the share that it was told to elsewhere."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks.probe_proxy import relayed
from tests.real.servers import Served


class _Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = 400 if body.get("refused") else 200
        content = json.dumps({"path": self.path, "body": body}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _echo(model: str) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}/v1", model)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def servers() -> Iterator[tuple[Served, Served]]:
    with ExitStack() as stack:
        yield stack.enter_context(_echo("true")), stack.enter_context(_echo("away"))


def _ask(url: str, **body: Any) -> dict[str, Any]:
    request = urllib.request.Request(f"{url}/completions", json.dumps(body).encode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as reply:
        return json.loads(reply.read())


def test_a_relay_passes_on_what_it_is_asked_and_counts_it(servers: tuple[Served, Served]) -> None:
    with relayed(servers[0]) as relay:
        answers = [_ask(relay.served.url, model="true", max_tokens=9) for _ in range(3)]
    assert answers[0] == {"path": "/v1/completions", "body": {"model": "true", "max_tokens": 9}}
    assert (relay.count, relay.elsewhere) == (3, 0)


def test_a_relay_bounds_answers_only_where_it_is_told_to(servers: tuple[Served, Served]) -> None:
    with relayed(servers[0], longest=4) as relay:
        sizes = [
            _ask(relay.served.url, **asked)["body"]["max_tokens"]
            for asked in ({}, {"max_tokens": 9}, {"max_tokens": 2})
        ]
    assert sizes == [4, 4, 2]


def test_a_share_goes_elsewhere_under_the_other_servers_name(servers: tuple[Served, Served]) -> None:
    true, away = servers
    with relayed(true, other=away, share=0.25, seed=1) as relay:
        models = [_ask(relay.served.url, model="true")["body"]["model"] for _ in range(80)]
    assert models.count("away") == relay.elsewhere
    assert 8 <= relay.elsewhere <= 32
    with relayed(true, other=away, share=1.0) as everything:
        assert _ask(everything.served.url, model="true")["body"]["model"] == "away"


def test_a_refusal_comes_back_as_it_is(servers: tuple[Served, Served]) -> None:
    with relayed(servers[0]) as relay, pytest.raises(urllib.error.HTTPError) as refused:
        _ask(relay.served.url, model="true", refused=True)
    assert refused.value.code == 400
    assert json.loads(refused.value.read())["body"]["refused"] is True
