"""A client of one endpoint: sends a request until there is an answer, or a reason why there is none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from filiation.endpoint.address import Address, parse_address
from filiation.endpoint.dialects import Dialect, Request, dialect, likely, read
from filiation.endpoint.dialects.speaking import said_of
from filiation.endpoint.keys import Key, Redactor
from filiation.endpoint.model import Answer, Failure
from filiation.endpoint.patience import Patience, Refusal, refusal
from filiation.endpoint.wire import BrokenError, Reply, Wire

UNREADABLE_TRIES = 3
"""A reply that makes no sense is asked for this often: a proxy may have had a bad moment, a server will not change."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, under which role, for which model.

    Attributes:
        url: as the user gave it; never logged. See :attr:`address`.
        model: the name to ask for.
        speaks: name of the dialect; empty for what the address suggests.
        key: sent to this address alone.
        stream: ask for streams, for gateways that answer in no other way.
        extra: body fields of every request, such as a gateway's routing.
        known_as: what log and report call it in place of its address: a port that was free means nothing later.
    """

    role: str
    url: str = field(repr=False)
    model: str
    speaks: str = ""
    key: Key | None = None
    stream: bool = False
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    known_as: str = ""

    def __post_init__(self) -> None:
        if not self.speaks:
            object.__setattr__(self, "speaks", likely(self.url))

    @property
    def dialect(self) -> Dialect:
        """The dialect, with the fields of :attr:`extra`."""
        spoken = dialect(self.speaks)
        return replace(spoken, extra={**spoken.extra, **self.extra}) if self.extra else spoken

    @property
    def locator(self) -> str:
        """How log and report name it; no secret."""
        return self.known_as or str(self.address)

    @property
    def address(self) -> Address:
        """Where requests go.

        Raises:
            UsageError: see :func:`filiation.endpoint.address.parse_address`.
        """
        return parse_address(self.url, dialect(self.speaks).base, with_key=self.key is not None)


@dataclass(frozen=True, slots=True)
class Try:
    """One sent request that brought no answer: why, and the seconds waited after it."""

    reason: str
    status: int | None = None
    waited: float | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what became of it.

    Attributes:
        text: the body, with every secret removed.
        sent: how many requests went out for it.
        answer: as read while it was sent; a log keeps the text alone.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    text: str = ""
    tries: tuple[Try, ...] = ()
    failure: Failure | None = None
    sent: int = 0
    answer: Answer | None = field(default=None, compare=False)


class StoppedError(Exception):
    """The session is being closed: a request on its way was cut off, and is not in the log."""


class Client:
    """Asks one endpoint. Safe for threads: each request in flight has a connection of its own.

    Args:
        book: called before every request that is sent; False where the budget has none left.
        redact: takes the secrets out of what comes back.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        patience: Patience,
        book: Callable[[str], bool],
        redact: Redactor,
    ) -> None:
        self.endpoint = endpoint
        self.address = endpoint.address
        self.dialect = endpoint.dialect
        self.patience = patience
        self.book = book
        self.redact = redact
        self.has_answered = False
        self._idle: list[Wire] = []
        self._busy: set[Wire] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._not_before = 0.0

    def send(self, name: str, request: Request) -> Exchange:
        """Send ``request``, named ``name`` in the log, as often as it takes and patience allows.

        Raises:
            StoppedError: :meth:`stop` was called.
        """
        if request.lacking is not None:
            reason = f"the dialect {self.dialect.name} has no words for {request.lacking}"
            return Exchange(failure=Failure(name, "refused", reason))
        wire = self._take()
        try:
            return _Sending(self, wire, name, request).run()
        finally:
            self._give_back(wire)

    def stop(self) -> None:
        """Cut off whatever is on its way."""
        self._stopped.set()
        with self._lock:
            busy = list(self._busy)
        for wire in busy:
            wire.stop()

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for wire in idle:
            wire.close()

    def check(self) -> None:
        """Raise StoppedError once :meth:`stop` was called."""
        if self._stopped.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Wait, and no longer than until :meth:`stop`."""
        if self.patience.sleep is not None:
            self.patience.sleep(seconds)
        else:
            self._stopped.wait(seconds)

    def hold(self, seconds: float) -> None:
        """Let no request go to this endpoint for a while: it asked for that."""
        with self._lock:
            self._not_before = max(self._not_before, self.patience.clock() + seconds)

    def wait_for_turn(self) -> None:
        """Wait until the endpoint may be asked again."""
        while not self._stopped.is_set():
            with self._lock:
                seconds = self._not_before - self.patience.clock()
            if seconds <= 0:
                return
            self.pause(seconds)

    def _take(self) -> Wire:
        with self._lock:
            wire = self._idle.pop() if self._idle else self._new()
            self._busy.add(wire)
        return wire

    def _give_back(self, wire: Wire) -> None:
        with self._lock:
            self._busy.discard(wire)
            self._idle.append(wire)

    def _new(self) -> Wire:
        key, spoken = self.endpoint.key, self.dialect
        secret = {} if key is None else {spoken.key_header: spoken.key_prefix + key.secret}
        return Wire(self.patience, {**spoken.headers, **secret}, loopback=self.address.is_loopback)


class _Sending:
    """One request on its way, with its tries."""

    def __init__(self, client: Client, wire: Wire, name: str, request: Request) -> None:
        self._client = client
        self._patience = client.patience
        self._wire = wire
        self._name = name
        self._url = client.address.route(request.route)
        words = json.dumps(request.body, ensure_ascii=False, allow_nan=False)
        self._content = words.encode("utf-8", "surrogatepass")
        self._tries: list[Try] = []
        self._loading = 0
        self._answer: Answer | None = None
        self._until = self._patience.clock() + self._patience.seconds

    def run(self) -> Exchange:
        """Try until there is an answer or a final refusal."""
        client, patience = self._client, self._patience
        while True:
            client.wait_for_turn()
            client.check()
            if not client.book(client.endpoint.role):
                return self._given_up(Refusal("budget", "the budget had no request left for it"), Reply(0))
            refused, reply, text = self._once()
            if refused is None:
                client.has_answered = True
                tries = tuple(self._tries)
                return Exchange(reply.status, reply.headers, text, tries, None, len(tries) + 1, self._answer)
            client.check()
            if not refused.passing or not self._may_try_again(refused):
                return self._given_up(refused, reply, text)
            waits = patience.wait(len(self._tries) + 1, refused.wait)
            if patience.clock() + waits > self._until:
                return self._given_up(refused, reply, text)
            self._tries.append(Try(refused.reason, reply.status or None, waits))
            if refused.wait is not None:
                client.hold(waits)
            else:
                client.pause(waits)

    def _once(self) -> tuple[Refusal | None, Reply, str]:
        left = min(self._patience.deadline, max(1.0, self._until - self._patience.clock()))
        try:
            reply = self._wire.post(self._url, self._content, left)
        except BrokenError as error:
            return Refusal(error.code, self._client.redact(str(error)), not error.final), Reply(0), ""
        text = self._client.redact(reply.body.decode("utf-8", "replace"))
        refused = refusal(reply.status, reply.headers, "" if reply.status < 400 else _said(text))
        if refused is None:
            refused = self._unusable(text)
            if refused is not None:
                self._wire.close()  # what is left of a mangled reply must not become the next one
        elif "HTTP 403" in refused.reason and self._client.has_answered:
            # After an answer it is about this one request, as moderation at a gateway is.
            refused = replace(refused, code="refused")
        return refused, reply, text

    def _unusable(self, text: str) -> Refusal | None:
        """A success by its status that holds no answer, or an error that a gateway wrapped up as one."""
        found = read(self._client.dialect, self._name, text)
        if isinstance(found, Answer):
            self._answer = found
            return None
        if found.code == "refused":
            status = _inner_status(text)
            inner = None if status is None else refusal(status, {}, found.reason)
            return inner or Refusal("refused", found.reason)
        return Refusal(found.code, found.reason, True)

    def _may_try_again(self, refused: Refusal) -> bool:
        if refused.loading and self._loading < self._patience.loading:
            self._loading += 1
            return True
        counted = len(self._tries) - self._loading + 1
        if refused.code == "throttled":
            return counted < self._patience.throttled
        senseless = refused.code in ("unreadable", "empty")
        return counted < (UNREADABLE_TRIES if senseless else self._patience.attempts)

    def _given_up(self, refused: Refusal, reply: Reply, text: str = "") -> Exchange:
        tries = len(self._tries) + (refused.code != "budget")
        reason = refused.reason if tries < 2 else f"{tries} tries, the last: {refused.reason}"
        failure = Failure(self._name, refused.code, reason, reply.status or None)
        return Exchange(reply.status or None, reply.headers, text, tuple(self._tries), failure, tries)


def _said(text: str) -> str:
    """Return the message of an error body, or the beginning of whatever it is."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return said_of(text)
    if isinstance(body, dict):
        error = body.get("error", body.get("detail", body.get("message", "")))
        kind = error.get("code") or error.get("type") if isinstance(error, dict) else None
        words = said_of(error)
        return f"{words} ({kind})" if isinstance(kind, str) and kind not in words else words
    return said_of(text)


def _inner_status(text: str) -> int | None:
    try:
        error = json.loads(text).get("error")
    except (ValueError, RecursionError, AttributeError):
        return None
    code = error.get("code", error.get("status")) if isinstance(error, dict) else None
    if isinstance(code, str) and code.isdigit():
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None
