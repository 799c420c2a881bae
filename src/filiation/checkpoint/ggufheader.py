"""The bounded reader of GGUF's header: every length is checked against the file before memory is taken for it."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError

MAX_TENSORS = 1_000_000
"""Tensors believed to be in one file; the largest models known have about a hundred thousand in all."""

_MAX_HEADER = 256 << 20
_FIRST_READ = 1 << 16
_LARGEST_READ = 4 << 20
_MAX_NAME = 65_535
_MAX_DIMENSIONS = 8
_MAX_LENGTH = 1 << 48
_MAX_NESTING = 4

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One line of the tensor list; ``shape`` in numpy order, ``offset`` from the start of the data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


class Cursor:
    """Reads a file forward in growing steps; the whole header stays in memory, nothing behind it is read."""

    def __init__(self, source: Source, file: str, size: int) -> None:
        self._source = source
        self.file = file
        self._size = size
        self._data = b""
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            CorruptCheckpointError: the file, or what a header may be, ends before.
        """
        end = self.position + count
        if end > len(self._data):
            self._fetch(end)
        piece = self._data[self.position : end]
        self.position = end
        return piece

    def number(self, code: str) -> Any:
        """Return the next little-endian number of a :mod:`struct` code."""
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self) -> bytes:
        """Return the next length-prefixed string's bytes."""
        return self.take(self.number("Q"))

    def texts(self, count: int) -> tuple[str | bytes, ...]:
        """Return the next ``count`` strings; a vocabulary has hundreds of thousands, so this loop is kept bare."""
        found: list[str | bytes] = []
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(count):
            start = self.position + 8
            if start > len(self._data):
                self._fetch(start)
            end = start + unpack(self._data, start - 8)[0]
            if end > len(self._data):
                self._fetch(end)
            raw = self._data[start:end]
            try:
                found.append(raw.decode("utf-8"))
            except UnicodeDecodeError:
                found.append(raw)
            self.position = end
        return tuple(found)

    def _fetch(self, end: int) -> None:
        if end > self._size:
            raise self.corrupt(f"The header runs to byte {end} or beyond, the file ends at {self._size}.")
        if end > _MAX_HEADER:
            raise self.corrupt(f"The header runs to byte {end}; at most {_MAX_HEADER} are believed.")
        have = len(self._data)
        step = min(_LARGEST_READ, max(_FIRST_READ, have))
        left: int | None = getattr(self._source, "left", None)
        step = step if left is None else min(step, left)
        self._data += self._source.read(self.file, have, min(self._size, max(end, have + step)))
        if len(self._data) < end:
            raise self.corrupt("The file ended before its header did.")

    def corrupt(self, reason: str, tensor: str | None = None) -> CorruptCheckpointError:
        """Return the error for a header that cannot be."""
        return CorruptCheckpointError(
            "The GGUF header is damaged.",
            file=self.file,
            tensor=tensor,
            reason=reason,
            next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
        )


def read_values(cursor: Cursor, count: int) -> dict[str, Any]:
    """Read the key-value data.

    Raises:
        CorruptCheckpointError: a length, a type or a key cannot be.
    """
    values: dict[str, Any] = {}
    for _ in range(count):
        key = _name(cursor, "key")
        if key in values:
            raise cursor.corrupt(f"The key {key!r} stands there twice.")
        values[key] = _value(cursor, cursor.number("I"), 0)
    return values


def read_entries(cursor: Cursor, count: int) -> list[TensorEntry]:
    """Read the tensor list.

    Raises:
        CorruptCheckpointError: a name stands there twice, or a shape cannot be.
    """
    if count > MAX_TENSORS:
        raise cursor.corrupt(f"It claims {count} tensors; at most {MAX_TENSORS} are believed.")
    entries: list[TensorEntry] = []
    seen: set[str] = set()
    for _ in range(count):
        name = _name(cursor, "tensor name")
        n_dims = cursor.number("I")
        if n_dims > _MAX_DIMENSIONS:
            raise cursor.corrupt(f"It claims {n_dims} dimensions.", name)
        dims = struct.unpack(f"<{n_dims}Q", cursor.take(8 * n_dims))
        if math.prod(n or 1 for n in dims) > _MAX_LENGTH:
            raise cursor.corrupt(f"Its shape is not believable: {list(dims)}.", name)
        if name in seen:
            raise cursor.corrupt("The tensor stands in the list twice.", name)
        seen.add(name)
        entries.append(TensorEntry(name, dims[::-1], cursor.number("I"), cursor.number("Q")))
    return entries


def _name(cursor: Cursor, what: str) -> str:
    length = cursor.number("Q")
    if length > _MAX_NAME:
        raise cursor.corrupt(f"A {what} claims {length} bytes.")
    raw = cursor.take(length)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise cursor.corrupt(f"A {what} is not UTF-8 text: {raw[:40]!r}.") from error
    if not text.isprintable():
        raise cursor.corrupt(f"A {what} holds unprintable characters: {text[:40]!a}.")
    return text


def _value(cursor: Cursor, kind: int, depth: int) -> Any:
    if kind == _STRING:
        return cursor.text().decode("utf-8", errors="replace")
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind != _ARRAY:
        raise cursor.corrupt(f"A value has the type {kind}, which does not exist.")
    if depth >= _MAX_NESTING:
        raise cursor.corrupt(f"Arrays are nested more than {_MAX_NESTING} deep.")
    item, length = cursor.number("I"), cursor.number("Q")
    if item in _SCALARS:
        dtype = np.dtype("<" + _SCALARS[item])
        return np.frombuffer(cursor.take(length * dtype.itemsize), dtype)
    if item == _STRING:
        return cursor.texts(length)
    return tuple(_value(cursor, item, depth + 1) for _ in range(length))
