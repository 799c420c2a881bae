"""Git's object store, read only and bounded: loose objects and packs, no git program, no hook, no configuration.

Formats: gitformat-pack(5), version 2 of packs and of their indices. Only what lies in the given folder is read:
``alternates``, which lead elsewhere, are not followed. Nothing is inflated beyond :data:`LARGEST_OBJECT`.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

LARGEST_OBJECT = 64 << 20
"""Bytes of one object; commits and trees have a few thousand, the files that are asked for are small ones."""

ObjectId = str
_ID = re.compile(r"[0-9a-f]{40}")
_LARGEST_INDEX = 256 << 20
_MOST_PACKS = 1_000
_LONGEST_CHAIN = 4_096  # git writes at most this many deltas upon one another
_KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFFSET_DELTA, _ID_DELTA = 6, 7


class GitError(Exception):
    """The object store is damaged, or does what is not believed. Never leaves the room."""


@dataclass(frozen=True, slots=True)
class GitObject:
    """One object: ``commit``, ``tree``, ``blob`` or ``tag``, and its bytes."""

    kind: str
    data: bytes


class ObjectStore:
    """The objects below ``.git/objects``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: list[_Pack] | None = None

    def get(self, object_id: ObjectId) -> GitObject:
        """Return an object.

        Raises:
            GitError: it is not there, damaged, or absurdly large.
        """
        if not _ID.fullmatch(object_id):
            raise GitError(f"no object id: {object_id[:60]!r}")
        loose = self._folder / object_id[:2] / object_id[2:]
        if _is_regular(loose):
            return _loose(_read(loose, 0, LARGEST_OBJECT))
        for pack in self._all_packs():
            offset = pack.offset(bytes.fromhex(object_id))
            if offset is not None:
                return self._packed(pack, offset)
        raise GitError(f"the object {object_id} is not there")

    def typed(self, object_id: ObjectId, kind: str) -> bytes:
        """Return the bytes of an object that must be of a kind.

        Raises:
            GitError: it is not there or of another kind.
        """
        found = self.get(object_id)
        if found.kind != kind:
            raise GitError(f"{object_id} is a {found.kind}, not a {kind}")
        return found.data

    def _all_packs(self) -> list[_Pack]:
        if self._packs is None:
            folder = self._folder / "pack"
            try:
                names = sorted(name for name in os.listdir(folder) if name.endswith(".idx"))
            except OSError:
                names = []
            both = [(folder / name, folder / (name[:-4] + ".pack")) for name in names[:_MOST_PACKS]]
            self._packs = [
                _Pack(index, pack) for index, pack in both if _is_regular(index) and _is_regular(pack)
            ]
        return self._packs

    def _packed(self, pack: _Pack, offset: int) -> GitObject:
        """Follow the chain of deltas down to a whole object, then apply them from there up."""
        deltas: list[bytes] = []
        for _ in range(_LONGEST_CHAIN):
            entry = pack.entry(offset)
            if entry.kind in _KINDS:
                data = entry.data
                for delta in reversed(deltas):
                    data = apply_delta(data, delta)
                return GitObject(_KINDS[entry.kind], data)
            deltas.append(entry.data)
            if sum(map(len, deltas)) > LARGEST_OBJECT:
                raise GitError("the deltas of one object are too large")
            if entry.base_offset is not None:
                offset = entry.base_offset
                continue
            found = pack.offset(entry.base_id)
            if found is None:
                raise GitError("a delta's base is not in its pack")
            offset = found
        raise GitError("a chain of deltas does not end")


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    data: bytes
    base_offset: int | None = None
    base_id: bytes = b""


