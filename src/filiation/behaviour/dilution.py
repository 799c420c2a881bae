"""How small a swapped fraction of the traffic the asked pairs could have shown.

A verdict of "no difference seen" is worth what the budget could have seen. The reference's answers against its own
second answers are pairs of equal laws (which of the two comes first is drawn anew each time, so that a resampled prompt
tells nothing by being drawn twice); in a share of them the second answer is replaced, and the bet is run on what comes
out. The smallest share at which it wins in nine of ten resamplings is reported, with whose answers replaced it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.behaviour.betting import Wealth

SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
_RUNS = 30
_NEEDED = 27


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt's cell, two answers of the reference, and the answer that would stand in for the second."""

    cell: str
    first: str
    second: str
    other: str


def smallest_share(prompts: Sequence[Prompt], pairs: int, alpha: float, seed: int) -> float | None:
    """Return the smallest of :data:`SHARES` that the bet would have shown within ``pairs`` pairs.

    Calibrated by resampling, not exact. ``None`` where not even a full swap would have been seen.

    Args:
        prompts: prompts as asked.
        pairs: how many pairs the suspect answered.
        alpha: the level of the bet.
        seed: of the resampling.
    """
    if not prompts:
        return None
    low, high = 0, len(SHARES) - 1
    if not _seen(prompts, SHARES[high], pairs, alpha, seed):
        return None
    while low < high:  # what is seen grows with the share
        middle = (low + high) // 2
        if _seen(prompts, SHARES[middle], pairs, alpha, seed):
            high = middle
        else:
            low = middle + 1
    return SHARES[high]


def is_seen(prompts: Sequence[Prompt], share: float, pairs: int, alpha: float, seed: int) -> bool:
    """Whether the bet would have shown ``share``, or the next smaller one of :data:`SHARES`, within ``pairs`` pairs."""
    known = [each for each in SHARES if each <= share]
    return bool(prompts and known) and _seen(prompts, known[-1], pairs, alpha, seed)


def _seen(prompts: Sequence[Prompt], share: float, pairs: int, alpha: float, seed: int) -> bool:
    bound = -math.log(alpha)
    won = 0
    for run in range(_RUNS):
        rng = np.random.default_rng([seed, run])
        won += _wins([prompts[n] for n in rng.integers(len(prompts), size=pairs)], share, rng, bound)
        if won >= _NEEDED or run - won >= _RUNS - _NEEDED:
            return won >= _NEEDED
    return False


def _wins(prompts: Sequence[Prompt], share: float, rng: np.random.Generator, bound: float) -> bool:
    wealth = Wealth()
    turned, replaced = rng.random(len(prompts)) < 0.5, rng.random(len(prompts)) < share
    for prompt, turn, swap in zip(prompts, turned, replaced, strict=True):
        first, second = (prompt.second, prompt.first) if turn else (prompt.first, prompt.second)
        if wealth.step(prompt.cell, first, prompt.other if swap else second) >= bound:
            return True
    return False
