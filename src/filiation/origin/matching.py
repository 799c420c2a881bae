"""Matchings: which unit of the candidate looks most like each unit of the suspect.

A matching may read unit contents only. Before any matching the units are shuffled by a seeded permutation that is
undone afterwards: linear assignment returns the identity on ties, which would be a fixed point nobody earned. Contents
that flip with a unit's sign are compared by ``|cosine|``, which is the same to the last bit after a flip; so flipping
the signs at random as well would change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from filiation.origin.sorting import distinct
from filiation.origin.units import Doubles, Floats, Integers, Units

ROWS = 2048  # units of either side compared at once: bounds memory
_SCORED = 256  # rows of scores worked out at once


class Matchable(Protocol):
    """What is asked of the units among which partners are looked for."""

    @property
    def position(self) -> Integers:
        """``(n,)`` the index that each unit carries."""
        ...

    @property
    def block(self) -> Integers:
        """``(n,)`` units are exchangeable inside a block only."""
        ...

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, Integers]]:
        """Yield each block number with its row numbers."""
        ...

    def normed_at(self, chosen: Integers) -> Floats:
        """Return the contents of these rows scaled to unit length."""
        ...


def nearest(suspect: Units, candidate: Matchable, rng: np.random.Generator) -> Integers:
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
            _search(suspect, mine, candidate, theirs[first : first + ROWS], best, match)
    return match


def _search(
    suspect: Units, mine: Integers, candidate: Matchable, there: Integers, best: Floats, match: Integers
) -> None:
    """Look for partners of the suspect's rows ``mine`` among the candidate's rows ``there``."""
    pool = candidate.normed_at(there).T
    for start in range(0, len(mine), ROWS):
        part = slice(start, start + ROWS)
        scores = suspect.normed[mine[part]] @ pool
        _keep_better(np.abs(scores) if suspect.sign_free else scores, there, best[part], match, mine[part])


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
    n, m = scores.shape
    return assign_rows(lambda rows: scores[rows], n, m, rng)


def assign_rows(scores: Callable[[Integers], Doubles], n: int, m: int, rng: np.random.Generator) -> Integers:
    """Return the assignment of :func:`assign` from ``(n, m)`` scores that are worked out some rows at a time.

    Args:
        scores: gives these rows of the scores, ``(k, m)``; called several times for each row.
    """
    order = rng.permutation(n)
    best = _best_columns(scores, n) if n and m else None
    # Where every row's best column is another one, nothing can do better; related models are mostly like that.
    if best is not None and len(distinct(best)) == n:
        return best
    from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportUnknownVariableType]

    cost = np.empty((n, m))
    for start in range(0, n, _SCORED):
        some = slice(start, start + _SCORED)
        np.negative(scores(order[some]), out=cost[some])  # as maximising does, but not in a second matrix
    rows, columns = linear_sum_assignment(cost)
    match = np.full(n, -1, np.int64)
    match[order[np.asarray(rows)]] = np.asarray(columns)
    return match


def _best_columns(scores: Callable[[Integers], Doubles], n: int) -> Integers | None:
    """Return each row's best column; None where one has several: ties must be broken by the shuffle, not by index."""
    best = np.empty(n, np.int64)
    for start in range(0, n, _SCORED):
        some = np.arange(start, min(start + _SCORED, n))
        rows = scores(some)
        best[some] = rows.argmax(axis=1)
        top = rows[np.arange(len(rows)), best[some]]
        if ((rows >= top[:, None]).sum(axis=1) != 1).any():
            return None
    return best


def same_position(suspect: Units, candidate: Units) -> Integers:
    """Return, for each suspect unit, the row of the candidate unit with the same block and position, or -1."""
    where = {
        (int(b), int(p)): row
        for row, (b, p) in enumerate(zip(candidate.block, candidate.position, strict=True))
    }
    pairs = zip(suspect.block, suspect.position, strict=True)
    return np.array([where.get((int(b), int(p)), -1) for b, p in pairs], np.int64)
