"""Where a PyTorch file keeps its storages, in its zip form and in the form before it."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from filiation.checkpoint.encodings import ENCODINGS, Encoding
from filiation.checkpoint.ranges import Run
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.torchfile.archive import Archive, Inflated
from filiation.checkpoint.torchfile.machine import interpret
from filiation.checkpoint.torchfile.standins import PickleError, Storage, Tensor
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError

MAX_PICKLE = 64 << 20
"""Bytes of pickle that are interpreted at most: the structure, not the weights."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001


class TorchFile(Protocol):
    """An opened file: what its pickle describes, and where each storage's values are."""

    root: Any

    def run(self, storage: Storage, encoding: Encoding, tensor: str) -> Run:
        """Return the values of a storage as a run of ``encoding``.

        Raises:
            CorruptCheckpointError: the storage is missing or smaller than it should be.
        """
        ...


@dataclass(slots=True)
class ZipFile:
    """The form since torch 1.6: ``<prefix>/data.pkl`` and a member for every storage."""

    archive: Archive
    prefix: str
    root: Any
    inflated: Inflated

    def run(self, storage: Storage, encoding: Encoding, tensor: str) -> Run:
        """See :class:`TorchFile`."""
        name = f"{self.prefix}data/{storage.key}"
        member = self.archive.members.get(name)
        needed = byte_size(storage)
        if member is None or member.size < needed:
            have = "missing" if member is None else f"{member.size} bytes long"
            raise damaged(
                self.archive.file, f"Its storage {storage.key!a} needs {needed} bytes and is {have}.", tensor
            )
        if member.method:
            return Run(self.inflated, name, 0, encoding, tensor)
        base = (lambda: self.archive.start(name)) if needed else None
        return Run(self.archive.source, self.archive.file, 0, encoding, tensor, base)


