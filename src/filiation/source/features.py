"""What two files are ranked by: subtrees, statements, and runs of two and three statements.

Every feature is a 64-bit hash with a weight, the number of its nodes. Runs are made from the hashes of statements by
arithmetic modulo 2**64, so a shipped fingerprint need not hold them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.source.prints import Counts, Hashes, Print

Lengths = npt.NDArray[np.int64]
Features = tuple[Hashes, Counts]

_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_SMALLEST = 6  # nodes of a single statement that counts; ``return x`` says nothing
_RUNS = (2, 3)


def features(source: Print) -> Features:
    """Return the distinct features of a file, sorted, with their weights (shapes (n,) and (n,))."""
    lengths = np.array([d.stop - d.start for d in source.definitions], np.int64)
    statements = source.statements
    return gathered(source.features, source.weights, statements.digests, statements.sizes, lengths)


def gathered(subtrees: Hashes, weights: Counts, digests: Hashes, sizes: Counts, lengths: Lengths) -> Features:
    """Return the features of a file from its parts: subtrees, statements, and how many of these each definition has."""
    kept = sizes >= _SMALLEST
    owner = np.repeat(np.arange(len(lengths)), lengths)
    parts = [(subtrees, weights), (digests[kept], sizes[kept])]
    parts += [_windows(digests, sizes, owner, length) for length in _RUNS]
    every, first = np.unique(np.concatenate([hashes for hashes, _ in parts]), return_index=True)
    return every, np.concatenate([counts for _, counts in parts])[first]


def _windows(digests: Hashes, sizes: Counts, owner: Lengths, length: int) -> Features:
    """Return hashes and sizes of all runs of ``length`` statements that stay inside one definition."""
    count = len(digests) - length + 1
    if count <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int32)
    hashes, together = np.zeros(count, np.uint64), np.zeros(count, np.int32)
    for offset in range(length):
        part = digests[offset : offset + count] * np.uint64(_FACTORS[offset])
        hashes = (hashes ^ part) * np.uint64(_FACTORS[-1]) + (part >> np.uint64(29))
        together = together + sizes[offset : offset + count]
    inside = owner[:count] == owner[length - 1 : length - 1 + count]
    return hashes[inside], together[inside].astype(np.int32)
