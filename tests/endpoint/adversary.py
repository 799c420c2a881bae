"""A scripted server on loopback: an exact law of the next token behind an OpenAI-compatible API, honest or not.

::

    with Adversary(Behaviour(CategoricalLaw(seed=1), ids=True)) as server:
        endpoint = Endpoint("suspect", server.url, "m")

`server.behaviour` may be changed while it runs; `server.seen` holds what it was sent.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from tests.endpoint import faults, shapes
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.generate import Generated, Generator


@dataclass(frozen=True)
class Seen:
    """A request as it came: `connection` is equal for requests on one connection."""

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(repr=False)
    connection: tuple[str, int]


class Adversary:
    """The server; a context manager. `url` is the base address of the OpenAI routes."""

    def __init__(self, behaviour: Behaviour, *, seed: int = 0) -> None:
        self.behaviour = behaviour
        self.generator = Generator(behaviour, seed)
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.adversary = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self.host}/v1"

    def __enter__(self) -> Adversary:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def note(self, seen: Seen) -> faults.Fault | None:
        """Write a request down and return what is to go wrong with it."""
        with self._lock:
            self.seen.append(seen)
            script = list(self.behaviour.faults)
            self.behaviour.faults = script[1:]
            return script[0] if script else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    adversary: Adversary


class _Refused(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    @property
    def _adversary(self) -> Adversary:
        return cast("_Server", self.server).adversary

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, b'{"status": "ok"}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        headers = {k.lower(): v for k, v in self.headers.items()}
        fault = self._adversary.note(Seen(self.path, body, headers, self.client_address))
        try:
            self._answer(body, fault)
        except OSError:
            self.close_connection = True

    def _answer(self, body: Mapping[str, Any], fault: faults.Fault | None) -> None:
        if isinstance(fault, faults.Status):
            self._reply(fault.status, fault.body.encode(), fault.headers)
        elif isinstance(fault, faults.EchoKey):
            words = f"bad request with {self.headers.get('authorization') or self.headers.get('x-api-key')}"
            self._reply(fault.status, json.dumps({"error": {"message": words}}).encode())
        elif isinstance(fault, faults.Drop):
            self._drop()
        elif isinstance(fault, faults.HalfOpen):
            self._adversary.closing.wait()
            self.close_connection = True
        elif isinstance(fault, faults.Loris):
            self._drip(fault)
        elif isinstance(fault, faults.Body):
            self._reply(200, fault.text.encode(), kind=fault.content_type)
        else:
            self._honest(body, fault)

    def _honest(self, body: Mapping[str, Any], fault: faults.Fault | None) -> None:
        b = self._adversary.behaviour
        refused = next((name for name in sorted(b.refuses) if name in body), None)
        too_many = b.refuses_more and _asked(body) > b.most
        if refused is not None or too_many:
            words = f"unsupported parameter: {refused or 'top_logprobs'}"
            self._reply(400, json.dumps({"error": {"message": words, "param": refused}}).encode())
            return
        kept = {
            k: v for k, v in body.items() if k not in b.ignores and (k != "logprob_token_ids" or b.ids_of)
        }
        try:
            reply = self._made(kept)
        except _Refused:
            self._reply(404, b'{"error": {"message": "no such route"}}')
            return
        if (
            b.always_stream
            or (kept.get("stream") and "choices" in reply)
            or isinstance(fault, faults.CutStream)
        ):
            with_usage = bool((kept.get("stream_options") or {}).get("include_usage")) or b.always_stream
            data = shapes.stream_of(
                reply, with_usage=with_usage, whole=not isinstance(fault, faults.CutStream)
            )
            self._reply(200, data, kind="text/event-stream")
            return
        lie = fault.by if isinstance(fault, faults.LyingLength) else 0
        self._reply(200, json.dumps(reply).encode(), lie=lie)
        if isinstance(fault, faults.DropAfter) or lie:
            self._drop()

    def _made(self, body: Mapping[str, Any]) -> dict[str, Any]:
        b = self._adversary.behaviour
        path = self.path.partition("?")[0]
        if path.endswith("/chat/completions") and "chat" in b.routes:
            return shapes.openai_reply(b, body, self._generate(body), is_chat=True)
        if path.endswith("/completions") and "completions" in b.routes and "messages" not in body:
            return shapes.openai_reply(b, body, self._generate(body), is_chat=False)
        if path.endswith("/messages") and "messages" in b.routes:
            return shapes.anthropic_reply(b, body, self._generate(body))
        if path in ("/api/chat", "/api/generate") and "ollama" in b.routes:
            options = {
                **body.get("options", {}),
                "max_tokens": body.get("options", {}).get("num_predict", 16),
            }
            plain = {k: v for k, v in body.items() if k not in ("options", "stream")}
            made = self._generate({**plain, **options})
            return shapes.ollama_reply(b, body, made, is_chat=path == "/api/chat")
        raise _Refused

    def _generate(self, body: Mapping[str, Any]) -> Generated:
        return self._adversary.generator.run(body, context_of(self._adversary.behaviour, body))

    def _reply(
        self,
        status: int,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        kind: str = "application/json",
        lie: int = 0,
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data) + lie))
        if self._adversary.behaviour.cookie is not None:
            self.send_header("set-cookie", self._adversary.behaviour.cookie)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _drip(self, fault: faults.Loris) -> None:
        """Send the beginning of a reply, then a byte now and then until the client has gone."""
        self.close_connection = True
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        self.connection.sendall(
            head + (b"x-drip: " if fault.in_headers else b"content-length: 100000\r\n\r\n")
        )
        while not self._adversary.closing.is_set():
            self.connection.sendall(b" " if not fault.in_headers else b"a")
            time.sleep(fault.interval)


def context_of(behaviour: Behaviour, body: Mapping[str, Any]) -> str:
    """Return the text that a request's law depends on."""
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        words = behaviour.law.vocabulary
        return "".join(words[i % len(words)] for i in prompt)
    if prompt is not None:
        return str(prompt)
    system = f"system: {body['system']}\n" if isinstance(body.get("system"), str) else ""
    return system + "".join(f"{m['role']}: {m['content']}\n" for m in body["messages"]) + "assistant:"


def _asked(body: Mapping[str, Any]) -> int:
    wanted = body.get("top_logprobs", body.get("logprobs", 0))
    if isinstance(wanted, bool) or wanted is None:
        return 0
    return 10**9 if wanted < 0 else int(wanted)
