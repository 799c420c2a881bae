"""How long a server is given: tries, waits, and a clear end."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from filiation.checkpoint.sources.http_link import Link, StatusError
from filiation.errors import NetworkError

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")
Alive = Callable[[], None]
"""Called between chunks; raises when the time is up."""
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_PROGRESS = 64 * 1024  # bytes that make a broken try worth another


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is given.

    Attributes:
        attempts: tries in a row that bring nothing.
        connects: of these, tries that do not even reach the server.
        silences: of these, tries in a row that reach it and bring not a byte: a server that accepts and never
            answers is given up after less than a minute, one that is slow to begin has ``silence`` seconds twice.
        seconds: for one request with all its tries and waits, plus what the bytes take at ``slowest`` bytes a second.
        connect, silence: seconds to a connection, and without a byte on one.
        first_wait, longest_wait: seconds between tries; doubled each time, unless the server says how long.
        sleep, clock: the time they are counted in; for tests.
    """

    attempts: int = 6
    connects: int = 3
    silences: int = 2
    seconds: float = 180.0
    slowest: int = 32 * 1024
    connect: float = 10.0
    silence: float = 25.0
    first_wait: float = 0.5
    longest_wait: float = 16.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class TransientError(Exception):
    """A failure that may pass: try again, after ``wait`` seconds if the server named them."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Trial:
    """Counts what one request has cost in tries and time, and ends it with a clear error.

    ``held`` is what the request has brought so far: a try that adds to it is not fruitless.
    """

    def __init__(self, patience: Patience, link: Link, held: bytearray | None = None, size: int = 0) -> None:
        self._patience = patience
        self._link = link
        self._held = bytearray() if held is None else held
        self._until = patience.clock() + patience.seconds + size / patience.slowest
        self._tries = 0
        self._fruitless = 0
        self._unreached = 0
        self._silent = 0

    def run(self, action: Callable[[Alive], T]) -> T:
        """Call ``action`` until it returns."""
        import httpx2

        while True:
            had = len(self._held)
            try:
                return action(self._alive)
            except TransientError as error:
                self._silent = 0
                self._failed(str(error), had, wait=error.wait)
            except httpx2.InvalidURL as error:
                raise self._end("the address is not valid") from error
            except httpx2.RequestError as error:
                reason, final = describe(error, self._patience)
                if final:
                    raise self._end(reason) from error
                unreached = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout))
                self._unreached += unreached
                silent = isinstance(error, httpx2.TimeoutException) and not unreached
                self._silent = self._silent + 1 if silent and len(self._held) == had else 0
                self._failed(reason, had)

    def _alive(self) -> None:
        if self._patience.clock() > self._until:
            raise self._end("the server is too slow: the time for this request is up")

    def _failed(self, reason: str, had: int, *, wait: float | None = None) -> None:
        """Wait for the next try, or raise if there is none."""
        patience = self._patience
        self._tries += 1
        self._fruitless = 1 if len(self._held) - had >= _PROGRESS else self._fruitless + 1
        given_up = self._unreached >= patience.connects or self._silent >= patience.silences
        if given_up or self._fruitless >= patience.attempts:
            raise self._end(reason)
        if wait is None:
            wait = min(patience.longest_wait, patience.first_wait * 2 ** (self._fruitless - 1))
        if self._patience.clock() + wait > self._until:
            raise self._end(f"{reason}; the next try would be in {wait:.0f} s")
        self._patience.sleep(wait)

    def _end(self, reason: str) -> NetworkError:
        tries = "" if self._tries < 2 else f"{self._tries} tries, the last: "
        return NetworkError(
            "A server did not answer in a usable way.",
            file=str(self._link),
            reason=f"{tries}{reason}.",
            next_step="Try again later, or download the model and pass its folder.",
        )


def check(link: Link, status: int, headers: Mapping[str, str]) -> None:
    """Pass a success on; tell what may pass with time from what is final."""
    if status in _TRANSIENT:
        raise TransientError(f"status {status}", wait=retry_after(headers))
    if not 200 <= status < 300:
        raise StatusError(link, status, headers)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that ``Retry-After`` (a number or a date) or ``RateLimit`` asks to wait, or None."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        except ValueError:
            return None
    match = re.search(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("ratelimit", ""))
    return float(match[1]) if match else None


def describe(error: httpx2.RequestError, patience: Patience) -> tuple[str, bool]:
    """Say in words what went wrong with a connection, and whether to give up at once."""
    import httpx2

    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)):
        return "the address cannot be asked", True
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy refused: {error}", True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}", True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection within {patience.connect:g} s", False
    if isinstance(error, httpx2.ConnectError):
        return f"no connection: {error}", False
    if isinstance(error, httpx2.TimeoutException):
        return f"not a byte for {patience.silence:g} s", False
    return f"the connection broke: {str(error) or type(error).__name__}", False
