"""From what the caller wrote to the place it means: a path, the hub, a web server or an object store."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filiation.checkpoint.shards import WEIGHT_ENDINGS
from filiation.checkpoint.sources.base import Source
from filiation.errors import AccessDeniedError, NetworkError, NotFoundError, UsageError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def open_source(locator: str) -> Source:
    """Open the place that a locator names; nothing of the weights is read.

    Tried in this order: a path that exists; ``file://``, ``hf://``, ``http(s)://``, other ``scheme://`` stores;
    ``org/name[@revision]`` on the hub.

    Raises:
        UsageError: it is no locator. NotFoundError, AccessDeniedError, NetworkError: from the place.
        MissingExtraError: the store needs an optional package.
    """
    if not locator.strip() or "\0" in locator:
        raise UsageError(
            "A model must be named.",
            reason=f"{locator!a} names none.",
            next_step="Give a folder, a weight file, org/name of the hub, or an address.",
        )
    if _SCHEME.match(locator):
        return _open_address(locator)
    from filiation.checkpoint.sources.local import LocalSource

    path = Path(os.path.expanduser(locator))
    if _exists(path):
        return LocalSource(path, locator)
    return _open_name(locator)


def _open_address(locator: str) -> Source:
    scheme = locator.partition("://")[0].lower()
    if scheme == "file":
        from filiation.checkpoint.sources.local import LocalSource

        return LocalSource(Path(unquote(urlsplit(locator).path)), locator)
    from filiation.checkpoint.sources import hub_locator

    if hub_locator.recognises(locator):
        from filiation.checkpoint.sources import hub

        return hub.open_source(locator)
    if scheme in ("http", "https"):
        from filiation.checkpoint.sources import http

        return http.open_source(locator)
    from filiation.checkpoint.sources import fsspec

    return fsspec.open_source(locator)


def _open_name(locator: str) -> Source:
    from filiation.checkpoint.sources import hub_locator

    if _is_path_like(locator) or not hub_locator.recognises(locator):
        raise NotFoundError(
            f"There is nothing at {locator}.",
            file=locator,
            reason="No such file or folder, and it is not the org/name of a model on the hub.",
            next_step="Check the path; a model on the hub is written org/name or hf://org/name.",
        )
    from filiation.checkpoint.sources import hub

    try:
        return hub.open_source(locator)
    except (NotFoundError, AccessDeniedError, NetworkError) as error:
        # The commonest cause is a mistyped folder, which the hub's answer cannot know.
        error.next_step = f"{error.next_step or ''} (There is also no local folder of this name.)".lstrip()
        raise


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except PermissionError:
        return True  # let the source say so
    except (OSError, ValueError):
        return False
    return True


def _is_path_like(locator: str) -> bool:
    return locator.startswith((".", "/", "~", os.sep)) or locator.lower().endswith(WEIGHT_ENDINGS)
