"""Order test: how many units sit at the same index as their match (evidence contract, section 3.1).

After the permutation tests of arXiv 2502.12292, with an e-value in place of a rank correlation's p-value.
"""

from __future__ import annotations

import numpy as np

from filiation.origin import evalues
from filiation.origin.matching import nearest
from filiation.origin.testing import KINDS_WITH_ORDER, Abstention, Outcome, Weights, weight_of
from filiation.origin.units import Units


class FixedPoints:
    """Units whose nearest match carries the same index."""

    name = "order"
    labels = "order"
    kinds = KINDS_WITH_ORDER
    sizes = "equal"
    symmetric = False
    statistic_name = "units_in_place"
    counts_units = True

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Count fixed points; abstain when no block has two live units on both sides."""
        s, c = suspect.alive(), candidate.alive()
        blocks = [(b, rows) for b, rows in s.blocks() if len(rows) > 1 and (c.block == b).sum() > 1]
        if not blocks:
            return Abstention("too_few_units")
        match = nearest(s, c, rng)
        hit = (match >= 0) & (c.position[match] == s.position)
        counts = [int(hit[rows].sum()) for _, rows in blocks]
        sizes = [len(rows) for _, rows in blocks]
        log_e = evalues.fixed_points(counts, sizes, [weight_of(weights, b) for b, _ in blocks])
        return Outcome(log_e, sum(counts), float(len(blocks)), sum(sizes))
