"""How long an endpoint is given, and what its refusals mean: which of them may pass with time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_DENIED = frozenset({401, 402, 403})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is given.

    Attributes:
        attempts: tries of one request.
        throttled: tries where the endpoint says that there were too many requests (429).
        loading: more tries while the endpoint says that it is loading (503).
        seconds: for one request with all its tries and waits.
        deadline: for one try, from its first byte sent to its last received.
        connect, silence: seconds to a connection, and without a byte on one.
        first_wait, longest_wait: seconds between tries; doubled each time, unless the endpoint says how long.
        largest: bytes of a reply.
        sleep, clock: the time they are counted in; for tests. Without ``sleep``, a wait ends early on Ctrl-C.
    """

    attempts: int = 5
    throttled: int = 10
    loading: int = 60
    seconds: float = 600.0
    deadline: float = 300.0
    connect: float = 10.0
    silence: float = 120.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    largest: int = 256 * 1024 * 1024
    sleep: Callable[[float], None] | None = None
    clock: Callable[[], float] = time.monotonic

    def wait(self, tries: int, said: float | None) -> float:
        """Return the seconds before the next try; what the server says counts, if it says so."""
        if said is not None:
            return said
        return min(self.longest_wait, self.first_wait * 2 ** (tries - 1))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply that is no success. ``passing``: may pass with time; ``wait``: as the endpoint says; ``loading``: 503."""

    code: str
    reason: str
    passing: bool = False
    wait: float | None = None
    loading: bool = False


def refusal(status: int, headers: Mapping[str, str], said: str) -> Refusal | None:
    """Return what a status means, None for a success. ``said`` is the message of the error body."""
    if 200 <= status < 300:
        return None
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    if 300 <= status < 400:
        where = headers.get("location") or "nowhere"
        return Refusal("refused", f"HTTP {status}: it redirects to {where}, which is not followed")
    if status == 429 and _used_up(said):
        return Refusal("denied", reason)
    if status in _DENIED:
        return Refusal("denied", reason)
    if status in PASSING:
        code = "throttled" if status == 429 else "unavailable"
        return Refusal(code, reason, True, retry_after(headers), status == 503)
    return Refusal("refused" if status < 500 else "unavailable", reason)


def _used_up(said: str) -> bool:
    """Whether a 429 says that the account is empty, which no waiting mends."""
    words = said.lower()
    return "insufficient_quota" in words or "exceeded your current quota" in words or "billing" in words


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait as the headers say: a number, milliseconds, a date, or the reset of a rate limit."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            pass
    value = headers.get("retry-after", "").strip()
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            return None
    for kind in ("requests", "tokens"):
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0":
            return _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
    return None


def _duration(text: str) -> float | None:
    """Read ``6m0s``, ``1.5s``, ``20ms`` or a bare number of seconds."""
    units = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    total, digits, found = 0.0, "", False
    rest = text.strip()
    while rest:
        if rest[0].isdigit() or rest[0] == ".":
            digits, rest = digits + rest[0], rest[1:]
            continue
        unit = "ms" if rest.startswith("ms") else rest[0]
        if unit not in units or not digits:
            return None
        total, digits, rest, found = total + float(digits) * units[unit], "", rest[len(unit) :], True
    return total + float(digits) if digits else total if found else None
