"""Web addresses that carry a token only where it belongs, and never into a message."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit

from filiation.errors import NetworkError, UnsafeCheckpointError


@dataclass(frozen=True, slots=True)
class Link:
    """A URL with the token that its site may see. ``str()`` and ``repr()`` hold no secret."""

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def site(self) -> tuple[str, str]:
        """Scheme and host with port."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.netloc

    def redirected(self, location: str, trusted: frozenset[str] = frozenset()) -> Link:
        """Return where the server sends us; the token stays behind unless the site is the same or trusted.

        Raises:
            UnsafeCheckpointError: from https to anything else. NetworkError: to what is no address.
        """
        try:
            target = Link(urljoin(self.url, location))
            scheme = target.site[0]
        except ValueError as error:
            raise NetworkError(
                "A server redirects to what is not an address.",
                file=str(self),
                reason=f"{error}.",
                next_step="Download the file and pass its path.",
            ) from error
        if scheme != "https" and not (scheme == "http" and self.site[0] == "http"):
            raise UnsafeCheckpointError(
                "A server redirects to an unprotected address; refused.",
                file=str(self),
                reason=f"It leads from {self.site[0]}:// to {scheme}://.",
                next_step="Ask the owner of the server for an https:// address.",
            )
        return replace(target, token=self.token) if self.shares_site(target, trusted) else target

    def shares_site(self, other: Link, trusted: frozenset[str] = frozenset()) -> bool:
        """True if ``other`` is of the same site, or of a trusted host at its usual port: what may see the token."""
        return other.site == self.site or (other.site[0] == "https" and other.site[1].lower() in trusted)


class StatusError(Exception):
    """A server refused, finally: the source knows what it means."""

    def __init__(self, link: Link, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"status {status} from {link}")
        self.link = link
        self.status = status
        self.headers = headers


def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def may_carry_token(link: Link) -> bool:
    """True if a token sent there cannot be overheard."""
    return link.site[0] == "https" or is_loopback(link.url)
