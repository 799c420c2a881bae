"""Keys: read from the environment or a keyring, sent to their endpoint, and kept out of everything that is written."""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from filiation.errors import MissingExtraError, UsageError

_SHORTEST = 6
MASK = "[key]"
"""What stands in a log where the key stood."""


@dataclass(frozen=True, slots=True)
class Key:
    """A secret and where it came from; ``str()`` and ``repr()`` hold only the latter."""

    source: str
    secret: str = field(repr=False)

    def __str__(self) -> str:
        return self.source


def from_environment(name: str, environment: Mapping[str, str] | None = None) -> Key:
    """Return the key that the environment variable ``name`` holds.

    Raises:
        UsageError: the variable is not set, empty, or holds what cannot be a key.
    """
    value = (os.environ if environment is None else environment).get(name, "").strip()
    if not value:
        raise UsageError(
            "The key cannot be read.",
            reason=f"The environment variable {name} is not set, or empty.",
            next_step=f"Set {name}, or leave the key out if the endpoint asks for none.",
        )
    return _checked(value, f"the environment variable {name}")


def from_keyring(service: str, user: str) -> Key:
    """Return the password that the system's keyring holds for ``user`` of ``service``.

    Raises:
        MissingExtraError: the package ``keyring`` is not installed.
        UsageError: the keyring has no such entry, or cannot be opened.
    """
    try:
        import keyring  # pyright: ignore[reportMissingImports]
        from keyring.errors import KeyringError  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("A key from the keyring", "keyring", "keyring") from error
    store: Any = keyring
    try:
        value: str | None = store.get_password(service, user)
    except KeyringError as error:
        raise UsageError(
            "The keyring cannot be opened.",
            reason=f"{type(error).__name__}.",
            next_step="Pass the key in an environment variable instead.",
        ) from error
    if not value:
        raise UsageError(
            "The keyring has no such key.",
            reason=f"No entry for user {user!r} of service {service!r}.",
            next_step=f"Store it: keyring set {service} {user}",
        )
    return _checked(value.strip(), f"the keyring entry {service}/{user}")


def _checked(value: str, source: str) -> Key:
    if len(value) < _SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
        raise UsageError(
            "The key cannot be used.",
            reason=f"What {source} holds is shorter than {_SHORTEST} characters, or holds spaces or characters "
            "that no header may hold.",
            next_step="Check it; leave the key out if the endpoint asks for none.",
        )
    return Key(source, value)


class Redactor:
    """Takes secrets out of text: as they are, and as JSON, URLs and Base64 spell them."""

    def __init__(self, keys: Iterable[Key | None] = ()) -> None:
        forms: set[str] = set()
        for key in keys:
            if key is not None:
                forms |= _spellings(key.secret)
        # The longest first, so that no part of a longer form is left standing.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """Return ``text`` with every spelling of every key replaced by ``[key]``."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return text

    def holds(self, text: str) -> bool:
        """Whether ``text`` holds a key."""
        return any(form in text for form in self._forms)


class LogGuard(logging.Filter):
    """Takes secrets out of what the HTTP library says to Python's logging, where that is switched on.

    At its lowest level it prints the headers of responses, in which a server may repeat a key.
    """

    _LOGGERS = ("httpcore2.connection", "httpcore2.http11", "httpcore2.proxy", "httpx2")

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the message; every record passes."""
        record.msg, record.args = self._redact(record.getMessage()), ()
        return True

    def install(self) -> None:
        """Begin to filter."""
        for name in self._LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Stop."""
        for name in self._LOGGERS:
            logging.getLogger(name).removeFilter(self)


def _spellings(secret: str) -> set[str]:
    packed = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), packed}
