"""A folder on this machine as a repository.

Files are listed without following a folder that is a link, so a loop of links ends at once. A file that is a link is
read only where it leads to a place inside the folder, or, in the hub client's cache, to one of its blobs.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from filiation.checkpoint.sources.local import LocalSource, blobs_of
from filiation.errors import AccessDeniedError, CorruptCheckpointError, InputError, NotFoundError
from filiation.repository import limits
from filiation.repository.history import read_history
from filiation.repository.identity import described
from filiation.repository.model import Repository, RepositoryFile

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SNAPSHOT = re.compile(r"[0-9a-f]{40}")
_HISTORY = ".git"


def open_folder(path: Path, locator: str) -> Repository:
    """Return the repository that a folder is; its small files are read once, to be hashed.

    Raises:
        NotFoundError: nothing is there. AccessDeniedError: it may not be listed.
    """
    root = _real(path)
    listing = _Listing(root, blobs_of(root))
    listing.fill()
    history = read_history(root / _HISTORY)
    snapshot = root.parent.name == "snapshots" and _SNAPSHOT.fullmatch(root.name)
    revision = root.name if snapshot else (history.commits[0].id if history.commits else None)
    return Repository(
        locator=locator,
        name=_display_name(root),
        files=dict(sorted(listing.files.items())),
        read=listing.read,
        revision=revision,
        commits=history.commits,
        notes=(*listing.notes, *history.notes),
        part=listing.part,
        at=history.at if history.commits else None,
    )


def open_file(path: Path, locator: str) -> Repository:
    """Return the repository that holds one file only.

    Raises:
        NotFoundError: nothing is there. AccessDeniedError: it may not be read. InputError: it is no regular file.
    """
    source = LocalSource(path, locator)
    assert source.chosen is not None  # the path is no folder
    real = source.local_path(source.chosen)
    assert real is not None
    listing = _Listing(real.parent, None)
    listing.admit(source.chosen, real)
    return Repository(
        locator=locator,
        name=source.name,
        files=listing.files,
        read=listing.read,
        notes=tuple(listing.notes),
        part=listing.part,
    )


@dataclass
class _Listing:
    """Fills and reads the list of a folder's files."""

    root: Path
    blobs: Path | None
    files: dict[str, RepositoryFile] = field(default_factory=dict[str, RepositoryFile])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    _paths: dict[str, Path] = field(default_factory=dict[str, Path])
    _hashed: int = 0

    def fill(self) -> None:
        for name, path in self._walk():
            if len(self.files) >= limits.MOST_FILES:
                self.notes.append((name, "more_files"))
                return
            self.admit(name, path)

    def admit(self, name: str, path: Path) -> None:
        real = self._followed(path)
        if real is None:
            self.files[name] = RepositoryFile(name, None, not_read="link")
            return
        try:
            status = real.stat()
        except OSError:
            self.files[name] = RepositoryFile(name, None, not_read="unreadable")
            return
        if not stat.S_ISREG(status.st_mode):
            self.notes.append((name, "no_regular_file"))
            return
        self._paths[name] = real
        self.files[name] = self._described(name, real, status.st_size)

    def _described(self, name: str, real: Path, size: int) -> RepositoryFile:
        if size > limits.SMALL_FILE or self._hashed + size > limits.ALL_FILES:
            in_cache = self.blobs is not None and real.parent == self.blobs and _SHA256.fullmatch(real.name)
            return RepositoryFile(name, size, sha256=real.name if in_cache else None, not_read="too_large")
        try:
            data = _read(real, name, limits.SMALL_FILE + 1)
        except InputError:
            return RepositoryFile(name, size, not_read="unreadable")
        self._hashed += len(data)
        if len(data) > limits.SMALL_FILE:  # it grew since it was listed
            return RepositoryFile(name, len(data), not_read="too_large")
        return described(name, data)

    def _followed(self, path: Path) -> Path | None:
        """Return where a file really is, None where that is outside the repository or nowhere."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return None
        inside = real.is_relative_to(self.root) and _HISTORY not in real.relative_to(self.root).parts
        return real if inside or (self.blobs is not None and real.parent == self.blobs) else None

    def _walk(self) -> Iterator[tuple[str, Path]]:
        pending: list[tuple[Path, str, int]] = [(self.root, "", 0)]
        while pending:
            folder, prefix, depth = pending.pop()
            deeper: list[tuple[Path, str, int]] = []
            for item in self._scan(folder, prefix):
                name = prefix + item.name
                if name == _HISTORY:
                    continue
                if item.is_dir(follow_symlinks=False):
                    if depth + 1 > limits.DEEPEST:
                        self.notes.append((name, "too_deep"))
                    else:
                        deeper.append((Path(item.path), name + "/", depth + 1))
                elif item.is_symlink() and _is_folder(item):
                    self.notes.append((name, "folder_link"))
                else:
                    yield name, Path(item.path)
            pending += reversed(deeper)

    def _scan(self, folder: Path, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not prefix:
                raise _refused(str(folder), error) from error
            self.notes.append((prefix.rstrip("/"), "unreadable"))
            return []

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            CorruptCheckpointError: it changed since the repository was opened.
        """
        data = _read(self._paths[name], name, limits.SMALL_FILE + 1)
        known = self.files[name]
        if known.git_id is not None and described(name, data).git_id != known.git_id:
            raise CorruptCheckpointError(
                f"{name} changed while it was being examined.",
                file=name,
                reason="Another program wrote to the file after the repository was opened.",
                next_step="Wait until the file is finished, then run again.",
            )
        return data

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Return bytes ``start:stop`` of a file, fewer where it ends before; b"" where it cannot be read at all."""
        path = self._paths.get(name)
        return b"" if path is None else _read(path, name, max(0, stop - start), start)


def _read(path: Path, name: str, most: int, start: int = 0) -> bytes:
    try:
        with open(path, "rb", buffering=0, opener=_no_link) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("no regular file")
            file.seek(start)
            pieces: list[bytes] = []
            left = most
            while left > 0 and (piece := file.read(min(left, 1 << 24))):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
    except OSError as error:
        raise _refused(name, error) from error


def _no_link(path: str, flags: int) -> int:
    """Open without following a link and without waiting for a pipe's other end."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir(follow_symlinks=True)
    except OSError:
        return False


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _refused(str(path), error) from error


def _refused(name: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return NotFoundError(
            f"There is nothing at {name}.",
            file=name,
            reason="No such file or folder.",
            next_step="Check the path.",
        )
    detail = getattr(error, "strerror", None) or str(error)
    return AccessDeniedError(
        f"{name} may not be read.",
        file=name,
        reason=f"The system says: {detail}.",
        next_step="Change its permissions, or run as a user who may read it.",
    )


def _display_name(root: Path) -> str:
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        return root.parent.parent.name.split("--")[-1]
    return root.name or str(root)


__all__ = ["open_file", "open_folder"]
