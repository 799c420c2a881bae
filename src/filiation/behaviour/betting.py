"""A bet against "these two endpoints answer alike", which may be watched and stopped at any time.

Pair by pair, one answer ``x`` comes from the reference and one, ``y``, from the suspect, to one prompt. Under the
null hypothesis the two are exchangeable given everything before, so which of the two answers came from the suspect
is a fair coin. An expert that has counted the earlier answers of both names its odds, and the wealth is multiplied by
``1 + lambda * v`` where ``v`` in (-1, 1) changes its sign when ``x`` and ``y`` change places. Each factor has mean 1,
hence by Ville's inequality ``P(wealth ever >= 1/alpha) <= alpha``: at every stopping time, for any number of
pairs. No law of the reference is stored beforehand and none is treated as known; an identical endpoint can be asked
for ever.

The bet adapts: the wealth is the mean over experts that differ in how far they smooth the counts and in how much of
their wealth they stake, which is a bet whose stake follows the experts that have done well (a universal portfolio).
Testing by betting: Shafer, arXiv:1903.06991; exchangeability by pairs: Pandeva et al., arXiv:2210.13027.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

SMOOTHING = (0.5, 2.0, 8.0, 32.0)
STAKES = (0.125, 0.25, 0.5, 1.0)
_LOG10 = math.log(10.0)


@dataclass(slots=True)
class _Cell:
    """Answers seen in one cell: counts of the reference and of the suspect, and how many there were of each."""

    reference: dict[str, int] = field(default_factory=dict[str, int])
    suspect: dict[str, int] = field(default_factory=dict[str, int])
    n_reference: int = 0
    n_suspect: int = 0

    def count_reference(self, answer: str) -> None:
        """Count an answer of the reference."""
        self.reference[answer] = self.reference.get(answer, 0) + 1
        self.n_reference += 1

    def count_suspect(self, answer: str) -> None:
        """Count an answer of the suspect."""
        self.suspect[answer] = self.suspect.get(answer, 0) + 1
        self.n_suspect += 1

    def level(self, answer: str) -> str:
        """Return how usual ``answer`` was for the reference so far: half-octaves of its share, and how sure that is.

        A model mixed into the traffic gives answers that are unusual everywhere. What is learned of that in one cell
        helps in all others.
        """
        r, n = self.reference.get(answer, 0), self.n_reference
        if r == 0:
            return f"new/{min(n.bit_length(), 8)}"
        return str(round(2.0 * math.log2(r / n)))

    def odds(self, reference: str, suspect: str) -> list[float]:
        """Return ``v`` in (-1, 1) by smoothing: how much likelier these answers are from these sides than turned round.

        Both estimated laws are shrunk to the pooled one; changing the two answers changes the sign alone.
        """
        (r_x, s_x), (r_y, s_y) = self._counts(reference), self._counts(suspect)
        total = self.n_reference + self.n_suspect + 1.0
        pooled_x, pooled_y = (r_x + s_x + 0.5) / total, (r_y + s_y + 0.5) / total
        found: list[float] = []
        for smoothing in SMOOTHING:  # what both products share, the number of answers, cancels
            as_is = (r_x + smoothing * pooled_x) * (s_y + smoothing * pooled_y)
            turned = (r_y + smoothing * pooled_y) * (s_x + smoothing * pooled_x)
            found.append((as_is - turned) / (as_is + turned))
        return found

    def _counts(self, answer: str) -> tuple[int, int]:
        return self.reference.get(answer, 0), self.suspect.get(answer, 0)


class Wealth:
    """The running wealth of the bet; start with 1."""

    def __init__(self) -> None:
        self._cells: defaultdict[str, _Cell] = defaultdict(_Cell)
        self._levels = _Cell()
        self._held = [1.0 / (2 * len(SMOOTHING) * len(STAKES))] * (2 * len(SMOOTHING) * len(STAKES))
        self.pairs = 0
        self.log_wealth = 0.0
        self.log_best = 0.0

    def step(self, cell: str, reference: str, suspect: str) -> float:
        """Bet on one pair, then learn from it; return the natural logarithm of the wealth.

        Args:
            cell: which histogram the prompt belongs to; it may depend on the prompt and on the past alone.
            reference: the reference's answer.
            suspect: the suspect's answer to the same prompt.
        """
        seen = self._cells[cell]
        levels = seen.level(reference), seen.level(suspect)
        if reference != suspect:  # equal answers tell nothing: the factor is 1
            self._bet(seen, (reference, suspect), levels)
        for histogram, (left, right) in ((seen, (reference, suspect)), (self._levels, levels)):
            histogram.count_reference(left)
            histogram.count_suspect(right)
        self.pairs += 1
        self.log_best = max(self.log_best, self.log_wealth)
        return self.log_wealth

    def learn(self, cell: str, reference: str) -> None:
        """Count a further answer of the reference, on which nothing is bet; later bets are better for it."""
        seen = self._cells[cell]
        self._levels.count_reference(seen.level(reference))
        seen.count_reference(reference)

    @property
    def log10(self) -> float:
        """The decimal logarithm of the wealth: the e-value at this moment, in bans."""
        return self.log_wealth / _LOG10

    def _bet(self, seen: _Cell, answers: tuple[str, str], levels: tuple[str, str]) -> None:
        factors = [
            1.0 + stake * v
            for histogram, (reference, suspect) in ((seen, answers), (self._levels, levels))
            for v in histogram.odds(reference, suspect)
            for stake in STAKES
        ]
        self._held, gained = _grown(self._held, factors)
        self.log_wealth += gained


def _grown(held: Sequence[float], factors: Sequence[float]) -> tuple[list[float], float]:
    """Return each expert's share of the wealth after its factor, and the logarithm of the factor of the whole."""
    grown = [share * factor for share, factor in zip(held, factors, strict=True)]
    total = math.fsum(grown)
    return [share / total for share in grown], math.log(total)


class MeanBet:
    """A bet against "the mean of bounded numbers is at most 0", valid at every stopping time.

    For numbers ``u >= low`` (``low < 0``) whose mean given the past is at most 0, ``1 + lambda * u`` with
    ``0 <= lambda < 1/|low|`` has mean at most 1. The wealth is the mean over a grid of stakes (Waudby-Smith and
    Ramdas, arXiv:2010.09686).

    Args:
        low: the smallest value that a number can take; negative.
    """

    GRID = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)

    def __init__(self, low: float) -> None:
        if low >= 0:
            raise ValueError("the smallest value must be negative")
        self._low = low
        self._held = [1.0 / len(self.GRID)] * len(self.GRID)
        self.count = 0
        self.log_wealth = 0.0

    def step(self, value: float) -> float:
        """Bet on one number; return the natural logarithm of the wealth.

        Raises:
            ValueError: the number is below ``low``: the bet would not be fair.
        """
        if value < self._low - 1e-12:
            raise ValueError(f"{value} is below {self._low}")
        self._held, gained = _grown(self._held, [1.0 + stake * value / -self._low for stake in self.GRID])
        self.log_wealth += gained
        self.count += 1
        return self.log_wealth

    @property
    def log10(self) -> float:
        """The decimal logarithm of the wealth."""
        return self.log_wealth / _LOG10
