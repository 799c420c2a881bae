"""What the imitated hub holds, what is to go wrong, and what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class ServedFile(Protocol):
    """What the server can send: a size, a digest, and bytes by range. Large files are sent by the storage."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    @property
    def large(self) -> bool:
        """Whether the storage sends it."""
        ...

    @property
    def sha256(self) -> str:
        """The digest that the hub lists."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start:stop`."""
        ...


@dataclass
class Repo:
    """A model: its files at one commit. `gated` needs a token, and one of `granted`; `private` hides it without."""

    files: Mapping[str, ServedFile]
    commit: str
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    private: bool = False
    granted: tuple[str, ...] = ()
    renamed_to: str | None = None


@dataclass
class Fault:
    """Something that goes wrong `times` times on paths that contain `match`.

    Kinds: `status` (with `status`, `retry_after`, `headers`), `drop` (the connection ends after `after` bytes of the
    body), `truncate` (the body claims to be complete after `after` bytes), `short` (a range of `after` bytes instead of
    the one asked for), `ignore_range` (200 and the whole file),
    `wrong_range`, `slow` (`after` bytes at a time, `delay` seconds apart), `silent` (no answer for `delay`
    seconds), `changed` (another ETag), `packed` (Content-Encoding), `body` (200 with `body` instead), `redirect`
    (302 to `location`). The kinds that concern the body can be joined by `+`.
    """

    kind: str
    match: str = ""
    times: int = 1
    skip: int = 0
    after: int = 0
    delay: float = 0.0
    status: int = 503
    retry_after: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    location: str = ""
    method: str = ""


@dataclass
class Record:
    """One request, as the server saw it; `sent` counts body bytes."""

    site: str
    method: str
    path: str
    range: str | None
    token: str | None
    agent: str | None
    status: int = 0
    sent: int = 0
