"""The fingerprint of a source file: its definitions, their statements, and what was gathered from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Definition:
    """A function, a method, the body of a class without its methods, or the rest of a module.

    ``start`` and ``stop`` are positions in the statements of the file. ``name`` is dotted inside the file;
    that of the rest of a module is empty.
    """

    name: str
    kind: str
    line: int
    end: int
    start: int
    stop: int


@dataclass(frozen=True, eq=False, slots=True)
class Statements:
    """The statements of a file in order: hash, size in nodes, line, and where their names begin.

    ``names`` are hashes of the names in order (:func:`filiation.source.hashing.name_hash`); those of statement i are
    ``names[first[i]:first[i + 1]]``, so ``first`` is one longer than the rest.
    """

    digests: Hashes
    sizes: Counts
    lines: Counts
    first: Counts
    names: Hashes

    @property
    def nodes(self) -> int:
        """Number of nodes in all statements."""
        return int(self.sizes.sum())


@dataclass(frozen=True, eq=False, slots=True)
class Gathered:
    """What a definition uses: calls of libraries, constants, attributes of ``self``, parameters (sorted)."""

    calls: tuple[str, ...]
    constants: tuple[str, ...]
    attributes: tuple[str, ...]
    parameters: tuple[str, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Print:
    """The fingerprint of one file.

    Attributes:
        path: inside its repository or package.
        digest: SHA-256 of the bytes; empty where only the fingerprint is known.
        plain: hash of the code as it is written, names and constants included, without docstrings and annotations.
        features: distinct subtree hashes of 12 to 400 nodes, sorted; ``weights`` their sizes.
        spelling: names by their hashes, as far as they are known.
        gathered: by definition; empty for a shipped fingerprint.
        lines: number of lines of the file.
        repaired: lines that could not be parsed and were passed over.
    """

    path: str
    digest: str
    plain: int
    definitions: tuple[Definition, ...]
    statements: Statements
    features: Hashes
    weights: Counts
    spelling: Mapping[int, str]
    gathered: tuple[Gathered, ...]
    lines: int
    repaired: tuple[int, ...] = ()
