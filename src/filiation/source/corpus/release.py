"""One release of the corpus: its files with what their heads say, their fingerprints, their declared sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from filiation.source.features import Features
from filiation.source.headers import Header
from filiation.source.prints import Print


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: path inside the package, its head, and the works that it says it takes code from."""

    path: str
    header: Header
    sources: tuple[str, ...]
    generated: bool

    @property
    def work(self) -> str:
        """What counts as one work whatever the release: the path, also after a move to the folder ``deprecated``."""
        return self.path.replace("/models/deprecated/", "/models/")


@dataclass(frozen=True, eq=False)
class Release:
    """The fingerprints of one release.

    Attributes:
        package, version, released: what it is; the date is ISO 8601.
        wheel_sha256: of the file that it was built from.
        entries: its files, sorted by path.
        print_of: the fingerprint of file n.
        features_of: what file n is ranked by, where that is quicker to have than its fingerprint.
    """

    package: str
    version: str
    released: str
    wheel_sha256: str
    entries: tuple[Entry, ...]
    print_of: Callable[[int], Print]
    at: Mapping[str, int] = field(default_factory=dict[str, int])
    features_of: Callable[[int], Features] | None = None

    @property
    def name(self) -> str:
        """Package and version."""
        return f"{self.package} {self.version}"

    def module(self, dotted: str) -> int | None:
        """Return the number of the file that is the module ``dotted``, or None."""
        return self.at.get(dotted.replace(".", "/") + ".py")


def release(
    package: str,
    version: str,
    released: str,
    wheel_sha256: str,
    entries: Sequence[Entry],
    print_of: Callable[[int], Print],
    features_of: Callable[[int], Features] | None = None,
) -> Release:
    """Return a release with its files by path."""
    at = {entry.path: n for n, entry in enumerate(entries)}
    return Release(package, version, released, wheel_sha256, tuple(entries), print_of, at, features_of)