class _Pack:
    """One pack and its index."""

    def __init__(self, index: Path, pack: Path) -> None:
        self._index_path = index
        self._path = pack
        self._index: bytes | None = None
        self._count = 0

    def _loaded(self) -> bytes:
        if self._index is None:
            data = _read(self._index_path, 0, _LARGEST_INDEX)
            if data[:8] != b"\xfftOc\x00\x00\x00\x02" or len(data) < 8 + 1024:
                raise GitError("an index is not of version 2")
            self._count = int.from_bytes(data[8 + 1020 : 8 + 1024], "big")
            if len(data) < 8 + 1024 + 28 * self._count:
                raise GitError("an index is shorter than it claims")
            self._index = data
        return self._index

    def offset(self, object_id: bytes) -> int | None:
        """Return where an object stands in the pack, None where it is not in it."""
        data = self._loaded()
        names = 8 + 1024
        first = object_id[0]
        low = int.from_bytes(data[8 + 4 * (first - 1) : 8 + 4 * first], "big") if first else 0
        high = int.from_bytes(data[8 + 4 * first : 12 + 4 * first], "big")
        if not low <= high <= self._count:
            raise GitError("an index's fan-out does not ascend")
        at = bisect_left(
            range(high), object_id, low, key=lambda n: data[names + 20 * n : names + 20 * n + 20]
        )
        if at >= high or data[names + 20 * at : names + 20 * at + 20] != object_id:
            return None
        offsets = names + 24 * self._count
        found = int.from_bytes(data[offsets + 4 * at : offsets + 4 * at + 4], "big")
        if found & 0x80000000:
            far = offsets + 4 * self._count + 8 * (found & 0x7FFFFFFF)
            found = int.from_bytes(data[far : far + 8], "big")
        return found

    def entry(self, offset: int) -> _Entry:
        """Return one entry: a whole object, or a delta and where its base is."""
        head = _read(self._path, offset, 64)
        kind, size, at = _entry_head(head)
        if size > LARGEST_OBJECT:
            raise GitError(f"an object claims {size} bytes")
        base_offset, base_id = None, b""
        if kind == _OFFSET_DELTA:
            back, at = _base_distance(head, at)
            base_offset = offset - back
            if base_offset <= 0 or back <= 0:
                raise GitError("a delta's base lies outside the pack")
        elif kind == _ID_DELTA:
            base_id, at = head[at : at + 20], at + 20
            if len(base_id) < 20:
                raise GitError("a pack ends in the middle of an entry")
        elif kind not in _KINDS:
            raise GitError(f"an entry is of the kind {kind}")
        return _Entry(kind, self._inflated(offset + at, size), base_offset, base_id)

    def _inflated(self, offset: int, size: int) -> bytes:
        machine = zlib.decompressobj()
        out = bytearray()
        try:
            with open(self._path, "rb", buffering=0, opener=_no_link) as file:
                file.seek(offset)
                while len(out) < size and (piece := file.read(min(1 << 16, size + 1024))):
                    out += machine.decompress(piece, size - len(out) + 1)
                    while machine.unconsumed_tail and len(out) <= size:
                        out += machine.decompress(machine.unconsumed_tail, size - len(out) + 1)
                    if machine.eof or len(out) > size:
                        break
        except (OSError, zlib.error) as error:
            raise GitError(f"an object cannot be inflated: {error}") from error
        if len(out) != size:
            raise GitError("an object is not as long as it claims")
        return bytes(out)


def _entry_head(head: bytes) -> tuple[int, int, int]:
    """Return kind, size and the length of an entry's own head."""
    if not head:
        raise GitError("a pack ends before an entry")
    byte, at = head[0], 1
    kind, size, shift = (byte >> 4) & 7, byte & 15, 4
    while byte & 0x80:
        if at >= min(len(head), 12):
            raise GitError("an entry's size does not end")
        byte = head[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return kind, size, at


def _base_distance(head: bytes, at: int) -> tuple[int, int]:
    value = -1
    for _ in range(10):
        if at >= len(head):
            break
        byte = head[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
        at += 1
        if byte < 0x80:
            return value, at
    raise GitError("a delta's base has no place")


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """Return what a delta makes of its base (gitformat-pack(5), "Deltified representation").

    Raises:
        GitError: it is damaged, or makes more than :data:`LARGEST_OBJECT`.
    """
    source, at = _delta_size(delta, 0)
    target, at = _delta_size(delta, at)
    if source != len(base) or target > LARGEST_OBJECT:
        raise GitError("a delta does not fit its base")
    out = bytearray()
    while at < len(delta):
        code, at = delta[at], at + 1
        if code & 0x80:
            start, length, at = _copied(delta, code, at)
            if start + length > len(base):
                raise GitError("a delta copies from beyond its base")
            out += base[start : start + length]
        elif code:
            out += delta[at : at + code]
            at += code
        else:
            raise GitError("a delta holds a reserved instruction")
        if len(out) > target:
            raise GitError("a delta makes more than it claims")
    if len(out) != target:
        raise GitError("a delta makes less than it claims")
    return bytes(out)


def _copied(delta: bytes, code: int, at: int) -> tuple[int, int, int]:
    start = length = 0
    for bit in range(7):
        if code & (1 << bit):
            if at >= len(delta):
                raise GitError("a delta ends in the middle of an instruction")
            if bit < 4:
                start |= delta[at] << (8 * bit)
            else:
                length |= delta[at] << (8 * (bit - 4))
            at += 1
    return start, length or 0x10000, at


def _delta_size(delta: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(delta) and shift < 64:
        byte = delta[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise GitError("a delta's size does not end")


def _loose(packed: bytes) -> GitObject:
    machine = zlib.decompressobj()
    try:
        data = machine.decompress(packed, LARGEST_OBJECT)
    except zlib.error as error:
        raise GitError(f"an object cannot be inflated: {error}") from error
    head, zero, body = data.partition(b"\0")
    kind, _, size = head.partition(b" ")
    if not zero or not size.isdigit() or len(size) > 18 or int(size) != len(body):
        raise GitError("an object is not as long as it claims")
    return GitObject(kind.decode("latin-1"), body)


def _read(path: Path, start: int, most: int) -> bytes:
    try:
        with open(path, "rb", buffering=0, opener=_no_link) as file:
            file.seek(start)
            pieces: list[bytes] = []
            while most > 0 and (piece := file.read(most)):
                pieces.append(piece)
                most -= len(piece)
            return b"".join(pieces)
    except (OSError, OverflowError) as error:
        raise GitError(f"{path.name} cannot be read: {error}") from error


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
