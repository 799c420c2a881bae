"""One connection to an endpoint: a request out, a whole reply back, or a clear reason why not.

A try ends at its deadline whatever the server does: one that drips a byte a second, into the headers or the body, is
cut off by a watchdog that shuts the socket down. A connection on which anything went wrong is never used again.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from filiation.endpoint.patience import Patience

if TYPE_CHECKING:
    import httpx2

_TOLD = (
    "content-type",
    "openai-version",
    "retry-after",
    "retry-after-ms",
    "server",
    "via",
    "x-request-id",
)
"""Response headers that a log keeps; those of rate limits too."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, the headers that are of interest, and the body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class BrokenError(Exception):
    """A try that brought no whole reply. ``code`` as in a Failure; ``final`` if no other try may help."""

    def __init__(self, reason: str, code: str = "unavailable", *, final: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.final = final


class Wire:
    """A client with one connection, kept open between requests. For one thread at a time."""

    def __init__(self, patience: Patience, headers: Mapping[str, str], *, loopback: bool) -> None:
        self._patience = patience
        # No name of ours: a proxy that knew a probe by its header could send it to the model that it only claims to be.
        self._headers = {"accept": "application/json", **headers}
        self._loopback = loopback
        self._client: httpx2.Client | None = None
        self._streams: list[Any] = []
        self._is_cut = False
        self._is_stopped = False

    def post(self, url: str, content: bytes, deadline: float) -> Reply:
        """Send a JSON body and return the reply, whatever its status.

        Args:
            deadline: seconds for all of it.

        Raises:
            BrokenError: no whole reply came.
        """
        import httpx2

        self._is_cut = False
        watchdog = _Watchdog(deadline, self.cut)
        try:
            with watchdog:
                reply = self._exchange(url, content, watchdog)
        except (httpx2.RequestError, httpx2.InvalidURL, OSError) as error:
            self.close()
            if watchdog.barked:
                raise BrokenError(f"no whole reply within {deadline:g} s") from error
            raise self._broken(error) from error
        except BaseException:
            self.close()
            raise
        if watchdog.barked:
            self.close()
        return reply

    def close(self) -> None:
        """Close the connection; the next request opens a fresh one."""
        client, self._client, self._streams = self._client, None, []
        if client is not None:
            client.close()

    def _exchange(self, url: str, content: bytes, watchdog: _Watchdog) -> Reply:
        client = self._client = self._client or self._open()
        client.cookies.clear()  # an endpoint is not to know one request from the next
        headers = {"content-type": "application/json"}
        options = {"trace": self._trace}
        with client.stream("POST", url, content=content, headers=headers, extensions=options) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > self._patience.largest:
                    reason = f"the reply is larger than {self._patience.largest:,} bytes"
                    raise BrokenError(reason, "unreadable", final=True)
                if watchdog.barked:
                    raise BrokenError("the reply came too slowly")
            told = {k.lower(): v for k, v in response.headers.items() if _is_told(k.lower())}
            if "location" in response.headers:
                told["location"] = _without_query(response.headers["location"])
            return Reply(response.status_code, dict(sorted(told.items())), bytes(body))

    def _open(self) -> httpx2.Client:
        import httpx2

        # A proxy for the outside must not be asked for this machine.
        return httpx2.Client(
            headers=self._headers,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._patience.silence, connect=self._patience.connect),
            limits=httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=30.0),
            verify=_certificates(),
            trust_env=not self._loopback,
        )

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets that are opened, so that the watchdog can reach them."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.append(info.get("return_value"))
            if self._is_cut or self._is_stopped:  # the order came while this connection was being made
                self._shut()

    def stop(self) -> None:
        """Shut the connection down for good; from any thread."""
        self._is_stopped = True
        self._shut()

    def cut(self) -> None:
        """Shut the connection down under whoever waits for it now; from any thread."""
        self._is_cut = True
        self._shut()

    def _shut(self) -> None:
        for stream in list(self._streams):
            sock = None if stream is None else stream.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):  # it may be closed already
                    sock.shutdown(socket.SHUT_RDWR)

    def _broken(self, error: Exception) -> BrokenError:
        import httpx2

        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)):
            return BrokenError("the address cannot be asked", final=True)
        if isinstance(error, httpx2.ProxyError):
            return BrokenError(f"the proxy refused: {error}", final=True)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return BrokenError(f"its certificate is not trusted: {cause.verify_message}", final=True)
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx2.ConnectTimeout):
            return BrokenError(f"no connection within {self._patience.connect:g} s")
        if isinstance(error, httpx2.ConnectError):
            return BrokenError(f"no connection: {error}")
        if isinstance(error, httpx2.TimeoutException):
            return BrokenError(f"not a byte for {self._patience.silence:g} s")
        if isinstance(error, httpx2.DecodingError):
            return BrokenError("the body is not packed as its header says", "unreadable")
        if "incomplete" in str(error) or "complete message" in str(error):
            return BrokenError("the body is shorter than its header says", "unreadable")
        return BrokenError(f"the connection broke: {str(error) or type(error).__name__}")


class _Watchdog:
    """Calls ``cut`` if the block it guards is not left in time."""

    def __init__(self, seconds: float, cut: Callable[[], None]) -> None:
        self.barked = False
        self._cut = cut
        self._timer = threading.Timer(seconds, self._bark)
        self._timer.daemon = True

    def _bark(self) -> None:
        self.barked = True
        self._cut()

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _without_query(location: str) -> str:
    """Return where a redirect leads, without what may be a secret."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _is_told(name: str) -> bool:
    return name in _TOLD or name.startswith("x-ratelimit-")


@cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates to trust; loading them takes longer than all else, so once for all clients."""
    import httpx2

    return httpx2.create_ssl_context()
