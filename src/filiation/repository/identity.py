"""The identities of a file that need nothing but its bytes: git's object id, SHA-256, and git-lfs's pointer.

Two repositories that hold a file of one git object id hold the same bytes, wherever either of them is kept; the hub
lists these ids, so that neither file has to be fetched.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from filiation.repository.model import RepositoryFile

POINTER_SIZE = 1024
"""Bytes that a git-lfs pointer has at most."""

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n?"
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a git-lfs pointer says of the file it stands for."""

    sha256: str
    size: int


def git_id(data: bytes) -> str:
    """Return the object id that git gives these bytes: SHA-1 over ``blob <size>\\0`` and the bytes, in hex."""
    digest = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    digest.update(data)
    return digest.hexdigest()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of these bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def parse_pointer(data: bytes) -> Pointer | None:
    """Return what a git-lfs pointer says, None where the bytes are no pointer."""
    if len(data) > POINTER_SIZE:
        return None
    found = _POINTER.fullmatch(data)
    return None if found is None else Pointer(found[1].decode("ascii"), int(found[2]))


def pointer_id(pointer: Pointer) -> str:
    """Return the git object id of the pointer that git-lfs writes for a file of this SHA-256 and size."""
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{pointer.sha256}\nsize {pointer.size}\n"
    return git_id(text.encode("ascii"))


def described(path: str, data: bytes) -> RepositoryFile:
    """Return the record of a file whose bytes are ``data``; a pointer's is that of the file it stands for."""
    pointer = parse_pointer(data)
    if pointer is not None:
        return RepositoryFile(path, pointer.size, git_id(data), pointer.sha256, "pointer")
    return RepositoryFile(path, len(data), git_id(data), sha256(data))


def same_bytes(first: RepositoryFile, second: RepositoryFile) -> bool | None:
    """Return whether two files are the same bytes by their identities; None where these do not tell.

    One repository may hold the file itself and the other its pointer: the pointer that the first would have is
    then compared.
    """
    if first.size is not None and second.size is not None and first.size != second.size:
        return False
    if first.sha256 is not None and second.sha256 is not None:
        return first.sha256 == second.sha256
    if first.git_id is not None and second.git_id is not None:
        return first.git_id == second.git_id or bool(_ids(first) & _ids(second))
    return None


def _ids(file: RepositoryFile) -> set[str]:
    ids = {file.git_id} if file.git_id is not None else set[str]()
    if file.sha256 is not None and file.size is not None:
        ids.add(pointer_id(Pointer(file.sha256, file.size)))
    return ids
