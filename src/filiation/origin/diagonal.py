"""Diagonal test: is a unit more like the candidate's unit at its own index than like the others?

Evidence contract, section 3.5. It adds up small excesses over all units, so it still sees a weight cosine of a
few hundredths, where no unit's best match is its own.
"""

from __future__ import annotations

import numpy as np

from filiation.origin import evalues
from filiation.origin.testing import KINDS_WITH_ORDER, Abstention, Outcome, Weights, weight_of
from filiation.origin.units import Units, similarity


class Diagonal:
    """Sequential betting on the similarity of units at equal positions; the statistic is a z-score."""

    name = "diagonal"
    labels = "order"
    kinds = KINDS_WITH_ORDER
    sizes = "equal"
    symmetric = False
    statistic_name = "z"
    counts_units = False

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Bet through every block; abstain when no block has two live units on both sides."""
        s, c = suspect.alive(), candidate.alive()
        columns_of = dict(c.blocks())
        bets, shares, z_parts, n = [], [], [], 0
        for block, rows in s.blocks():
            columns = columns_of.get(block)
            if columns is None or len(rows) < 2 or len(columns) < 2:
                continue
            scores = similarity(s.take(rows), c.take(columns))
            bets.append(evalues.diagonal_bets(scores, s.position[rows], c.position[columns]))
            shares.append(weight_of(weights, block))
            z_parts.append(_z(scores, s.position[rows], c.position[columns]))
            n += len(rows)
        if not bets:
            return Abstention("too_few_units")
        z = float(np.sum(z_parts) / np.sqrt(len(z_parts)))
        return Outcome(evalues.diagonal(bets, shares), z, 0.0, n)


def _z(scores: evalues.Array, row_at: object, column_at: object) -> float:
    """Return the permutation z of the diagonal sum: ``E T = sum(M)/n``, ``Var T = sum(M~^2)/(n-1)``."""
    rows, columns = np.asarray(row_at), np.asarray(column_at)
    if np.array_equal(rows, columns) and bool((rows[1:] > rows[:-1]).all()):
        block = scores
    else:
        _, at_row, at_column = np.intersect1d(rows, columns, return_indices=True)
        block = scores[np.ix_(at_row, at_column)]
    n = len(block)
    if n < 3:
        return 0.0
    centred = block - block.mean(0, keepdims=True)
    centred -= block.mean(1, keepdims=True)
    centred += block.mean()
    variance = float(np.square(centred, out=centred).sum() / (n - 1))
    return 0.0 if variance <= 0 else float((np.trace(block) - block.sum() / n) / np.sqrt(variance))
