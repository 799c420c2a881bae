"""An archive as a repository: .zip and .whl, .tar and its compressed kinds. Nothing is unpacked to disk.

What an archive claims is not believed: the bytes that are really inflated are counted, names that lead out are left
out, links are listed and not followed.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar, cast

from filiation.errors import CorruptCheckpointError, InputError
from filiation.repository import limits
from filiation.repository.identity import described
from filiation.repository.model import Repository, RepositoryFile

Notes = list[tuple[str, str]]
Member = TypeVar("Member")
_MOST_HEAD = 256 << 20
_RATIO = 50  # text packs ten times, weights hardly at all; what inflates a thousand times is a bomb
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ZIP_ENDINGS = (".zip", ".whl")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, ValueError)


def is_archive(path: Path) -> bool:
    """Tell by the name's ending whether a file is opened as a repository: PyTorch's files are zip archives as well.

    One that has the ending and is no archive is damaged, not a repository of one file.
    """
    return path.name.lower().endswith((*_ZIP_ENDINGS, *_TAR_ENDINGS))


def open_archive(path: Path, locator: str) -> Repository:
    """Return the repository that an archive holds.

    Where everything lies in one folder (npm's ``package/``, a source distribution's ``name-1.0/``), that folder is
    the repository's root.

    Raises:
        CorruptCheckpointError: the archive is damaged.
    """
    zipped = path.name.lower().endswith(_ZIP_ENDINGS)
    try:
        contents = _from_zip(path) if zipped else _from_tar(path)
    except _DAMAGED as error:
        raise _damaged(path.name, error) from error
    files, top = _without_top(contents.files)
    return Repository(
        locator=locator,
        name=_name(path),
        files=dict(sorted(files.items())),
        read=lambda name: contents.read(top + name),
        notes=(*contents.notes, *(((top.rstrip("/"), "top_folder"),) if top else ())),
        part=lambda name, start, stop: contents.part(top + name, start, stop),
    )


@dataclass
class _Contents:
    read: Callable[[str], bytes]
    part: Callable[[str, int, int], bytes]
    files: dict[str, RepositoryFile] = field(default_factory=dict[str, RepositoryFile])
    notes: Notes = field(default_factory=Notes)


def _from_zip(path: Path) -> _Contents:
    """List a zip archive; members are inflated again when they are asked for, the archive is opened anew each time."""

    def read(name: str) -> bytes:
        return part(name, 0, limits.SMALL_FILE)

    def part(name: str, start: int, stop: int) -> bytes:
        if not 0 <= start <= stop <= _MOST_HEAD:
            return b""
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as member:
                _skip(member, start)
                return member.read(stop - start)
        except (*_DAMAGED, KeyError, NotImplementedError) as error:
            raise _damaged(f"{path.name}!{name}", error) from error

    contents = _Contents(read, part)
    budget = limits.ALL_FILES
    with zipfile.ZipFile(path) as archive:
        for info in _admitted(archive.infolist(), lambda i: i.filename, contents):
            name = info.filename
            if info.is_dir():
                continue
            if (info.external_attr >> 16) & 0o170000 == 0o120000:
                contents.files[name] = RepositoryFile(name, None, not_read="link")
            elif info.file_size > limits.SMALL_FILE or info.file_size > budget:
                contents.files[name] = RepositoryFile(name, info.file_size, not_read="too_large")
            else:
                contents.files[name] = _zip_member(archive, info)
                budget -= info.file_size
    return contents


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> RepositoryFile:
    try:
        with archive.open(info) as member:
            data = member.read(limits.SMALL_FILE + 1)
    except (*_DAMAGED, NotImplementedError):  # encrypted, damaged, or packed by a method that is not known
        return RepositoryFile(info.filename, info.file_size, not_read="unreadable")
    return described(info.filename, data)


def _from_tar(path: Path) -> _Contents:
    """List a tar archive in one pass; its small files stay in memory, for it has no other order than its own."""
    kept: dict[str, bytes] = {}
    heads: dict[str, bytes] = {}

    def part(name: str, start: int, stop: int) -> bytes:
        return kept.get(name, heads.get(name, b""))[start:stop]

    contents = _Contents(lambda name: kept[name], part)
    room = limits.IN_MEMORY
    most = limits.ALL_FILES + _RATIO * path.stat().st_size
    with open(path, "rb") as raw, tarfile.open(fileobj=raw, mode="r|*") as archive:
        # The stream inflates what it skips, too: what it has inflated in all is where it stands.
        stream = cast("IO[bytes]", archive.fileobj)
        for member in _admitted(archive, lambda m: m.name, contents):
            name = member.name.removeprefix("./")
            if stream.tell() + member.size > most:
                contents.notes.append((name, "more_files"))
                break
            if member.issym() or member.islnk():
                contents.files[name] = RepositoryFile(name, None, not_read="link")
            elif member.isreg() and (opened := archive.extractfile(member)) is not None:
                if member.size > min(limits.SMALL_FILE, room):
                    contents.files[name] = RepositoryFile(name, member.size, not_read="too_large")
                    heads[name] = opened.read(min(1 << 20, member.size))
                    continue
                kept[name] = opened.read(member.size)
                room -= len(kept[name])
                contents.files[name] = described(name, kept[name])
    return contents


def _admitted(
    members: Iterable[Member], name_of: Callable[[Member], str], contents: _Contents
) -> Iterator[Member]:
    """Yield the members whose names stay inside, up to the number that is believed."""
    for count, member in enumerate(members):
        name = name_of(member)
        if count >= limits.MOST_FILES:
            contents.notes.append((name[:200], "more_files"))
            return
        parts = name.replace("\\", "/").split("/")
        if (
            name.startswith(("/", "\\"))
            or ".." in parts
            or "\0" in name
            or ":" in parts[0]
            or len(name) > 4_096
        ):
            contents.notes.append((name[:200], "unsafe_name"))
        else:
            yield member


def _skip(member: IO[bytes], count: int) -> None:
    while count > 0 and (piece := member.read(min(count, 1 << 20))):
        count -= len(piece)


def _without_top(files: dict[str, RepositoryFile]) -> tuple[dict[str, RepositoryFile], str]:
    """Return the files without the one folder that all lie in, and that folder's name with its slash."""
    tops = {name.partition("/")[0] + "/" if "/" in name else "" for name in files}
    top = next(iter(tops)) if len(tops) == 1 else ""
    if not top:
        return files, ""
    short = {name[len(top) :]: file for name, file in files.items()}
    return {
        name: RepositoryFile(name, f.size, f.git_id, f.sha256, f.not_read) for name, f in short.items()
    }, top


def _name(path: Path) -> str:
    lower = path.name.lower()
    ending = next((e for e in sorted((*_TAR_ENDINGS, *_ZIP_ENDINGS), key=len)[::-1] if lower.endswith(e)), "")
    return path.name[: len(path.name) - len(ending)] or path.name


def _damaged(name: str, error: Exception) -> InputError:
    return CorruptCheckpointError(
        "The archive cannot be read.",
        file=name,
        reason=f"{type(error).__name__}: {str(error)[:200]}",
        next_step="Download it again and compare its SHA-256 with the publisher's.",
    )
