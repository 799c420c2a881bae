"""A folder or a file on this machine as a source.

What may be read: regular files whose real place is inside the folder. A symbolic link that leads out of it is
refused, with one exception, the hub's cache: ``<repo>/snapshots/<commit>/x`` may lead to a file directly in
``<repo>/blobs``, where ``<repo>`` is named ``models--...`` and ``blobs`` is a real folder. A link that the caller
names outright is the caller's own choice and is followed.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filiation.errors import (
    AccessDeniedError,
    CorruptCheckpointError,
    InputError,
    NotFoundError,
    UnsafeCheckpointError,
)
from filiation.evidence import FileRecord

_MAX_FILES = 20_000
_MAX_DEPTH = 2  # folders below the checkpoint's own: onnx/, original/, 1_Pooling/ ...


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    identity: tuple[int, int, int]  # device, inode, time of change: what must not alter while it is read


class LocalSource:
    """The files of one folder, listed once.

    Attributes:
        chosen: the weight file that the caller named, or None for a folder.
    """

    def __init__(self, path: Path, locator: str | None = None) -> None:
        """List the files.

        Args:
            path: a folder, or one file in it.
            locator: what the caller wrote, when it is not the path itself.

        Raises:
            NotFoundError: nothing is there. AccessDeniedError: it may not be listed.
        """
        self._locator = locator or str(path)
        self._lock = threading.Lock()
        self._bytes_read = 0
        self.chosen = None if _is_folder(path) else path.name
        folder = path if self.chosen is None else path.parent
        self._root = _real(folder)
        self._blobs = blobs_of(self._root)
        self._refused: dict[str, InputError] = {}
        self._entries = self._listed()
        if self.chosen is not None:
            self._choose(path, self.chosen)
        self._name = _display_name(folder, self.chosen)

    def _choose(self, path: Path, chosen: str) -> None:
        """Admit the file that the caller named, wherever it really lies."""
        self._refused.pop(chosen, None)
        self._entries[chosen] = _entry(_real(path), chosen)

    @property
    def refused(self) -> Mapping[str, InputError]:
        """Names that are there but may not be read, each with the error that a read of it raises."""
        return self._refused

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        return self._locator

    @property
    def name(self) -> str:
        """The folder's name, or the file's without its ending."""
        return self._name

    @property
    def revision(self) -> str | None:
        """The commit, where the folder is a snapshot in the hub's cache."""
        return self._root.name if self._blobs and self._root.parent.name == "snapshots" else None

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, of all files."""
        return self._bytes_read

    def files(self) -> Sequence[FileRecord]:
        """Every file, by name; links that lead out of the folder are left out until they are asked for."""
        return [FileRecord(name, self._entries[name].size) for name in sorted(self._entries)]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop`` of a file; see :class:`~filiation.checkpoint.sources.base.Source`."""
        entry = self._entry(name)
        end = entry.size if stop is None else stop
        if end > entry.size:
            raise _too_short(name, start, end, entry.size)
        buffer = bytearray(max(0, end - start))
        self.read_into(name, start, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        """Fill ``buffer`` from byte ``start`` on, without a copy in between.

        Raises:
            CorruptCheckpointError: the file is shorter, or changed since it was listed.
        """
        self.read_pieces_into(name, start, buffer, len(buffer), 0)

    def read_pieces_into(self, name: str, start: int, buffer: memoryview, each: int, apart: int) -> None:
        """Fill ``buffer`` with pieces of ``each`` bytes whose starts lie ``apart``, the first of them at ``start``.

        Raises:
            CorruptCheckpointError: the file is shorter, or changed since it was listed.
        """
        entry = self._entry(name)
        try:
            # Opened anew each time: no handle is shared between threads and none is left open.
            with open(entry.path, "rb", buffering=0) as file:
                if _identity(os.fstat(file.fileno())) != entry.identity:
                    raise _changed(name)
                for n, low in enumerate(range(0, len(buffer), max(1, each))):
                    file.seek(start + n * apart)
                    done, high = low, low + each
                    while done < high and (got := file.readinto(buffer[done:high])):
                        done += got
                    if done < high:
                        raise _too_short(
                            name, start, start + n * apart + each, start + n * apart + done - low
                        )
        except OSError as error:
            raise _os_error(error, name) from error
        with self._lock:
            self._bytes_read += len(buffer)

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: the system's own read-ahead serves local files."""

    def local_path(self, name: str) -> Path | None:
        """Return the file's real path."""
        return self._entry(name).path

    def _entry(self, name: str) -> _Entry:
        entry = self._entries.get(name)
        if entry is not None:
            return entry
        if name in self._refused:
            raise self._refused[name]
        parts = name.replace("\\", "/").split("/")
        if ".." in parts or name.startswith("/") or Path(name).is_absolute():
            raise _escape(name, "The name leads out of the checkpoint's folder.")
        raise NotFoundError(
            f"There is no file {name} in {self._locator}.",
            file=name,
            reason="The folder does not hold it.",
            next_step="Check that the checkpoint is complete.",
        )

    def _listed(self) -> dict[str, _Entry]:
        found: dict[str, _Entry] = {}
        pending: list[tuple[Path, str, int]] = [(self._root, "", 0)]
        while pending:
            folder, prefix, depth = pending.pop()
            for item in _scan(folder, must=depth == 0):
                name = prefix + item.name
                if item.is_dir(follow_symlinks=False):
                    if depth < _MAX_DEPTH and not item.name.startswith("."):
                        pending.append((Path(item.path), name + "/", depth + 1))
                else:
                    self._admit(name, Path(item.path), found)
                if len(found) > _MAX_FILES:
                    raise InputError(
                        f"{self._locator} holds more than {_MAX_FILES} files.",
                        file=self._locator,
                        reason="A checkpoint's folder holds a few dozen files; this looks like something else.",
                        next_step="Name the folder that holds config.json, or the weight file itself.",
                    )
        return found

    def _admit(self, name: str, path: Path, found: dict[str, _Entry]) -> None:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):
            self._refused[name] = _dangling(name)
            return
        if not self._is_inside(real):
            self._refused[name] = _escape(name, f"It is a symbolic link to {real}, outside the folder.")
            return
        try:
            status = real.stat()
        except OSError:
            return
        if stat.S_ISREG(status.st_mode):
            found[name] = _Entry(real, status.st_size, _identity(status))

    def _is_inside(self, real: Path) -> bool:
        return real.is_relative_to(self._root) or (self._blobs is not None and real.parent == self._blobs)


