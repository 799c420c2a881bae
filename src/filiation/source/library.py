"""The reference corpus ready for use: its releases, the index over them, and its null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from filiation.source import null
from filiation.source.corpus import store
from filiation.source.corpus.release import Release
from filiation.source.ranking import Index


class Library:
    """Releases, oldest first; index and null are made when first asked for."""

    def __init__(self, releases: Sequence[Release]) -> None:
        self.releases = tuple(sorted(releases, key=lambda r: (r.released, r.name)))

    @cached_property
    def index(self) -> Index:
        """Features of all files."""
        return Index(self.releases)

    @cached_property
    def null(self) -> null.Null:
        """What unrelated files score."""
        return null.measure(self.index)

    def facts(self) -> dict[str, str]:
        """Return the releases with their dates and the digests of the files that they were built from."""
        return {r.name: f"{r.released} sha256:{r.wheel_sha256}" for r in self.releases}


def load(files: Sequence[Path] = (), *, shipped: bool = True) -> Library:
    """Return the corpus that comes with the package, with others that were built.

    Raises:
        CorruptCheckpointError: a file is no corpus.
    """
    releases = [r for name, data in store.shipped() for r in store.load(data, name)] if shipped else []
    own = [r for path in files for r in store.load_file(path)]
    unique: Mapping[str, Release] = {r.name: r for r in (*releases, *own)}
    return Library(tuple(unique.values()))
