"""What can go wrong with one request: each fault is said by a server once, in the order of its script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """An error status with headers and body, such as 429 with Retry-After, or 503 while loading."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str = '{"error": {"message": "not now"}}'


@dataclass(frozen=True)
class Drop:
    """The connection is closed without a reply."""


@dataclass(frozen=True)
class DropAfter:
    """A good reply, and the connection, said to be kept alive, is closed."""


@dataclass(frozen=True)
class HalfOpen:
    """Nothing ever comes, and the connection stays open."""


@dataclass(frozen=True)
class Loris:
    """One byte at a time, without end: in the headers, or in the body."""

    in_headers: bool = False
    interval: float = 0.02


@dataclass(frozen=True)
class Body:
    """A success with this body in place of the answer."""

    text: str
    content_type: str = "application/json"


@dataclass(frozen=True)
class LyingLength:
    """The content length is off by `by` bytes; after that the connection is closed if bytes are missing."""

    by: int


@dataclass(frozen=True)
class CutStream:
    """A stream that ends in the middle."""


@dataclass(frozen=True)
class EchoKey:
    """An error that repeats the authorization header, as some servers do."""

    status: int = 400


Fault = Status | Drop | DropAfter | HalfOpen | Loris | Body | LyingLength | CutStream | EchoKey


def throttled(retry_after: str | None = "1") -> Status:
    return Status(429, {} if retry_after is None else {"retry-after": retry_after})


def loading() -> Status:
    return Status(
        503, {}, '{"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}'
    )


def moved(to: str) -> Status:
    return Status(307, {"location": to}, "")
