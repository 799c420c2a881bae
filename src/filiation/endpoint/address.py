"""Where an endpoint is: an address that holds no secret and that a key may be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

from filiation.checkpoint.sources.http_link import is_loopback
from filiation.errors import UsageError

_TAILS = ("/chat/completions", "/completions", "/messages", "/api/chat", "/api/generate")
_HARMLESS = frozenset({"api-version"})  # what a gateway may need in the query, and no secret


@dataclass(frozen=True, slots=True)
class Address:
    """Scheme, host with port, and the base path under which the routes stand (``/v1``)."""

    scheme: str
    host: str
    path: str
    query: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"

    def route(self, path: str) -> str:
        """Return the URL of a route; one that begins with ``/`` counts from the host, not from the base path."""
        where = path if path.startswith("/") else f"{self.path}/{path}"
        return f"{self.scheme}://{self.host}{where}" + (f"?{self.query}" if self.query else "")

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        return is_loopback(str(self))


def parse_address(url: str, base: str, *, with_key: bool) -> Address:
    """Read what the user typed: with or without a base path, or with a whole route at its end.

    Args:
        base: the base path where the URL has none, such as ``/v1``.
        with_key: whether a key will be sent there.

    Raises:
        UsageError: no http(s) address; a secret in it; or a key would travel unprotected.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise _no_address("it is not an address") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address("it does not begin with http:// or https:// and a host")
    if "@" in parts.netloc:
        raise _no_address("it holds a name or password")
    if parts.fragment:
        raise _no_address("it holds a '#' and something after it")
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name.lower() not in _HARMLESS for name, _ in query):
        raise _no_address("its query may hold a secret")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = _base_path(parts.path) or base
    address = Address(parts.scheme, host if port is None else f"{host}:{port}", path, urlencode(query))
    if with_key and address.scheme == "http" and not address.is_loopback:
        raise UsageError(
            "A key would travel unprotected; refused.",
            file=str(address),
            reason="The address begins with http://, and it is not this machine.",
            next_step="Use an https:// address, or ask without a key.",
        )
    return address


def _base_path(path: str) -> str:
    path = path.rstrip("/")
    for tail in _TAILS:
        if path.endswith(tail):
            return path.removesuffix(tail)
    return path


def _no_address(reason: str) -> UsageError:
    # The text that was typed may hold a secret: it is not repeated.
    return UsageError(
        "The endpoint's address cannot be used.",
        reason=f"As given, {reason}.",
        next_step="Give the base address, such as https://api.example.com/v1, and the key by --key-env.",
    )
