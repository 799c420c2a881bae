"""What a format hands to the opening: its tensors, its own metadata, and what it had to assume.

A format is one module with ``NAME: str``, ``recognises(source) -> bool`` and ``load(source) -> Loaded``; the list
is ``filiation.checkpoint.formats.FORMATS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.shards import POINTER_START
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, NotFoundError
from filiation.evidence import FileRecord

_POINTER_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Loaded:
    """What :func:`load` of a format returns.

    Attributes:
        tensors: every tensor by name, in stored order.
        metadata: the format's own key-value data.
        notes: what was assumed, one sentence each.
        files: the weight files that were used; other files of the folder are not part of the checkpoint.
    """

    tensors: Mapping[str, StoredTensor]
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class Format(Protocol):
    """A format module, as the opening sees it."""

    @property
    def NAME(self) -> str:
        """The format's name in results."""
        ...

    def recognises(self, source: Source) -> bool:
        """Tell from the file names (and at most a few leading bytes) whether the source is of this format."""
        ...

    def load(self, source: Source) -> Loaded:
        """Read the headers.

        Raises:
            InputError: the files contradict themselves, are missing, unsafe or of an unsupported kind.
        """
        ...


def record_of(source: Source, name: str) -> FileRecord:
    """Return the record of a file that must be there.

    Raises:
        NotFoundError: the source has no such file.
    """
    for record in source.files():
        if record.name == name:
            return record
    raise NotFoundError(
        f"A file of the checkpoint is missing: {name}.",
        file=name,
        reason="It is promised (by an index, a shard number or the caller) but is not there.",
        next_step="Download the checkpoint again, completely, or name another file.",
    )


def weight_file(source: Source, name: str) -> FileRecord:
    """Return the record of a weight file after checking that it holds weights at all.

    Raises:
        NotFoundError: no such file.
        CorruptCheckpointError: it is empty, or a git-lfs pointer stands in its place.
    """
    record = record_of(source, name)
    if record.size == 0:
        raise CorruptCheckpointError(
            "A weight file is empty.",
            file=name,
            reason="The file holds 0 bytes; most likely a download or a copy was cut off.",
            next_step="Download the file again.",
        )
    if record.size <= _POINTER_SIZE and source.read(name, 0, record.size).startswith(POINTER_START):
        raise CorruptCheckpointError(
            "The weights were never downloaded: this is a git-lfs pointer.",
            file=name,
            reason="The file holds git-lfs's few lines of text that say where the weights are.",
            next_step="Run `git lfs pull` in the folder, or download the file from the model's page.",
        )
    return record


def top_level(source: Source, *suffixes: str) -> list[str]:
    """Return the names of the files that lie directly in the source and end in one of ``suffixes``, sorted."""
    return sorted(f.name for f in source.files() if "/" not in f.name and f.name.lower().endswith(suffixes))


def chosen_file(source: Source) -> str | None:
    """Return the one weight file that the caller named, or None where the whole folder was named."""
    return getattr(source, "chosen", None)


def leading_bytes(source: Source, name: str, count: int) -> bytes:
    """Return up to ``count`` first bytes of a file, fewer where it is shorter."""
    size = next((record.size for record in source.files() if record.name == name), 0)
    return source.read(name, 0, min(size, count)) if size else b""