def open_zip(source: Source, file: str, size: int) -> ZipFile:
    """Read an archive's directory and interpret its ``data.pkl``.

    Raises:
        CorruptCheckpointError: it is damaged. UnsupportedFormatError: TorchScript, or big-endian.
        UnsafePickleError, UnsupportedPickleError, PickleError: from the pickle.
    """
    archive = Archive(source, file, size)
    pickles = [n for n in archive.members if n.count("/") == 1 and n.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise unsupported(
            file, "It is a zip archive without one <name>/data.pkl: torch.save did not write it."
        )
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix + "constants.pkl" in archive.members:
        raise unsupported(file, "It is a TorchScript archive, which holds code.")
    order = prefix + "byteorder"
    if order in archive.members and archive.read(order, 64) != b"little":
        raise unsupported(file, "It was written on a big-endian machine.")
    root = interpret(io.BytesIO(archive.read(pickles[0], MAX_PICKLE)))
    return ZipFile(archive, prefix, root, Inflated(archive))


@dataclass(slots=True)
class LegacyFile:
    """The form before torch 1.6: five pickles, then the storages one after the other, each behind its length."""

    source: Source
    file: str
    root: Any
    places: Mapping[str, int]

    def run(self, storage: Storage, encoding: Encoding, tensor: str) -> Run:
        """See :class:`TorchFile`."""
        place = self.places.get(storage.key)
        if place is None:
            raise damaged(self.file, f"Its storage {storage.key!a} is missing.", tensor)
        return Run(self.source, self.file, place, encoding, tensor)


def open_legacy(source: Source, file: str, size: int) -> LegacyFile:
    """Interpret the pickles at the file's beginning and work out where the storages are.

    Raises:
        CorruptCheckpointError: it is damaged. UnsupportedFormatError: torch did not write it.
        UnsafePickleError, UnsupportedPickleError, PickleError: from a pickle.
    """
    window = _Window(source, file, size)
    if interpret(cast(Any, window)) != LEGACY_MAGIC:
        raise unsupported(file, "It is a pickle, but not one that torch.save wrote.")
    version, system = interpret(cast(Any, window)), interpret(cast(Any, window))
    if version != _LEGACY_VERSION or not isinstance(system, dict):
        raise unsupported(file, "It is of a version of torch.save that is not known.")
    if cast(dict[Any, Any], system).get("little_endian") is False:
        raise unsupported(file, "It was written on a big-endian machine.")
    root = interpret(cast(Any, window))
    keys = interpret(cast(Any, window))
    if not isinstance(keys, list) or any(not isinstance(k, str) for k in cast(list[Any], keys)):
        raise PickleError("its list of storages is not a list of text")
    return LegacyFile(source, file, root, _places(window, root, cast(list[str], keys)))


def _places(window: _Window, root: Any, keys: list[str]) -> dict[str, int]:
    """Work out where each storage's values begin, checking the length that stands before each (local files)."""
    storages = {s.key: s for s in storages_in(root)}
    places: dict[str, int] = {}
    position = window.tell()
    for key in keys:
        storage = storages.get(key)
        if storage is None:
            raise damaged(window.file, f"The storage {key!a} belongs to no tensor that was read.")
        count = window.length_at(position)
        if count not in (None, storage.count):
            raise damaged(
                window.file, f"The storage {key!a} holds {count} values, {storage.count} are promised."
            )
        places[key] = position + 8
        position += 8 + byte_size(storage)
    if position > window.size:
        raise damaged(
            window.file, f"Its storages end at byte {position}, the file at {window.size}: truncated."
        )
    return places


def storages_in(root: Any) -> list[Storage]:
    """Return every storage that the described data holds, however deep; nothing is visited twice."""
    found: dict[str, Storage] = {}
    pending: list[Any] = [root]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor):
            found.setdefault(value.storage.key, value.storage)
        elif isinstance(value, Storage):
            found.setdefault(value.key, value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            items = cast(Any, value)
            pending.extend(items.values() if isinstance(value, dict) else items)
    return list(found.values())


def byte_size(storage: Storage) -> int:
    """Return a storage's size in bytes; an untyped storage counts bytes already."""
    name = storage.kind.encoding
    return storage.count * (ENCODINGS[name].size if name else 1)


class _Window:
    """As much of a file object as a pickle decoder needs, over byte ranges, for the file's beginning only."""

    def __init__(self, source: Source, file: str, size: int) -> None:
        self._source = source
        self.file = file
        self.size = size
        self._data = b""
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, count: int) -> bytes:
        self._want(self._position + count)
        piece = self._data[self._position : self._position + count]
        self._position += len(piece)
        return piece

    def readline(self) -> bytes:
        while (end := self._data.find(b"\n", self._position)) < 0 and len(self._data) < self.size:
            self._want(len(self._data) + 1)
        return self.read((end + 1 if end >= 0 else len(self._data)) - self._position)

    def length_at(self, position: int) -> int | None:
        """Return a storage's length, or None where a request over the network would be needed to know it."""
        end = position + 8
        if end > self.size:
            raise damaged(
                self.file, f"It ends at byte {self.size}, in the middle of its storages: truncated."
            )
        if end <= len(self._data):
            raw = self._data[position:end]
        elif self._source.local_path(self.file) is None:
            return None
        else:
            raw = self._source.read(self.file, position, end)
        return struct.unpack("<q", raw)[0]

    def _want(self, end: int) -> None:
        have = len(self._data)
        if end <= have or have >= self.size:
            return
        if end > MAX_PICKLE:
            raise PickleError(f"it is longer than {MAX_PICKLE} bytes")
        stop = min(self.size, MAX_PICKLE, max(end, have + max(1 << 14, have)))
        self._data += self._source.read(self.file, have, stop)


def damaged(file: str, reason: str, tensor: str | None = None) -> CorruptCheckpointError:
    """Return the error for a PyTorch file that contradicts itself."""
    return CorruptCheckpointError(
        "The PyTorch file is damaged.",
        file=file,
        tensor=tensor,
        reason=reason,
        next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
    )


def unsupported(file: str, reason: str) -> UnsupportedFormatError:
    """Return the error for a file of a kind that is not read."""
    return UnsupportedFormatError(
        "This PyTorch file cannot be read.",
        file=file,
        reason=reason,
        next_step="Save the model's state_dict as safetensors with the program that made it.",
    )
