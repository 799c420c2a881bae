"""Matchings: which unit of the candidate looks most like each unit of the suspect.

A matching may read unit contents only. Before any matching the suspect's units are shuffled by a seeded permutation
that is undone afterwards: linear assignment returns the identity on ties, which would be a fixed point nobody earned.
"""

from __future__ import annotations

import numpy as np

from filiation.origin.units import Doubles, Integers, Units, similarity


def nearest(suspect: Units, candidate: Units, rng: np.random.Generator) -> Integers:
    """Return, for each suspect unit, the row of the most similar candidate unit in the same block, or -1.

    Ties are broken at random, not by index.
    """
    match = np.full(len(suspect), -1, np.int64)
    columns_of = dict(candidate.blocks())
    for block, rows in suspect.blocks():
        columns = columns_of.get(block)
        if columns is None:
            continue
        shuffled = rng.permutation(columns)
        scores = similarity(suspect.take(rows), candidate.take(shuffled))
        match[rows] = shuffled[scores.argmax(axis=1)]
    return match


def assign(scores: Doubles, rng: np.random.Generator) -> Integers:
    """Return the assignment (row -> column, -1 where there are too few columns) of largest total similarity.

    Rows are shuffled first and the shuffle undone, so ties carry no information about rows' indices.
    """
    from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportUnknownVariableType]

    order = rng.permutation(len(scores))
    rows, columns = linear_sum_assignment(scores[order], maximize=True)
    match = np.full(len(scores), -1, np.int64)
    match[order[np.asarray(rows)]] = np.asarray(columns)
    return match


def same_position(suspect: Units, candidate: Units) -> Integers:
    """Return, for each suspect unit, the row of the candidate unit with the same block and position, or -1."""
    where = {
        (int(b), int(p)): row
        for row, (b, p) in enumerate(zip(candidate.block, candidate.position, strict=True))
    }
    pairs = zip(suspect.block, suspect.position, strict=True)
    return np.array([where.get((int(b), int(p)), -1) for b, p in pairs], np.int64)
