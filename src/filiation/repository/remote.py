"""A repository on the hub, or in any other place that the checkpoint room reads: small files when asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError
from filiation.evidence import FileRecord
from filiation.repository import limits
from filiation.repository.identity import POINTER_SIZE, described
from filiation.repository.model import Repository, RepositoryFile


def from_source(source: Source) -> Repository:
    """Return the repository that a source lists; nothing is read but its listing.

    The hub tells git's object id of every file and the SHA-256 of large ones, so files can be compared unread.
    """
    ids: Mapping[str, str] = getattr(source, "git_ids", dict[str, str])()
    listed = {r.name: _file(r, ids.get(r.name)) for r in sorted(source.files(), key=lambda r: r.name)}
    kept = dict(list(listed.items())[: limits.MOST_FILES])
    remarks: Any = getattr(source, "notes", ())
    notes = [("", "cached_commit")] if remarks else []
    if len(kept) < len(listed):
        notes.append(("", "more_files"))
    return Repository(
        locator=source.locator,
        name=source.name,
        files=kept,
        read=lambda name: _read(source, kept[name]),
        revision=source.revision,
        notes=(*notes, ("", "history_not_asked")),
        part=lambda name, start, stop: _part(source, kept, name, start, stop),
    )


def _file(record: FileRecord, git_id: str | None) -> RepositoryFile:
    too_large = record.size > limits.SMALL_FILE
    return RepositoryFile(record.name, record.size, git_id, record.sha256, "too_large" if too_large else None)


def _read(source: Source, file: RepositoryFile) -> bytes:
    """Return a file's bytes, checked against what the place said of them.

    Raises:
        CorruptCheckpointError: they are not the bytes that were listed.
    """
    data = source.read(file.path)
    found = described(file.path, data)
    if len(data) > POINTER_SIZE and file.sha256 is not None and found.sha256 != file.sha256:
        raise _changed(file.path)
    if file.sha256 is None and file.git_id is not None and found.git_id != file.git_id:
        raise _changed(file.path)
    return data


def _part(source: Source, files: Mapping[str, RepositoryFile], name: str, start: int, stop: int) -> bytes:
    file = files.get(name)
    if file is None or file.size is None:
        return b""
    stop = min(stop, file.size)
    return source.read(name, start, stop) if start < stop else b""


def _changed(name: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{name} is not the file that was listed.",
        file=name,
        reason="Its bytes do not have the digest that the place gave for it.",
        next_step="Fetch it again; if it stays so, tell the place's keepers.",
    )
