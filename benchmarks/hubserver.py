"""A loopback server that imitates the Hugging Face hub and its storage, counts what it sends, and fails on demand.

    with HubServer() as server:
        server.add("org/name", {"config.json": BytesFile(b"{}")})
        server.inject(Fault("status", match="config.json", status=429, retry_after="1"))
        ...  # HF_ENDPOINT=server.endpoint
        server.log

Like the real one it answers `api/models`, redirects large files to storage on another site with a link that expires
and that is bound to the range it was asked with, redirects small ones within the hub, refuses gated models with 401
or 403, and sends ranges. Alone it serves 7B-shaped models: `python benchmarks/hubserver.py --port 8100`, with the
count of what was asked under `/-/log`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, quote, unquote, urlsplit

if __package__:
    from benchmarks.hubparts import Fault, Record, Repo, ServedFile
    from benchmarks.synthetic import BytesFile, Shape, Weights, llama
else:  # run as a script
    from hubparts import Fault, Record, Repo, ServedFile
    from synthetic import BytesFile, Shape, Weights, llama

__all__ = ["BytesFile", "Fault", "HubServer", "Record", "Repo", "Shape", "Weights", "add_7b", "llama"]

_CHUNK = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class HubServer:
    """The hub and its storage, each on a port of its own; a context manager."""

    def __init__(self, port: int = 0, *, keep_tokens: bool = True) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.log: list[Record] = []
        self.epoch = 0
        self.stopped = threading.Event()
        self.keep_tokens = keep_tokens
        self._lock = threading.Lock()
        self._hub = _listen(self, _Hub, port)
        self._storage = _listen(self, _Storage, 0)

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT should say."""
        return f"http://127.0.0.1:{self._hub.server_port}"

    @property
    def storage(self) -> str:
        """Where large files are sent from: another host name than the hub's, as for the real one."""
        return f"http://localhost:{self._storage.server_port}"

    @property
    def bytes_sent(self) -> int:
        """Body bytes of all answers."""
        return sum(record.sent for record in self.log)

    def add(self, name: str, files: Mapping[str, ServedFile], **options: Any) -> Repo:
        """Serve a model; `options` are :class:`Repo`'s."""
        commit = options.pop("commit", None) or hashlib.sha1(repr((name, sorted(files))).encode()).hexdigest()
        self.repos[name] = Repo(files, commit, **options)
        return self.repos[name]

    def inject(self, *faults: Fault) -> None:
        """Let these go wrong, in this order where several match."""
        with self._lock:
            self.faults += faults

    def fault(self, method: str, path: str) -> Fault | None:
        """Take the fault that is due for a request."""
        with self._lock:
            for fault in self.faults:
                if fault.match in path and fault.method in ("", method) and fault.times > 0:
                    if fault.skip > 0:
                        fault.skip -= 1
                        return None
                    fault.times -= 1
                    return fault
        return None

    def record(self, record: Record) -> None:
        """Write a request down."""
        with self._lock:
            self.log.append(record)

    def reset(self) -> None:
        """Forget what was asked and what was to go wrong."""
        with self._lock:
            self.log.clear()
            self.faults.clear()

    def expire_links(self) -> None:
        """Let every link to the storage given so far be refused."""
        self.epoch += 1

    def __enter__(self) -> HubServer:
        for server in (self._hub, self._storage):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for server in (self._hub, self._storage):
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up; it has what it wanted."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _listen(hub: HubServer, handler: type[_Handler], port: int) -> _Server:
    server = _Server(("127.0.0.1", port), handler)
    server.hub = hub
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site = ""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; the log is in memory."""

    @property
    def hub(self) -> HubServer:
        return cast(_Server, self.server).hub

    def do_GET(self) -> None:
        """Answer a GET or HEAD."""
        given = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        token = given if self.hub.keep_tokens or given is None else "withheld"
        range_, agent = self.headers.get("range"), self.headers.get("user-agent")
        self.record = Record(self.site, self.command, self.path, range_, token, agent)
        self.fault = self.hub.fault(self.command, self.path)
        self.token = given
        if not self.path.startswith("/-/"):
            self.hub.record(self.record)
        try:
            if self.fault is None or not self._fail(self.fault):
                self.answer(unquote(urlsplit(self.path).path))
        except (BrokenPipeError, ConnectionResetError):  # the client has what it wanted
            self.close_connection = True

    do_HEAD = do_GET

    def answer(self, path: str) -> None:
        raise NotImplementedError

    def _fail(self, fault: Fault) -> bool:
        """Answer with a failure that does not depend on the file; False for the others."""
        if fault.kind == "silent":
            self.hub.stopped.wait(fault.delay)
            self.close_connection = True
        elif fault.kind == "status":
            extra = dict(fault.headers)
            if fault.retry_after is not None:
                extra["Retry-After"] = fault.retry_after
            self.send(fault.status, b"no", extra)
        elif fault.kind == "redirect":
            self.send(302, b"", {"Location": fault.location})
        elif fault.kind == "body":
            self.send(200, fault.body, fault.headers)
        else:
            return False
        return True

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a short answer."""
        self.begin(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.pour(body)

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.record.status = status
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()

    def pour(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.record.sent += len(data)  # before it is sent, so that whoever has it finds it counted
            self.wfile.write(data)

    def send_file(self, file: ServedFile, headers: Mapping[str, str]) -> None:
        """Send a file or the range that was asked for, with whatever is to go wrong on the way."""
        match = _RANGE.fullmatch(self.headers.get("range") or "")
        if match is None or self._wrong("ignore_range"):
            start, stop, extra = 0, file.size, dict[str, str]()
        else:
            start, stop = int(match[1]), min(int(match[2] or file.size) + 1, file.size)
            if start >= file.size:
                self.send(416, b"", {"Content-Range": f"bytes */{file.size}"})
                return
            if short := self._wrong("short"):
                stop = min(stop, start + short.after)
            shift = 1 if self._wrong("wrong_range") else 0
            extra = {"Content-Range": f"bytes {start + shift}-{stop - 1 + shift}/{file.size}"}
        cut = self._wrong("truncate")
        length = min(stop - start, cut.after) if cut else stop - start
        extra |= {"Content-Length": str(length), "Accept-Ranges": "bytes", "ETag": f'"{_etag(file)}"'}
        if self._wrong("changed"):
            extra["ETag"] = '"another"'
        if self._wrong("packed"):
            extra["Content-Encoding"] = "gzip"
        self.begin(206 if "Content-Range" in extra else 200, {**extra, **headers})
        if self.command != "HEAD":
            self._send_body(file, start, start + length)

    def _send_body(self, file: ServedFile, start: int, stop: int) -> None:
        slow, drop = self._wrong("slow"), self._wrong("drop")
        step = max(1, slow.after) if slow else _CHUNK
        end = min(stop, start + drop.after) if drop else stop
        for at in range(start, end, step):
            self.pour(file.read(at, min(at + step, end)))
            if slow and self.hub.stopped.wait(slow.delay):
                break
        if end < stop:
            self.close_connection = True

    def _wrong(self, kind: str) -> Fault | None:
        """Return the fault of this request if it is of a kind."""
        return self.fault if self.fault and kind in self.fault.kind.split("+") else None


class _Hub(_Handler):
    site = "hub"

    def answer(self, path: str) -> None:
        """Answer the API, `resolve`, and plain files under `/files`."""
        if path in ("/-/log", "/-/reset"):
            self._report(path)
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            self._model(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], match[2], match[3])
        elif match := re.fullmatch(r"/api/resolve-cache/models/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            self._small(match[1], match[3])
        elif match := re.fullmatch(r"/files/([^/]+/[^/]+)/(.+)", path):
            self._small(match[1], match[2])
        elif match := re.fullmatch(r"/moved/([^/]+/[^/]+)/(.+)", path):
            self.send(302, b"", {"Location": self._link(match[1], match[2])})
        else:
            self.send(404, b"no such page")

    def _report(self, path: str) -> None:
        log = self.hub.log
        counts = {"requests": len(log), "bytes_sent": self.hub.bytes_sent, "log": [asdict(r) for r in log]}
        if path == "/-/reset":
            self.hub.reset()
        self.send(200, json.dumps(counts).encode())

    def _allowed(self, name: str, *, metadata: bool) -> Repo | None:
        """Return the model, or refuse as the hub does: 401 for what is hidden, 404 only to who is known."""
        repo, known = self.hub.repos.get(name), self.token in self.hub.tokens
        if self.token is not None and not known:
            self.send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repo is None or (repo.private and self.token not in repo.granted):
            self.send(404 if known else 401, b"", {"X-Error-Code": "RepoNotFound"})
        elif repo.gated and not metadata and self.token not in repo.granted:
            self.send(403 if known else 401, b"", {"X-Error-Code": "GatedRepo"})
        else:
            return repo
        return None

    def _model(self, name: str, revision: str | None) -> None:
        repo = self._allowed(name, metadata=True)
        if repo is None:
            return
        if repo.renamed_to is not None:
            self.send(307, b"", {"Location": self.path.replace(name, repo.renamed_to)})
        elif revision not in (None, repo.commit, *repo.branches):
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            blobs = "blobs" in parse_qs(urlsplit(self.path).query)
            siblings = [_sibling(n, file, blobs) for n, file in repo.files.items()]
            answer = {"id": name, "sha": repo.commit, "gated": "manual" if repo.gated else False}
            self.send(200, json.dumps({**answer, "private": repo.private, "siblings": siblings}).encode())

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repo = self._allowed(name, metadata=False)
        if repo is None:
            return
        if revision not in (repo.commit, *repo.branches):
            self.send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif file not in repo.files:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        elif repo.files[file].large:
            served = repo.files[file]
            linked = {"X-Linked-Size": str(served.size), "X-Linked-Etag": f'"{served.sha256}"'}
            location = self._link(name, file)
            self.send(302, b"", {"Location": location, "X-Repo-Commit": repo.commit, **linked})
        else:
            location = f"/api/resolve-cache/models/{name}/{repo.commit}/{quote(file)}"
            self.send(307, b"", {"Location": location, "X-Repo-Commit": repo.commit})

    def _link(self, name: str, file: str) -> str:
        bound = self.headers.get("range")
        signature = f"signature={self.hub.epoch}" + (f"&range={quote(bound)}" if bound else "")
        return f"{self.hub.storage}/{name}/{quote(file)}?{signature}"

    def _small(self, name: str, file: str) -> None:
        repo = self._allowed(name, metadata=False)
        if repo is not None and file in repo.files:
            self.send_file(repo.files[file], {"X-Repo-Commit": repo.commit})
        elif repo is not None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})


