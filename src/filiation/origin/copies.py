"""Self-tests: layers (and heads) of one model that are, or began as, copies of one another.

Layers (and heads) that are, or began as, copies of one another carry the same labels, so they are one label set, not
several (evidence contract, section 3.6). A model is tested against itself before it is tested against another; copies
then enter products with exponent one over the size of their cluster, which keeps the product an e-value under any
dependence inside the cluster (Hoelder's inequality).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from filiation.origin import evalues
from filiation.origin.sweep import in_order
from filiation.origin.units import Units, similarity

#: log10 e at which two label sets of one model are merged. Merging wrongly costs power only.
MERGE_AT = 3.0
#: Mean cosine in place at which they are merged whatever their size (few units cannot reach the e-value).
MERGE_ALIKE = 0.5
#: Units of each label set that a self-test reads: copies agree index by index, so a window shows them.
SELF_TEST_UNITS = 96


def shares(units: Mapping[int, Units], rng: np.random.Generator) -> dict[int, float]:
    """Return for each label set (key) one over the number of label sets it is a copy of, itself included."""
    keys, offset = list(units), float(rng.random())
    seen = {k: _window(units[k], offset) for k in keys}
    cluster = {k: k for k in keys}

    def root(key: int) -> int:
        while cluster[key] != key:
            key = cluster[key]
        return key

    for i, a in enumerate(keys):
        others = [b for b in keys[i + 1 :] if len(units[a]) == len(units[b])]
        for b in _copies_of(seen[a], {b: seen[b] for b in others}, rng):
            cluster[root(b)] = root(a)
    sizes: dict[int, int] = {}
    for key in keys:
        sizes[root(key)] = sizes.get(root(key), 0) + 1
    return {key: 1.0 / sizes[root(key)] for key in keys}


def _window(units: Units, offset: float) -> Units:
    """Return a run of rows at ``offset`` (a share of what is free); the same one for label sets of one size."""
    start = int(offset * max(1, len(units) - SELF_TEST_UNITS + 1))
    return units.take(np.arange(start, min(len(units), start + SELF_TEST_UNITS)))


def _copies_of(one: Units, others: Mapping[int, Units], rng: np.random.Generator) -> list[int]:
    """Return which of the others are copies of ``one``: by their order, or by their likeness in place."""
    same = [k for k, other in others.items() if len(one) and other.content.shape == one.content.shape]
    found = zip(same, in_order(one, [others[k] for k in same], rng), strict=True)
    return [
        k for k, x in found if x.log_e / evalues.LOG10 >= MERGE_AT or _alike(one, others[k]) >= MERGE_ALIKE
    ]


def _alike(one: Units, other: Units) -> float:
    """Return the mean cosine of equally numbered units beyond that of all pairs."""
    if one.sign_free:
        cosines = similarity(one, other)
        return float(np.trace(cosines) / len(one) - cosines.mean())
    in_place = np.einsum("ij,ij->", one.normed, other.normed, dtype=np.float64) / len(one)
    return float(
        in_place - one.normed.mean(axis=0, dtype=np.float64) @ other.normed.mean(axis=0, dtype=np.float64)
    )


def clusters_of(share: Mapping[int, float]) -> bool:
    """Return whether any label set is a copy of another."""
    return any(s < 1.0 for s in share.values())


def block_weights(units: Units, rng: np.random.Generator) -> dict[int, float]:
    """Return the weight of each block of ``units`` (kv heads that are copies share one)."""
    by_block: dict[int, Units] = {}
    for block, rows in units.blocks():
        part = units.take(rows)
        by_block[block] = replace(part, block=np.zeros(len(part), np.int64), signed=())
    return shares(by_block, rng)


def repeated(units: Units, threshold: float = 0.9) -> bool:
    """Return whether two units of one label set have nearly equal contents (repeated kv heads, cloned experts)."""
    if len(units) < 2:
        return False
    cosines = units.normed @ units.normed.T
    return bool((cosines[np.triu_indices(len(units), 1)] > threshold).any())
