"""What two files are ranked by: subtrees, statements, and runs of two and three statements.

Every feature is a 64-bit hash with a weight, the number of its nodes. Runs are made from the hashes of statements by
arithmetic modulo 2**64, so a shipped fingerprint need not hold them.
"""

from __future__ import annotations

import numpy as np

from filiation.source.prints import Counts, Definition, Hashes, Print, Statements

_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_SMALLEST = 6  # nodes of a single statement that counts; ``return x`` says nothing
_RUNS = (2, 3)


def features(source: Print) -> tuple[Hashes, Counts]:
    """Return the distinct features of a file, sorted, with their weights (shapes (n,) and (n,))."""
    statements = source.statements
    kept = statements.sizes >= _SMALLEST
    hashes = [source.features, statements.digests[kept]]
    weights = [source.weights, statements.sizes[kept]]
    for length in _RUNS:
        runs, sizes = _windows(statements, source.definitions, length)
        hashes.append(runs)
        weights.append(sizes)
    every, first = np.unique(np.concatenate(hashes), return_index=True)
    return every, np.concatenate(weights)[first]


def _windows(
    statements: Statements, definitions: tuple[Definition, ...], length: int
) -> tuple[Hashes, Counts]:
    """Return hashes and sizes of all runs of ``length`` statements that stay inside one definition."""
    count = len(statements.digests) - length + 1
    if count <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int32)
    owner = np.zeros(len(statements.digests), np.int32)
    for number, definition in enumerate(definitions):
        owner[definition.start : definition.stop] = number
    hashes, sizes = np.zeros(count, np.uint64), np.zeros(count, np.int32)
    for offset in range(length):
        part = statements.digests[offset : offset + count] * np.uint64(_FACTORS[offset])
        hashes = (hashes ^ part) * np.uint64(_FACTORS[-1]) + (part >> np.uint64(29))
        sizes = sizes + statements.sizes[offset : offset + count]
    inside = owner[:count] == owner[length - 1 : length - 1 + count]
    return hashes[inside], sizes[inside].astype(np.int32)