class _Storage(_Handler):
    site = "storage"

    def answer(self, path: str) -> None:
        """Send a file if the link's signature holds, and only with the range that it was signed for."""
        query = parse_qs(urlsplit(self.path).query)
        bound = query.get("range", [None])[0]
        match = re.fullmatch(r"/([^/]+/[^/]+)/(.+)", path)
        repo = self.hub.repos.get(match[1]) if match else None
        if query.get("signature") != [str(self.hub.epoch)] or (bound and bound != self.headers.get("range")):
            self.send(403, b"the link has expired")
        elif match is None or repo is None or match[2] not in repo.files:
            self.send(404, b"no such object")
        else:
            self.send_file(repo.files[match[2]], {"Content-Type": "application/octet-stream"})


def _sibling(name: str, file: ServedFile, blobs: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"rfilename": name}
    if blobs:
        entry |= {"size": file.size, "blobId": _git_blob(file)}
        if file.large:
            entry["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 135}
    return entry


def _etag(file: ServedFile) -> str:
    """Return what the hub gives as ETag: the SHA-256 of large files, git's name for small ones."""
    return file.sha256 if file.large else _git_blob(file)


def _git_blob(file: ServedFile) -> str:
    # Large files stand in git as pointers; the digest in the pointer names them as well as the pointer's own would.
    data = file.sha256.encode() if file.large else file.read(0, file.size)
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def add_7b(server: HubServer, shape: Shape | None = None) -> None:
    """Serve `bench/base`, `bench/derived` (base + 5 % noise) and `bench/independent`, all of one shape."""
    server.add("bench/base", llama(1, shape))
    server.add("bench/derived", llama(2, shape, base=Weights(1), noise=0.05))
    server.add("bench/independent", llama(3, shape))


def main() -> None:
    """Serve 7B-shaped models until interrupted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    with HubServer(parser.parse_args().port, keep_tokens=False) as server:
        add_7b(server)
        print(f"HF_ENDPOINT={server.endpoint}", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
