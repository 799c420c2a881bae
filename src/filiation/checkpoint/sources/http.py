"""One file on a web server, read by byte range and pinned to the version that was seen first.

The first request brings the head of the file and tells its size; a redirect is followed once and then used directly
until it expires. ``http://`` is for this machine only. The query of a URL may be a signature, so it is left out of
everything that is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filiation.checkpoint.sources.http_client import HttpClient, Version, empty
from filiation.checkpoint.sources.http_link import Link, StatusError, is_loopback
from filiation.checkpoint.sources.http_retry import Patience
from filiation.checkpoint.sources.ranges import HEAD, Piece, RangeReader, Span, safe_name
from filiation.errors import (
    AccessDeniedError,
    InputError,
    NetworkError,
    NotFoundError,
    UnsupportedFormatError,
    UsageError,
)
from filiation.evidence import FileRecord


def recognises(locator: str) -> bool:
    """True for ``https://`` and ``http://``; ask the hub's :func:`recognises` first."""
    return locator.startswith(("https://", "http://"))


def open_source(locator: str, *, patience: Patience | None = None) -> HttpSource:
    """Open a file on a web server; one request.

    Raises:
        UsageError: not an address of a file, ``http://`` to another machine, or a password in the address.
        NotFoundError, AccessDeniedError: the server says so. NetworkError: it fails.
        CorruptCheckpointError: the file is empty. UnsupportedFormatError: it is a web page.
    """
    link = _checked(locator)
    client = HttpClient(patience)
    try:
        piece, version, last = client.read_range(link, 0, HEAD)
    except StatusError as error:
        raise _refusal(error) from error
    if version.total is None:
        raise NetworkError(
            "The size of the file is not known.",
            file=str(link),
            reason="The server states neither Content-Range nor Content-Length.",
            next_step="Download the file and pass its path.",
        )
    if not version.total:
        raise empty(link)
    if piece.data.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        raise UnsupportedFormatError(
            "This is a web page, not a checkpoint.",
            file=str(link),
            reason="The answer begins with HTML.",
            next_step="Pass the address of the file itself, usually under 'download' or 'raw'.",
        )
    return HttpSource(link, last, client, piece, version)


class HttpSource:
    """One file on a web server. Made by :func:`open_source`.

    Attributes:
        chosen: the file's name.
    """

    def __init__(self, link: Link, last: Link, client: HttpClient, piece: Piece, version: Version) -> None:
        self._link = link
        self._last = last
        self._client = client
        self._version = version
        self._lock = threading.Lock()
        self._size = version.total or 0
        self.chosen = _file_name(link)
        self._reader = RangeReader({self.chosen: self._size}, self._fetch)
        self._reader.prime(self.chosen, piece)

    @property
    def locator(self) -> str:
        """What the caller wrote, without the query."""
        return str(self._link)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return PurePosixPath(self.chosen).stem

    @property
    def revision(self) -> None:
        """None: a web server has no commits."""
        return

    @property
    def bytes_read(self) -> int:
        """Bytes that came over the wire."""
        return self._client.bytes_received

    @property
    def requests(self) -> int:
        """Requests sent, those that failed and were tried again included."""
        return self._client.requests

    def files(self) -> Sequence[FileRecord]:
        """The one file."""
        return [FileRecord(self.chosen, self._size, None, "read by range from a web server")]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop``; see :meth:`filiation.checkpoint.sources.base.Source.read`."""
        return self._reader.read(name, start, stop)

    def prefetch(self, name: str, ranges: Sequence[Span]) -> None:
        """Fetch these ranges now, joined into few requests, several at once."""
        self._reader.prefetch(name, ranges)

    def local_path(self, name: str) -> Path | None:
        """None: nothing is kept on disk."""
        return None

    def _fetch(self, name: str, start: int, stop: int) -> Piece:
        """Fetch a span; if where we were redirected to refuses now, begin at the address again."""
        link = self._last
        for begin_again in (link.url != self._link.url, False):
            try:
                piece, _, last = self._client.read_range(link, start, stop, self._version)
                with self._lock:
                    self._last = last
                return piece
            except StatusError as error:
                if not begin_again:
                    raise _refusal(error) from error
                link = self._link
        raise AssertionError("unreachable")


def _checked(locator: str) -> Link:
    link = Link(locator.partition("#")[0])
    try:
        parts = urlsplit(locator)
    except ValueError as error:
        raise UsageError(
            "The address cannot be used.", reason=f"{error}.", next_step="Write https://host/path/file."
        ) from error
    if not parts.hostname or not parts.path.rpartition("/")[2]:
        raise _unusable(link, "It names no file on a server.", "Write https://host/path/model.safetensors.")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(locator)):
        raise _unusable(link, "http:// is accepted for this machine only.", "Use the https:// address.")
    if parts.username or parts.password:
        raise _unusable(
            link,
            "It holds a user name or password, which would end up in reports and shell histories.",
            "Use a signed address, or download the file and pass its path.",
        )
    safe_name(_file_name(link))
    return link


def _file_name(link: Link) -> str:
    return unquote(urlsplit(link.url).path.rpartition("/")[2])


def _unusable(link: Link, reason: str, next_step: str) -> UsageError:
    return UsageError("The address cannot be used.", file=str(link), reason=reason, next_step=next_step)


def _refusal(error: StatusError) -> InputError:
    file, reason = str(error.link), f"The server answers with status {error.status}."
    if error.status in (401, 403, 407):
        return AccessDeniedError(
            "The file may not be read.",
            file=file,
            reason=reason,
            next_step="If the address is signed, it may have expired: get a new one. "
            "Otherwise download the file and pass its path.",
        )
    if error.status in (404, 410):
        return NotFoundError(
            "There is no such file on the server.", file=file, reason=reason, next_step="Check the address."
        )
    return NetworkError(
        "The server refuses the request.",
        file=file,
        reason=reason,
        next_step="Check the address, or download the file and pass its path.",
    )