def blobs_of(root: Path) -> Path | None:
    """Return the ``blobs`` folder that a snapshot in the hub's cache may link into."""
    for folder in (root, *root.parents):
        repo = folder.parent.parent
        if folder.parent.name == "snapshots" and repo.name.startswith("models--"):
            blobs = repo / "blobs"
            return blobs if blobs.is_dir() and not blobs.is_symlink() else None
    return None


def _display_name(folder: Path, chosen: str | None) -> str:
    if chosen is not None:
        return Path(chosen).stem
    real = folder.resolve()
    if real.parent.name == "snapshots" and real.parent.parent.name.startswith("models--"):
        return real.parent.parent.name.split("--")[-1]
    return real.name or str(real)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _entry(real: Path, name: str) -> _Entry:
    status = real.stat()
    if not stat.S_ISREG(status.st_mode):
        raise InputError(
            f"{name} is not a regular file.",
            file=name,
            reason="It is a device, a pipe or a socket, which cannot be read by range.",
            next_step="Copy the data into a file and name that.",
        )
    return _Entry(real, status.st_size, _identity(status))


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise _os_error(error, str(path)) from error


def _real(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except OSError as error:
        raise _os_error(error, str(path)) from error


def _scan(folder: Path, *, must: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda e: e.name)
    except OSError as error:
        if not must:
            return []  # a sub-folder that may not be listed holds nothing the checkpoint needs
        raise _os_error(error, str(folder)) from error


def _os_error(error: OSError, name: str) -> InputError:
    if isinstance(error, PermissionError):
        return AccessDeniedError(
            f"{name} may not be read.",
            file=name,
            reason="The system refuses it: permission denied.",
            next_step="Change the file's permissions, or run as a user who may read it.",
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NotFoundError(
            f"There is nothing at {name}.",
            file=name,
            reason="No such file or folder.",
            next_step="Check the path.",
        )
    return InputError(
        f"{name} could not be read.",
        file=name,
        reason=f"The system says: {error.strerror or error}.",
        next_step="Check the disk and read the file again.",
    )


def _escape(name: str, reason: str) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{name} leads out of the checkpoint's folder; refused.",
        file=name,
        reason=reason,
        next_step="Put the file itself into the folder, or name the file it leads to.",
    )


def _dangling(name: str) -> NotFoundError:
    return NotFoundError(
        f"{name} is a symbolic link to nothing.",
        file=name,
        reason="The file that it leads to is not there; most likely a download was cut off.",
        next_step="Download the checkpoint again, completely.",
    )


def _too_short(name: str, start: int, stop: int, size: int) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{name} is shorter than it should be.",
        file=name,
        reason=f"Bytes {start} to {stop} were asked for; the file ends at {size}.",
        next_step="The file is truncated: download it again.",
    )


def _changed(name: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{name} changed while it was being read.",
        file=name,
        reason="Another program wrote to the file after it was opened.",
        next_step="Wait until the file is finished, then run again.",
    )
