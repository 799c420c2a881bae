"""A repository as a source of the checkpoint room, so that its readers of headers can be used on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filiation.errors import CorruptCheckpointError, NotFoundError
from filiation.evidence import FileRecord
from filiation.repository.model import Repository


class RepositorySource:
    """The files of a repository whose bytes can be had by range."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._bytes_read = 0

    @property
    def locator(self) -> str:
        """What the caller wrote."""
        return self._repository.locator

    @property
    def name(self) -> str:
        """The repository's display name."""
        return self._repository.name

    @property
    def revision(self) -> str | None:
        """The commit, where it is known."""
        return self._repository.revision

    @property
    def bytes_read(self) -> int:
        """Bytes read so far."""
        return self._bytes_read

    def files(self) -> Sequence[FileRecord]:
        """Every file whose size is known."""
        known = self._repository.files.values()
        return [FileRecord(f.path, f.size, f.sha256) for f in known if f.size is not None]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop``.

        Raises:
            NotFoundError: there is no such file, or only its identity is known.
            CorruptCheckpointError: fewer bytes came than were asked for.
        """
        file = self._repository.files.get(name)
        if file is None or file.size is None or self._repository.part is None or file.not_read == "pointer":
            raise NotFoundError(
                f"{name} cannot be read.",
                file=name,
                reason="The repository does not hold its bytes.",
                next_step="Give a repository that holds the file itself.",
            )
        end = file.size if stop is None else stop
        data = self._repository.part(name, start, end)
        if len(data) != end - start:
            raise CorruptCheckpointError(
                f"{name} is shorter than it should be.",
                file=name,
                reason=f"Bytes {start} to {end} were asked for; {len(data)} came.",
                next_step="The file is truncated, or an archive holds it too far in: unpack the archive.",
            )
        self._bytes_read += len(data)
        return data

    def prefetch(self, name: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Do nothing: headers are read once."""

    def local_path(self, name: str) -> Path | None:
        """Return None: everything is read through the repository."""
        return None
