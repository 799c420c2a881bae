"""Opening a repository: a folder, an archive, one file, a facts file, or a place that the checkpoint room reads."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filiation.checkpoint.locate import open_source
from filiation.repository import archive, facts, folder, limits, remote
from filiation.repository.model import Repository


def open(locator: str) -> Repository:
    """Open a model repository: list its files, read and hash the small ones, read no weights.

    Args:
        locator: a folder, an archive (.zip, .whl, .tar, .tar.gz ...), one file, a facts file, ``org/name[@revision]``
            or ``hf://`` of the hub, ``https://``, ``s3://`` ...

    Raises:
        UsageError: it is no locator. NotFoundError, AccessDeniedError, NetworkError: from the place.
        CorruptCheckpointError: an archive is damaged. InputError: a facts file cannot be used.
    """
    path = _local(locator)
    if path is None:
        return remote.from_source(open_source(locator))
    if path.is_dir():
        return folder.open_folder(path, locator)
    if archive.is_archive(path):
        return archive.open_archive(path, locator)
    if path.suffix.lower() == ".json" and (data := _facts(path)) is not None:
        return facts.open_facts(data, locator)
    return folder.open_file(path, locator)


def _local(locator: str) -> Path | None:
    if not locator.strip() or "\0" in locator:
        return None  # the place's own error says what is wrong
    if locator.lower().startswith("file://"):
        return Path(unquote(urlsplit(locator).path))
    if "://" in locator:
        return None
    path = Path(os.path.expanduser(locator))
    try:
        path.lstat()
    except PermissionError:
        return path
    except (OSError, ValueError):
        return None
    return path


def _facts(path: Path) -> bytes | None:
    try:
        with builtins.open(path, "rb") as file:
            head = file.read(256)
            return head + file.read(limits.SMALL_FILE) if facts.is_facts(head) else None
    except OSError:
        return None
