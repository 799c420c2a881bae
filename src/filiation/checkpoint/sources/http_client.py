"""HTTP for remote sources: reads that survive a throttling, dropping or lying server, and end clearly when they cannot.

Nothing is sent but the requests that are asked for. A token goes to the site it belongs to, never to where that site
redirects, and never into a message. Request and byte counts are of response bodies as they came over the wire.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from filiation._version import __version__
from filiation.checkpoint.sources.http_link import Link, may_carry_token
from filiation.checkpoint.sources.http_retry import Alive, Patience, TransientError, Trial, check
from filiation.checkpoint.sources.ranges import Piece
from filiation.errors import CorruptCheckpointError, NetworkError

if TYPE_CHECKING:
    import httpx2

WHOLE = 8 * 1024 * 1024
"""A server that ignores ranges is put up with as far as this into a file."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSAL = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one state of a file from another: its size, its strong ETag, or else its modification time."""

    total: int | None
    etag: str | None = None
    modified: str | None = None

    def contradicts(self, other: Version) -> bool:
        """True if both know something and it differs."""
        if self.total is not None and other.total is not None and self.total != other.total:
            return True
        if self.etag is not None and other.etag is not None:
            return self.etag != other.etag
        return self.modified is not None and other.modified is not None and self.modified != other.modified


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a chain of redirects."""

    link: Link
    status: int
    headers: Mapping[str, str]


class HttpClient:
    """Sends requests, counts them, and tries again where that may help.

    Args:
        trusted: host names to which a redirect may carry the token (the hub under its other names).
    """

    def __init__(
        self,
        patience: Patience | None = None,
        *,
        trusted: frozenset[str] = frozenset(),
    ) -> None:
        import httpx2

        self.patience = patience or Patience()
        self.trusted = trusted
        self.requests = 0
        self.bytes_received = 0
        self._lock = threading.Lock()
        # A proxy for the outside must not be asked for this machine.
        direct: dict[str, httpx2.BaseTransport | None] = {
            "all://localhost": None,
            "all://127.0.0.1": None,
            "all://[::1]": None,
        }
        self._client = httpx2.Client(
            headers={"user-agent": f"filiation/{__version__}"},
            follow_redirects=False,
            timeout=httpx2.Timeout(self.patience.silence, connect=self.patience.connect),
            verify=_certificates(),
            mounts=direct,
        )

    def head(self, link: Link) -> Answer:
        """Follow redirects as long as they stay on trusted sites; the last one is returned, not visited."""
        return Trial(self.patience, link).run(lambda _: self._head(link))

    def document(self, link: Link, limit: int, accept: str = "application/json") -> bytes:
        """Return a whole small document, unpacked.

        Raises:
            StatusError: refused. NetworkError: not to be had, or larger than ``limit`` bytes.
        """
        return Trial(self.patience, link).run(lambda alive: self._document(link, limit, accept, alive))

    def read_range(
        self, link: Link, start: int, stop: int, expected: Version | None = None
    ) -> tuple[Piece, Version, Link]:
        """Return bytes ``start:stop`` of a file, its version, and where in the end they came from.

        The piece may be longer when the server ignores ranges, and shorter when the file ends before ``stop``.

        Raises:
            StatusError: refused. NetworkError: after the tries, or the file is not ``expected`` any more.
            CorruptCheckpointError: the file ends before ``start``.
        """
        transfer = _Transfer(self, link, start, stop, expected)
        return Trial(self.patience, link, transfer.held, stop - start).run(transfer.attempt)

    @contextmanager
    def send(self, method: str, link: Link, headers: Mapping[str, str]) -> Generator[httpx2.Response]:
        """Send one request and yield the response; the body of a success is still to be read."""
        if link.token is not None and may_carry_token(link):
            headers = {**headers, "authorization": f"Bearer {link.token}"}
        with self._lock:
            self.requests += 1
        with self._client.stream(method, link.url, headers=headers) as response:
            if response.status_code >= 300:
                self._drain(response)
            yield response

    def _drain(self, response: httpx2.Response) -> None:
        """Read the few words that come with a refusal, so that the connection can be used again."""
        for chunk in response.iter_raw():
            self.count(len(chunk))
            if response.num_bytes_downloaded > _REFUSAL:
                return

    def count(self, n: int) -> None:
        """Add ``n`` body bytes to the bill."""
        with self._lock:
            self.bytes_received += n

    def _head(self, link: Link) -> Answer:
        for _ in range(6):
            with self.send("HEAD", link, {"accept-encoding": "identity"}) as response:
                status, headers = response.status_code, response.headers
            if status not in _REDIRECTS:
                check(link, status, headers)
                return Answer(link, status, headers)
            target = link.redirected(headers.get("location", ""), self.trusted)
            if not link.shares_site(target, self.trusted):
                return Answer(target, status, headers)
            link = target
        raise too_many_redirects(link)

    def _document(self, link: Link, limit: int, accept: str, alive: Alive) -> bytes:
        for _ in range(6):
            with self.send("GET", link, {"accept": accept}) as response:
                if response.status_code not in _REDIRECTS:
                    check(link, response.status_code, response.headers)
                    return self._unpack(link, response, limit, alive)
            link = link.redirected(response.headers.get("location", ""), self.trusted)
        raise too_many_redirects(link)

    def _unpack(self, link: Link, response: httpx2.Response, limit: int, alive: Alive) -> bytes:
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                alive()
                body += chunk
                if len(body) > limit:
                    raise NetworkError(
                        "A server's answer is too large.",
                        file=str(link),
                        reason=f"More than {limit:,} bytes came where a short document was expected.",
                        next_step="Check that HF_ENDPOINT points to a Hugging Face compatible server.",
                    )
        finally:
            self.count(response.num_bytes_downloaded)
        return bytes(body)


class _Transfer:
    """One range, on its way: what has come so far, over as many connections as it takes."""

    def __init__(
        self, client: HttpClient, link: Link, start: int, stop: int, expected: Version | None
    ) -> None:
        self._client = client
        self._link = link
        self._start = start
        self._stop = stop
        self._expected = expected
        self.held = bytearray()

    def attempt(self, alive: Alive) -> tuple[Piece, Version, Link]:
        """Ask for what is missing; a new connection goes on where the last one ended."""
        for _ in range(6):
            offset = self._start + len(self.held)
            ask = {"range": f"bytes={offset}-{self._stop - 1}", "accept-encoding": "identity"}
            with self._client.send("GET", self._link, ask) as response:
                if response.status_code not in _REDIRECTS:
                    return self._receive(response, offset, alive)
            self._link = self._link.redirected(response.headers.get("location", ""), self._client.trusted)
        raise too_many_redirects(self._link)

    def _receive(self, response: httpx2.Response, offset: int, alive: Alive) -> tuple[Piece, Version, Link]:
        if response.status_code == 416:
            raise self._ends_early(response)
        check(self._link, response.status_code, response.headers)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise NetworkError(
                "A server packs the bytes of a range.",
                file=str(self._link),
                reason=f"It answers with Content-Encoding {response.headers['content-encoding']!r}, asked not to.",
                next_step="Download the file and pass its path.",
            )
        if response.status_code == 206:
            return self._receive_part(response, offset, alive)
        return self._receive_whole(response, alive)

    def _receive_part(
        self, response: httpx2.Response, offset: int, alive: Alive
    ) -> tuple[Piece, Version, Link]:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != offset or int(match[2]) >= self._stop:
            got = response.headers.get("content-range", "none")
            raise TransientError(f"bytes {offset}-{self._stop - 1} were asked for, the answer is for {got!r}")
        version = self._pin(response, None if match[3] == "*" else int(match[3]))
        want = int(match[2]) + 1 - offset
        self._pour(response, want, alive, self.held)
        if len(self.held) < offset - self._start + want:
            raise TransientError(f"the body ended after {len(self.held):,} bytes")
        if self._start + len(self.held) < min(self._stop, version.total or self._stop):
            raise TransientError("the answer holds less than was asked for")
        return Piece(self._start, bytes(self.held)), version, self._link

    def _receive_whole(self, response: httpx2.Response, alive: Alive) -> tuple[Piece, Version, Link]:
        """The server sends the file from its start: take it if it is short, or if what we want comes first."""
        length = response.headers.get("content-length", "")
        version = self._pin(response, int(length) if length.isdigit() else None)
        if self._start and max(self._stop, version.total or 0) > WHOLE:
            raise NetworkError(
                "The server does not answer byte ranges.",
                file=str(self._link),
                reason=f"Asked for bytes {self._start:,} to {self._stop:,}, it sends the whole file.",
                next_step="Download the file and pass its path.",
            )
        want = self._stop if version.total is None or version.total > WHOLE else version.total
        body = bytearray()
        self._pour(response, want, alive, body)
        if len(body) < min(want, version.total or want):
            raise TransientError(f"the body ended after {len(body):,} bytes")
        return Piece(0, bytes(body)), version, self._link

    def _pour(self, response: httpx2.Response, want: int, alive: Alive, into: bytearray) -> None:
        """Append at most ``want`` bytes of the body, then stop reading."""
        # A body that ends where it should is read to its end: only then is the connection used again.
        exact = response.headers.get("content-length") == str(want)
        for chunk in response.iter_raw():
            self._client.count(len(chunk))
            into += chunk[:want]
            want -= len(chunk)
            if want < 0 or (want == 0 and not exact):
                return
            alive()

    def _pin(self, response: httpx2.Response, total: int | None) -> Version:
        etag = response.headers.get("etag")
        strong = etag if etag and not etag.startswith("W/") else None
        version = Version(total, strong, response.headers.get("last-modified"))
        if self._expected is None:
            self._expected = version
        elif self._expected.contradicts(version):
            raise NetworkError(
                "The file changed on the server while it was read.",
                file=str(self._link),
                reason="Its size, ETag or modification time differs from what it was at the start.",
                next_step="Run the command again; if it happens again, download the file and pass its path.",
            )
        return version

    def _ends_early(self, response: httpx2.Response) -> CorruptCheckpointError:
        says = response.headers.get("content-range", "that it has no such range")
        if says == "bytes */0":
            return empty(self._link)
        return CorruptCheckpointError(
            "The file on the server is shorter than it should be.",
            file=str(self._link),
            reason=f"Bytes {self._start:,} to {self._stop:,} were asked for; the server says {says!r}.",
            next_step="Try again; if it stays so, the upload is incomplete.",
        )


@cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates to trust; loading them takes longer than all else, so once for all clients."""
    import httpx2

    return httpx2.create_ssl_context()


def empty(link: Link) -> CorruptCheckpointError:
    """Return the error for a file of 0 bytes."""
    return CorruptCheckpointError(
        "The file is empty.",
        file=str(link),
        reason="The server gives 0 bytes.",
        next_step="Check the address, or ask its owner to upload the file again.",
    )


def too_many_redirects(link: Link) -> NetworkError:
    """Return the error for a chain of redirects that does not end."""
    return NetworkError(
        "A server redirects without end.",
        file=str(link),
        reason="Six redirects in a row.",
        next_step="Check the address, or download the file and pass its path.",
    )
