"""SHA-256 of a checkpoint's files, streamed; large files only when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from filiation.checkpoint.sidefiles import MODEL_FILES
from filiation.checkpoint.sources.base import Source
from filiation.evidence import FileRecord

SMALL = 64 << 20
"""Weights of at most this many bytes in all are hashed, and scanned for NaN, whole."""

SAMPLED = "sampled read"
"""The reason given for a file that was not hashed."""

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes done and the bytes in all."""

_CHUNK = 1 << 20


def hash_files(
    source: Source, records: Sequence[FileRecord], progress: Progress | None = None
) -> tuple[FileRecord, ...]:
    """Return the records with the SHA-256 of every file whose place did not already tell it.

    Reads each such file once, whole; memory stays at one megabyte.

    Raises:
        InputError: a file cannot be read.
    """
    return tuple(
        record
        if record.sha256
        else replace(record, sha256=_sha256(source, record, progress), not_hashed=None)
        for record in records
    )


def pinned(records: Sequence[FileRecord]) -> bool:
    """Return whether the SHA-256 of every weight file is known: then a digest over the records pins the weights."""
    return all(r.sha256 for r in records if r.name.rpartition("/")[2] not in MODEL_FILES)


def without_hash(records: Sequence[FileRecord]) -> tuple[FileRecord, ...]:
    """Return the records, those without a SHA-256 saying why."""
    return tuple(r if r.sha256 or r.not_hashed else replace(r, not_hashed=SAMPLED) for r in records)


def _sha256(source: Source, record: FileRecord, progress: Progress | None) -> str:
    digest = hashlib.sha256()
    into = getattr(source, "read_into", None)
    buffer = bytearray(min(_CHUNK, record.size)) if into is not None else bytearray()
    for start in range(0, record.size, _CHUNK):
        stop = min(start + _CHUNK, record.size)
        if into is not None:
            piece = memoryview(buffer)[: stop - start]
            into(record.name, start, piece)
            digest.update(piece)
        else:
            digest.update(source.read(record.name, start, stop))
        if progress is not None:
            progress(record.name, stop, record.size)
    return digest.hexdigest()
