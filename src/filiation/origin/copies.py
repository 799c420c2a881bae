"""Self-tests: layers (and heads) of one model that are, or began as, copies of one another.

Copies carry the same labels, so they are one label set, not several (evidence contract, section 3.6). A model is
tested against itself before it is tested against another; copies then enter products with exponent one over the
size of their cluster, which keeps the product an e-value under any dependence inside the cluster (Hoelder).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from filiation.origin import evalues
from filiation.origin.diagonal import Diagonal
from filiation.origin.order import FixedPoints
from filiation.origin.testing import Outcome
from filiation.origin.units import Units

#: log10 e at which two label sets of one model are merged. Merging wrongly costs power, never exactness.
MERGE_AT = 3.0


def order_log_e(suspect: Units, candidate: Units, rng: np.random.Generator) -> float:
    """Return the log e-value of the order label: the mean of the fixed-point and the diagonal test."""
    outcomes = [t.measure(suspect, candidate, rng) for t in (FixedPoints(), Diagonal())]
    logs = [o.log_e for o in outcomes if isinstance(o, Outcome)]
    return evalues.log_mean(logs) if logs else 0.0


def shares(units: Mapping[int, Units], rng: np.random.Generator) -> dict[int, float]:
    """Return for each label set (key) one over the number of label sets it is a copy of, itself included."""
    keys = list(units)
    cluster = {k: k for k in keys}

    def root(key: int) -> int:
        while cluster[key] != key:
            key = cluster[key]
        return key

    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            if len(units[a]) != len(units[b]):
                continue
            if order_log_e(units[a], units[b], rng) / evalues.LOG10 >= MERGE_AT:
                cluster[root(b)] = root(a)
    sizes: dict[int, int] = {}
    for key in keys:
        sizes[root(key)] = sizes.get(root(key), 0) + 1
    return {key: 1.0 / sizes[root(key)] for key in keys}


def clusters_of(share: Mapping[int, float]) -> bool:
    """Return whether any label set is a copy of another."""
    return any(s < 1.0 for s in share.values())


def block_weights(units: Units, rng: np.random.Generator) -> dict[int, float]:
    """Return the weight of each block of ``units`` (kv heads that are copies share one)."""
    alive = units.alive()
    by_block: dict[int, Units] = {}
    for block, rows in alive.blocks():
        part = alive.take(rows)
        one_block = np.zeros(len(part), np.int64)
        by_block[block] = Units(part.kind, part.content, part.position, one_block, (), part.sign_free)
    return shares(by_block, rng)


def repeated(units: Units, threshold: float = 0.9) -> bool:
    """Return whether two units of one label set have nearly equal contents (repeated kv heads, cloned experts)."""
    normed = units.alive().normed
    if len(normed) < 2:
        return False
    cosines = normed @ normed.T
    return bool((cosines[np.triu_indices(len(normed), 1)] > threshold).any())


def ordered_by_size(units: Units, level: float = 1e-6) -> bool:
    """Return whether positions follow the units' norms: sorted or pruned by importance, so not arbitrary.

    Reads one model only. Under an arbitrary order this fires with probability about ``level`` per quantity.
    """
    quantities: Sequence[np.ndarray] = (units.content, *units.signed)
    tested = [rows for _, rows in units.blocks() if len(rows) > 7]
    return any(
        _trend_p_value(units.position[rows], np.linalg.norm(matrix[rows], axis=1)) < level / len(tested)
        for matrix in quantities
        for rows in tested
    )


def _trend_p_value(position: np.ndarray, size: np.ndarray) -> float:
    """Return the two-sided p-value of Spearman's rank correlation (normal approximation; 1 for constant sizes).

    Own arithmetic: importing scipy.stats takes longer than a whole comparison of small models.
    """
    n = len(size)
    ranks = np.argsort(np.argsort(size, kind="stable"), kind="stable").astype(np.float64)
    order = np.argsort(np.argsort(position, kind="stable"), kind="stable").astype(np.float64)
    if size.max() == size.min():
        return 1.0
    rho = float(np.corrcoef(ranks, order)[0, 1])
    return math.erfc(abs(rho) * math.sqrt(n - 1) / math.sqrt(2.0))
