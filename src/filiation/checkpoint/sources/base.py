"""The interface between places (a folder, the hub, a web server, an object store) and formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from filiation.evidence import FileRecord


class Source(Protocol):
    """A flat set of files that can be read by byte range.

    Names are relative, with ``/``; a source refuses names that leave it (``..``, absolute paths, symlinks that
    point outside). Every read is counted.

    A source may also have ``read_into(name, start, buffer)``, which fills a memoryview without a copy in between, and
    ``read_pieces_into(name, start, buffer, each, apart)``, which fills it with pieces of a file that lie apart;
    ``chosen``, the one weight file that the caller named (None for a folder); and ``refused``, the names that are
    there but may not be read, each with the error that says why. Formats use them where they exist.
    """

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        ...

    @property
    def name(self) -> str:
        """A short display name, e.g. ``Qwen2.5-0.5B``."""
        ...

    @property
    def revision(self) -> str | None:
        """The commit a hub id resolved to, or None."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of all files."""
        ...

    def files(self) -> Sequence[FileRecord]:
        """Every file: name, size and, where the place knows it without reading, the SHA-256."""
        ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop`` of a file; ``stop=None`` means to its end.

        Raises:
            NotFoundError: no such file. AccessDeniedError: not readable. NetworkError: the server failed.
            CorruptCheckpointError: fewer bytes than asked for came back.
        """
        ...

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Hint that these ``(start, stop)`` ranges will be read; a remote source coalesces and caches them."""
        ...

    def local_path(self, name: str) -> Path | None:
        """Return the file's path when it lies on this machine (then it may be memory-mapped), else None."""
        ...
