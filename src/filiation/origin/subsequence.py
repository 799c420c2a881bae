"""Subsequence test: do the matches of the suspect's units, taken in order, ascend? (Contract, section 3.2.)

Width pruning keeps the order of the units it keeps, so the matches of a pruned layer form one long increasing
sequence although almost no unit sits at its old index.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from filiation.origin import evalues
from filiation.origin.matching import Matchable, nearest
from filiation.origin.sorting import distinct
from filiation.origin.testing import KINDS_WITH_ORDER, Abstention, Outcome, Weights
from filiation.origin.units import Integers, Units


class Subsequence:
    """Longest strictly increasing subsequence of matches; for label sets of unequal size, in one block."""

    name = "subsequence"
    labels = "order"
    kinds = KINDS_WITH_ORDER
    sizes = "unequal"
    symmetric = False
    statistic_name = "longest_increasing_subsequence"
    counts_units = True

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Abstain unless there is exactly one block with eight or more live units on both sides."""
        return ascent(suspect.alive(), candidate.alive(), rng)


def ascent(s: Units, c: Matchable, rng: np.random.Generator) -> Outcome | Abstention:
    """Return how far the matches of live units, taken in order, ascend; see :class:`Subsequence`."""
    if len(s) < 8 or len(c) < 8:
        return Abstention("too_few_units")
    if len(distinct(s.block)) != 1 or len(distinct(c.block)) != 1:
        return Abstention("needs_one_block")
    match = nearest(s, c, rng)
    order = np.argsort(s.position, kind="stable")
    order = order[match[order] >= 0]
    length = longest_increasing(c.position[match[order]])
    return Outcome(evalues.increasing_subsequence(length, len(s)), length, 2 * float(np.sqrt(len(s))), len(s))


def longest_increasing(values: Integers) -> int:
    """Return the length of the longest strictly increasing subsequence (patience sorting)."""
    tails: list[int] = []
    for value in values.tolist():
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)
