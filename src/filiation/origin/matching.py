"""Matchings: which unit of the candidate looks most like each unit of the suspect.

A matching may read unit contents only. Before any matching the units are shuffled by a seeded permutation that is
undone afterwards: linear assignment returns the identity on ties, which would be a fixed point nobody earned. Contents
that flip with a unit's sign are compared by ``|cosine|``, which is the same to the last bit after a flip; so flipping
the signs at random as well would change nothing.
"""

from __future__ import annotations

import numpy as np

from filiation.origin.units import Doubles, Floats, Integers, Units

ROWS = 2048  # units of either side compared at once: bounds memory


def nearest(suspect: Units, candidate: Units, rng: np.random.Generator) -> Integers:
    """Return, for each suspect unit, the row of the most similar candidate unit in the same block, or -1.

    Both sides are shuffled first: ties, and differences that only the arithmetic makes (a matrix product rounds by
    the place of a row in the matrix), then carry no index.
    """
    match = np.full(len(suspect), -1, np.int64)
    columns_of = dict(candidate.blocks())
    for block, rows in suspect.blocks():
        columns = columns_of.get(block)
        if columns is None:
            continue
        mine, theirs = rng.permutation(rows), rng.permutation(columns)
        best = np.full(len(mine), -np.inf, np.float32)
        for first in range(0, len(theirs), ROWS):
            there = theirs[first : first + ROWS]
            pool = candidate.normed[there].T
            for start in range(0, len(mine), ROWS):
                part = slice(start, start + ROWS)
                scores = suspect.normed[mine[part]] @ pool
                _keep_better(
                    np.abs(scores) if suspect.sign_free else scores, there, best[part], match, mine[part]
                )
    return match


def _keep_better(scores: Floats, there: Integers, best: Floats, match: Integers, rows: Integers) -> None:
    """Note, for each of the ``rows``, the best of these candidates where it beats what was found before."""
    top = scores.argmax(axis=1)
    value = scores[np.arange(len(scores)), top]
    better = value > best
    best[better] = value[better]
    match[rows[better]] = there[top[better]]


def assign(scores: Doubles, rng: np.random.Generator) -> Integers:
    """Return the assignment (row -> column, -1 where there are too few columns) of largest total similarity.

    Rows are shuffled first and the shuffle undone, so ties carry no information about rows' indices.
    """
    order = rng.permutation(len(scores))
    best = scores.argmax(axis=1) if scores.size else np.zeros(0, np.int64)
    # Where every row's best column is another one, nothing can do better; related models are mostly like that.
    if len(best) and len(np.unique(best)) == len(best) and _without_ties(scores, best):
        return best.astype(np.int64)
    from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportUnknownVariableType]

    rows, columns = linear_sum_assignment(scores[order], maximize=True)
    match = np.full(len(scores), -1, np.int64)
    match[order[np.asarray(rows)]] = np.asarray(columns)
    return match


def _without_ties(scores: Doubles, best: Integers) -> bool:
    """Return whether each row has one best column only (ties must be broken by the shuffle, not by index)."""
    top = scores[np.arange(len(scores)), best]
    return bool(((scores >= top[:, None]).sum(axis=1) == 1).all())


def same_position(suspect: Units, candidate: Units) -> Integers:
    """Return, for each suspect unit, the row of the candidate unit with the same block and position, or -1."""
    where = {
        (int(b), int(p)): row
        for row, (b, p) in enumerate(zip(candidate.block, candidate.position, strict=True))
    }
    pairs = zip(suspect.block, suspect.position, strict=True)
    return np.array([where.get((int(b), int(p)), -1) for b, p in pairs], np.int64)
