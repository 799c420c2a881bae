"""HuRef's invariant terms and their cosine, ICS (arXiv 2312.04828).

No threshold documented: the paper reports about 100 % for descendants and a few per cent for independent models.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fingerprints.subject import CannotTestError, Index, Real, Subject, shared_rows

TOKENS = 4096
LAYERS = 2


def similarity(one: Subject, other: Subject) -> float:
    """Return ICS, the cosine of the two models' invariant terms, between -1 and 1.

    The terms belong to the last two layers and to the 4,096 rarest tokens that both vocabularies have. A byte-pair
    vocabulary numbers its tokens in the order in which they were merged, so the rarest are those of the largest
    numbers. A term that one model does not have (a mixture of experts has no feed-forward product) is left out.

    Raises:
        CannotTestError: the attention matrices or the shared tokens are missing.
    """
    mine, theirs = (rows[-TOKENS:] for rows in shared_rows(one, other))
    if len(mine) < 2:
        raise CannotTestError("no shared tokens")
    total, found = 0.0, 0
    for back in range(1, LAYERS + 1):
        pairs = zip(
            terms(one, len(one.layers) - back, mine),
            terms(other, len(other.layers) - back, theirs),
            strict=True,
        )
        for a, b in pairs:
            if a is not None and b is not None:
                total, found = total + cosine(a, b), found + 1
    return total / found


def terms(model: Subject, layer: int, rows: Index) -> tuple[Real, Real, Real | None]:
    """Return a layer's three terms over the embeddings X (tokens, d_model) of some tokens.

    X Wq' Wk X', X (Wo Wv)' X' and X (Wdown Wup)' X', each (tokens, tokens). Any change of the basis of the residual
    stream cancels between X and a matrix, any change of units inside a product. Gains have no place in the terms.

    Raises:
        CannotTestError: the model has no separate queries, keys and values.
    """
    if layer < 0:
        raise CannotTestError("too few layers")
    x = model.need("embedding")[rows]
    q, k, v = model.need("q", layer), model.grouped("k", layer), model.grouped("v", layer)
    up, down = model.find("up", layer), model.find("down", layer)
    feed = None if up is None or down is None else (x @ up.T) @ (x @ down).T
    return (x @ q.T) @ (x @ k.T).T, (x @ v.T) @ (x @ model.need("o", layer)).T, feed


def cosine(a: Real, b: Real) -> float:
    """Return the cosine of two terms of one shape, each row first brought to mean 0 and standard deviation 1."""
    standard = [(m - m.mean(1, keepdims=True)) / np.maximum(m.std(1, keepdims=True), 1e-12) for m in (a, b)]
    return float((standard[0] * standard[1]).mean(dtype=np.float64))
