"""The records of a model repository: its files, their identities, its history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from filiation.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """One file of a repository.

    Attributes:
        path: inside the repository, with ``/``.
        size: in bytes; None where only the file's identity is known.
        git_id: object id of the file as git and the hub give it (SHA-1 over a ``blob <size>`` header and the bytes;
            for a file in large-file storage that of its pointer).
        sha256: of the bytes; for a file in large-file storage as its pointer or the hub states it.
        not_read: why the bytes cannot be read, or None: ``too_large``, ``pointer``, ``not_text``, ``link``, ``facts``,
            ``unreadable`` (refused by the system, encrypted or damaged).
    """

    path: str
    size: int | None
    git_id: str | None = None
    sha256: str | None = None
    not_read: str | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit that touched the repository: id, author and committer time (ISO 8601 with offset), subject.

    ``paths`` are the files that differ from its first parent (all of them for a first commit), sorted.
    """

    id: str
    authored: str
    committed: str
    subject: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Repository:
    """A model repository: the small files are read, weights are listed only.

    ``read`` returns the bytes of one file; use :meth:`data`, which answers for files that are not there. ``notes``
    says, as pairs of path and phrase key, what was left out and why. ``commits`` come newest first, as ``git log``
    lists them. ``part`` reads a byte range of any file whose bytes are at hand, weights too (for their headers);
    ``at`` returns a file as it was at a commit. Both are None where the place cannot do it.
    """

    locator: str
    name: str
    files: Mapping[str, RepositoryFile]
    read: Callable[[str], bytes]
    revision: str | None = None
    commits: tuple[Commit, ...] = ()
    notes: tuple[tuple[str, str], ...] = field(default=())
    part: Callable[[str, int, int], bytes] | None = None
    at: Callable[[str, str], bytes] | None = None

    def readable(self, path: str) -> bool:
        """Return whether the bytes of ``path`` can be had."""
        found = self.files.get(path)
        return found is not None and found.not_read is None

    def data(self, path: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            NotFoundError: it is not there, or only its identity is known.
        """
        if not self.readable(path):
            known = self.files.get(path)
            raise NotFoundError(
                f"{path} cannot be read.",
                file=f"{self.locator}/{path}",
                reason="It is not in the repository." if known is None else f"Not read: {known.not_read}.",
                next_step="Give a repository that holds the file itself.",
            )
        return self.read(path)

    def text(self, path: str) -> str:
        """Return a file as text: UTF-8 (with or without mark), else Latin-1, which every byte has a place in."""
        data = self.data(path)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("latin-1")

    def ending(self, *suffixes: str) -> tuple[str, ...]:
        """Return the paths of readable files whose name ends in one of ``suffixes``, sorted."""
        return tuple(sorted(p for p in self.files if p.lower().endswith(suffixes) and self.readable(p)))
