"""The zip archive that ``torch.save`` writes since 1.6, read by byte range.

Only what torch needs of the zip format: the central directory (bounded, also in its zip64 form) and the members'
places. Members are stored, not compressed, so a tensor's rows can be read where they lie; an archive that was
packed again with compression is read member by member, whole.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError
from filiation.evidence import FileRecord

MAGIC = b"PK\x03\x04"

_END, _END64, _LOCATOR64, _CENTRAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_TAIL = 22 + 65_535
_MAX_DIRECTORY = 64 << 20
_MAX_MEMBER = 1 << 33  # of a compressed member, which is unpacked in memory
_ALWAYS, _EXPANSION = 64 << 20, 16
_ENCRYPTED = 1
_STORED, _DEFLATED = 0, 8


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive: where its local header is, its size, and how it is packed."""

    name: str
    header: int
    size: int
    packed: int
    method: int
    crc: int


class Archive:
    """An archive's directory, and where its members' bytes begin (looked up when first needed)."""

    def __init__(self, source: Source, file: str, size: int) -> None:
        """Read the central directory.

        Raises:
            CorruptCheckpointError: there is none, or it lies.
        """
        self.source = source
        self.file = file
        self._size = size
        self._starts: dict[str, int] = {}
        self._lock = threading.Lock()
        self.members: Mapping[str, Member] = {m.name: m for m in self._directory()}

    def start(self, name: str) -> int:
        """Return the position of a member's first byte in the file.

        Raises:
            CorruptCheckpointError: the member's own header contradicts the directory.
        """
        with self._lock:
            found = self._starts.get(name)
        if found is not None:
            return found
        member = self.members[name]
        raw = self.source.read(self.file, member.header, min(self._size, member.header + 30))
        if len(raw) < 30 or raw[:4] != MAGIC:
            raise self._corrupt(f"The header of {name} is not where the directory says.")
        name_length, extra_length = struct.unpack("<HH", raw[26:30])
        start = member.header + 30 + name_length + extra_length
        if start + member.packed > self._size:
            raise self._corrupt(f"{name} ends beyond the file: it is truncated.")
        with self._lock:
            self._starts[name] = start
        return start

    def read(self, name: str, limit: int) -> bytes:
        """Return a whole member of at most ``limit`` bytes, checked against its CRC."""
        member = self.members[name]
        # What unpacks to far more than it takes is not weights; it would fill the memory.
        limit = min(limit, max(_ALWAYS, _EXPANSION * member.packed))
        if member.size > limit or member.packed > limit:
            raise self._corrupt(f"{name} claims {member.size} bytes; at most {limit} are read.")
        start = self.start(name)
        data = self.source.read(self.file, start, start + member.packed)
        if member.method == _DEFLATED:
            data = self._inflate(member, data)
        # torch can be told not to compute checksums and then writes 0.
        if len(data) != member.size or (member.crc and zlib.crc32(data) != member.crc):
            raise self._corrupt(f"{name} is damaged: its size or checksum is wrong.")
        return data

    def _inflate(self, member: Member, data: bytes) -> bytes:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return unpacker.decompress(data, member.size + 1)
        except zlib.error as error:
            raise self._corrupt(f"{member.name} cannot be unpacked: {error}.") from error

    def _directory(self) -> list[Member]:
        start, length, count = self._find_directory()
        if length > _MAX_DIRECTORY:
            raise self._corrupt(
                f"The directory claims {length} bytes; at most {_MAX_DIRECTORY} are believed."
            )
        if start + length > self._size:
            raise self._corrupt("The directory lies beyond the end of the file.")
        raw = self.source.read(self.file, start, start + length)
        members: list[Member] = []
        position = 0
        while position < len(raw):
            member, position = self._entry(raw, position)
            members.append(member)
        if len(members) != count:
            raise self._corrupt(f"The directory claims {count} members and lists {len(members)}.")
        if len({m.name for m in members}) != len(members):
            raise self._corrupt("The directory lists a member twice.")
        self._check_places(members, start)
        return members

    def _find_directory(self) -> tuple[int, int, int]:
        begin = max(0, self._size - _TAIL)
        tail = self.source.read(self.file, begin, self._size)
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22:
            raise self._corrupt("The zip directory at its end is missing: it is truncated.")
        count, length, start = struct.unpack("<HII", tail[at + 10 : at + 20])
        if count != 0xFFFF and 0xFFFFFFFF not in (length, start):
            return start, length, count
        locator = tail[at - 20 : at] if at >= 20 else b""
        if not locator.startswith(_LOCATOR64):
            raise self._corrupt("The zip64 directory is missing.")
        (place,) = struct.unpack("<Q", locator[8:16])
        raw = self.source.read(self.file, place, place + 56) if place + 56 <= self._size else b""
        if not raw.startswith(_END64):
            raise self._corrupt("The zip64 directory is not where it should be.")
        count, length, start = struct.unpack("<QQQ", raw[32:56])
        return start, length, count

    def _entry(self, raw: bytes, position: int) -> tuple[Member, int]:
        fixed = raw[position : position + 46]
        if len(fixed) < 46 or fixed[:4] != _CENTRAL:
            raise self._corrupt("The directory is damaged.")
        flags, method = struct.unpack("<HH", fixed[8:12])
        crc, packed, size, name_len, extra_len, comment_len = struct.unpack("<IIIHHH", fixed[16:34])
        (header,) = struct.unpack("<I", fixed[42:46])
        name_at = position + 46
        name = raw[name_at : name_at + name_len].decode("utf-8", errors="replace")
        extra = raw[name_at + name_len : name_at + name_len + extra_len]
        size, packed, header = self._wide(extra, size, packed, header)
        if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
            raise UnsupportedFormatError(
                "The archive is packed in a way that is not read.",
                file=self.file,
                reason=f"{name[:80]!a} is encrypted or uses compression method {method}.",
                next_step="Save the model again with torch.save, or better as safetensors.",
            )
        if method == _STORED and size != packed:
            raise self._corrupt(f"{name[:80]!a} has two different sizes.")
        end = name_at + name_len + extra_len + comment_len
        return Member(name, header, size, packed, method, crc), end

    def _wide(self, extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
        """Take from the zip64 field what did not fit into 32 bits."""
        values = [size, packed, header]
        while len(extra) >= 4:
            tag, length = struct.unpack("<HH", extra[:4])
            field, extra = extra[4 : 4 + length], extra[4 + length :]
            if tag != 1:
                continue
            for i, value in enumerate(values):
                if value == 0xFFFFFFFF and len(field) >= 8:
                    (values[i],) = struct.unpack("<Q", field[:8])
                    field = field[8:]
        return values[0], values[1], values[2]

    def _check_places(self, members: Sequence[Member], directory: int) -> None:
        end = 0
        for member in sorted(members, key=lambda m: m.header):
            if member.header < end:
                raise self._corrupt(f"The member {member.name[:80]!a} overlaps the one before it.")
            end = member.header + 30 + len(member.name.encode("utf-8", errors="replace")) + member.packed
            if end > directory:
                raise self._corrupt(f"The member {member.name[:80]!a} runs into the directory.")

    def _corrupt(self, reason: str) -> CorruptCheckpointError:
        return CorruptCheckpointError(
            "The PyTorch archive is damaged.",
            file=self.file,
            reason=reason,
            next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
        )


class Inflated:
    """A source over the unpacked members of an archive that was compressed; the last one read is kept."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._lock = threading.Lock()
        self._kept: tuple[str, bytes] | None = None

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        return self._archive.source.locator

    @property
    def name(self) -> str:
        """The archive's display name."""
        return self._archive.source.name

    @property
    def revision(self) -> str | None:
        """The commit of the source the archive lies in."""
        return self._archive.source.revision

    @property
    def bytes_read(self) -> int:
        """Bytes read from the source the archive lies in."""
        return self._archive.source.bytes_read

    def files(self) -> Sequence[FileRecord]:
        """The members."""
        return [FileRecord(m.name, m.size) for m in self._archive.members.values()]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop`` of a member, unpacking the whole of it."""
        with self._lock:
            if self._kept is None or self._kept[0] != name:
                self._kept = (name, self._archive.read(name, _MAX_MEMBER))
            return self._kept[1][start:stop]

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: a member is read whole."""

    def local_path(self, name: str) -> Path | None:
        """Return None: a member is not a file."""
        return None
