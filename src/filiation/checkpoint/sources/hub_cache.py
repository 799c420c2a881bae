"""The hub client's cache on this machine, read only: which commit, which files, where they really are.

Layout (huggingface_hub's): ``<cache>/models--org--name/refs/<revision>`` holds a commit,
``snapshots/<commit>/<file>`` links into ``blobs``, and newer clients write what the commit should hold to
``trees/<commit>.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filiation.checkpoint.sources.ranges import safe_name
from filiation.errors import AccessDeniedError, CorruptCheckpointError, UnsafeCheckpointError

COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the hub lists it: bytes, the SHA-256 it records for large files, and git's object id of the file.

    The object id of a large file is that of the pointer that stands for it in git.
    """

    size: int
    sha256: str | None = None
    large: bool = False
    git_id: str | None = None


class HubCache:
    """What one cache folder holds of one model repository."""

    def __init__(self, root: Path, repo: str) -> None:
        self._root = root
        self._folder = root / ("models--" + repo.replace("/", "--"))

    def commit(self, revision: str) -> str | None:
        """Return the commit that a branch, tag or commit stood for when it was last fetched, or None."""
        if COMMIT.fullmatch(revision):
            return revision if (self._folder / "snapshots" / revision).is_dir() else None
        try:
            text = (self._folder / "refs" / safe_name(revision)).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return text if COMMIT.fullmatch(text) else None

    def listing(self, commit: str) -> dict[str, Listed] | None:
        """Return what the hub listed for a commit when it was fetched, or None if that was not kept."""
        try:
            tree = json.loads((self._folder / "trees" / f"{commit}.json").read_text("utf-8"))
            return {safe_name(name): _listed(entry) for name, entry in tree["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def files(self, commit: str) -> dict[str, Listed]:
        """Return every file of a snapshot that is really there, with the SHA-256 that its blob is named after."""
        snapshot = self._folder / "snapshots" / commit
        found: dict[str, Listed] = {}
        for path in sorted(snapshot.rglob("*")):
            if path.is_file():
                blob = path.readlink().name if path.is_symlink() else ""
                sha256 = blob if _SHA256.fullmatch(blob) else None
                found[path.relative_to(snapshot).as_posix()] = Listed(
                    path.stat().st_size, sha256, sha256 is not None
                )
        return found

    def path(self, commit: str, name: str, size: int) -> Path | None:
        """Return where a file of a snapshot lies, or None if it is not there in full.

        Raises:
            UnsafeCheckpointError: it links to a place outside the cache.
        """
        path = self._folder / "snapshots" / commit / safe_name(name)
        try:
            real = path.resolve(strict=True)
            if not real.is_file() or real.stat().st_size != size:
                return None
        except OSError:
            return None
        # Blobs lie in the repository's folder or, shared between repositories, in the cache's.
        if not any(real.is_relative_to(folder.resolve()) for folder in (self._folder, self._root / "blobs")):
            raise UnsafeCheckpointError(
                "A cached file links to a place outside the cache; refused.",
                file=name,
                reason=f"The snapshot {commit} of {self._folder.name} leads to {real}.",
                next_step="Remove the snapshot from the cache and fetch the model again.",
            )
        return real


def read_cached(path: Path, name: str, start: int, buffer: memoryview) -> None:
    """Fill ``buffer`` with a cached file's bytes from ``start`` on.

    Raises:
        AccessDeniedError: not readable. CorruptCheckpointError: it has become shorter.
    """
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            done = 0
            while done < len(buffer) and (got := file.readinto(buffer[done:])):
                done += got
    except OSError as error:
        raise AccessDeniedError(
            "A cached file cannot be read.",
            file=name,
            reason=f"{path}: {error.strerror}.",
            next_step="Check its permissions, or remove the snapshot from the cache and fetch it again.",
        ) from error
    if done < len(buffer):
        raise CorruptCheckpointError(
            "A cached file has become shorter.",
            file=name,
            reason=f"{len(buffer):,} bytes from {start:,} on were to be read; {done:,} came.",
            next_step="Remove the snapshot from the cache and fetch the model again.",
        )


def _listed(entry: Mapping[str, Any]) -> Listed:
    sha256 = entry.get("lfs_sha256")
    large = sha256 is not None
    size = int(entry["lfs_size"] if large else entry["size"])
    return Listed(size, cast("str | None", sha256), large, as_git_id(entry.get("blob_id")))


def as_git_id(value: object) -> str | None:
    """Return git's object id, None for anything else."""
    return value if isinstance(value, str) and COMMIT.fullmatch(value) else None
