"""A small server for a model of one's own: the OpenAI routes on loopback, one request at a time."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from filiation.endpoint.serving.generate import BadRequestError, Model, answer

_LARGEST = 16 * 1024 * 1024
_ROUTES = {"/v1/chat/completions": True, "/v1/completions": False}


class ModelServer(ThreadingHTTPServer):
    """Serves ``model`` on loopback, on a port that is free."""

    daemon_threads = True

    def __init__(self, model: Model) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model = model
        self.turn = threading.Lock()

    @property
    def host(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: standard output is spoken for."""

    def do_GET(self) -> None:
        """Answer that it is ready."""
        self._reply(200 if self.path == "/health" else 404, {})

    def do_POST(self) -> None:
        """Answer a request."""
        server = cast("ModelServer", self.server)
        is_chat = _ROUTES.get(self.path)
        if is_chat is None:
            self._reply(404, _error("no such route"))
            return
        try:
            body = self._body()
            with server.turn:
                reply = answer(server.model, body, is_chat=is_chat)
        except (BadRequestError, ValueError, KeyError, TypeError) as error:
            self._reply(400, _error(f"{type(error).__name__}: {error}"))
        else:
            self._reply(200, reply)

    def _body(self) -> Mapping[str, Any]:
        size = int(self.headers.get("content-length", "0"))
        if not 0 < size <= _LARGEST:
            self.close_connection = True
            raise BadRequestError("the body is missing or too large")
        body = json.loads(self.rfile.read(size))
        if not isinstance(body, dict):
            raise BadRequestError("the body is no JSON object")
        return cast("Mapping[str, Any]", body)

    def _reply(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


def _error(words: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": "invalid_request_error"}}


def run(model: Model) -> None:
    """Serve in this process until its standard input ends; say the address in one line of JSON."""
    server = ModelServer(model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.write(1, f"\n{json.dumps({'host': server.host})}\n".encode())
    sys.stdin.read()
    server.shutdown()
