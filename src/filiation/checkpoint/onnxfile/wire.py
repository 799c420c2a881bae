"""A walk over an ONNX file's protobuf fields that leaves the weights where they are.

A model of two gigabytes is mostly ``raw_data`` of its initialisers. The walk copies everything else (the *skeleton*,
which protobuf then parses) and notes where each ``raw_data`` begins and ends, so that weights are read when they
are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError

LARGEST_FILE = 1 << 31
"""Protobuf's own bound on a message."""

_LARGEST_SKELETON = 1 << 28
_INLINE = 1 << 10  # raw_data up to this size stays in the skeleton
_AHEAD = 1 << 17  # bytes read at a time while walking

# Field numbers of onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model without its large ``raw_data``.

    Attributes:
        model: a serialised ModelProto.
        payloads: for each initialiser of the graph, in order, the file's bytes ``(start, stop)`` that were left
            out of it, or None.
    """

    model: bytes
    payloads: tuple[tuple[int, int] | None, ...]


def skeleton(source: Source, file: str, size: int) -> Skeleton:
    """Walk a file of ``size`` bytes.

    Raises:
        CorruptCheckpointError: it is no protobuf message, is truncated, or is larger than protobuf allows.
        UnsupportedFormatError: what is not weights is too large to be held in memory.
    """
    if size > LARGEST_FILE:
        raise _corrupt(file, f"It has {size} bytes; a protobuf file cannot have more than {LARGEST_FILE}.")
    return _Walk(source, file, size).model()


class _Walk:
    def __init__(self, source: Source, file: str, size: int) -> None:
        self._source = source
        self._file = file
        self._size = size
        self._at = 0
        self._held = b""
        self._held_from = 0
        self._kept = 0
        self._payloads: list[tuple[int, int] | None] = []

    def model(self) -> Skeleton:
        out: list[bytes] = []
        while self._at < self._size:
            field, kind, tag = self._tag(self._size)
            if (field, kind) == (_GRAPH, _LENGTH):
                out.append(_message(_GRAPH, self._graph(self._stop(self._size))))
            else:
                out.append(tag + self._copy(kind, self._size))
        return Skeleton(b"".join(out), tuple(self._payloads))

    def _graph(self, end: int) -> bytes:
        out: list[bytes] = []
        while self._at < end:
            field, kind, tag = self._tag(end)
            if (field, kind) == (_INITIALIZER, _LENGTH):
                out.append(_message(_INITIALIZER, self._initializer(self._stop(end))))
            else:
                out.append(tag + self._copy(kind, end))
        return b"".join(out)

    def _initializer(self, end: int) -> bytes:
        out: list[bytes] = []
        payload: tuple[int, int] | None = None
        while self._at < end:
            field, kind, tag = self._tag(end)
            start = self._at
            if (field, kind) == (_RAW_DATA, _LENGTH) and (stop := self._stop(end)) - self._at > _INLINE:
                payload = (self._at, stop)
                self._at = stop
            else:
                self._at = start
                out.append(tag + self._copy(kind, end))
        self._payloads.append(payload)
        return b"".join(out)

    def _tag(self, end: int) -> tuple[int, int, bytes]:
        value = self._varint(end)
        return value >> 3, value & 7, _varint_bytes(value)

    def _stop(self, end: int) -> int:
        """Read a length and return where what follows it ends."""
        length = self._varint(end)
        if length > end - self._at:
            raise _corrupt(
                self._file,
                f"A field of {length} bytes begins at byte {self._at}, where {end - self._at} are left: the file is "
                "truncated or damaged.",
            )
        return self._at + length

    def _copy(self, kind: int, end: int) -> bytes:
        """Copy one field's value, its length before it where it has one."""
        if kind == _VARINT:
            return _varint_bytes(self._varint(end))
        if kind == _LENGTH:
            stop = self._stop(end)
            return _varint_bytes(stop - self._at) + self._bytes(stop)
        if kind in (_EIGHT_BYTES, _FOUR_BYTES):
            stop = self._at + (8 if kind == _EIGHT_BYTES else 4)
            if stop <= end:
                return self._bytes(stop)
        raise _corrupt(self._file, f"What stands before byte {self._at} is not a protobuf field.")

    def _varint(self, end: int) -> int:
        value = 0
        for shift in range(0, 70, 7):
            if self._at >= end:
                raise _corrupt(self._file, f"It ends within a number, at byte {self._at}.")
            byte = self._bytes(self._at + 1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _corrupt(self._file, f"A number before byte {self._at} is longer than protobuf allows.")

    def _bytes(self, stop: int) -> bytes:
        """Return what stands up to ``stop`` and go there; single bytes come from a few larger reads."""
        start = self._at
        self._kept += stop - start
        if self._kept > _LARGEST_SKELETON:
            raise UnsupportedFormatError(
                "An ONNX graph is too large to be read.",
                file=self._file,
                reason=f"What is not raw data of initialisers takes more than {_LARGEST_SKELETON} bytes.",
                next_step="Save the model with its weights as raw data (onnx.save with external data does).",
            )
        self._at = stop
        if not self._held_from <= start <= stop <= self._held_from + len(self._held):
            self._held = self._source.read(self._file, start, min(self._size, max(stop, start + _AHEAD)))
            self._held_from = start
        return self._held[start - self._held_from : stop - self._held_from]


def _message(field: int, payload: bytes) -> bytes:
    return _varint_bytes(field << 3 | _LENGTH) + _varint_bytes(len(payload)) + payload


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _corrupt(file: str, reason: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "An ONNX file cannot be parsed.",
        file=file,
        reason=reason,
        next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
    )
