"""Paired agreement: the exact one-sided McNemar test against every control, intervals, power, conformal rank.

The same prompts go to everybody, so agreement with one model and with another are counted on the same prompts and
compared prompt by prompt. Two proportions compared as if they came from different prompts would waste most of the
power (research: 17 % against 65 %) and would not have the error rate they claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.evidence import Effect

_POWER = 0.9


@dataclass(frozen=True, slots=True)
class Paired:
    """One control: prompts on which only the claimed relative agreed, only the control, and the exact p."""

    control: str
    only_claimed: int
    only_control: int
    p: float


def sign_p(b: int, c: int) -> float:
    """Return ``P(Bin(b + c, 1/2) >= b)``: the exact one-sided McNemar (sign) test. 1.0 where ``b + c`` is 0."""
    from scipy.stats import binom

    return float(binom.sf(b - 1, b + c, 0.5)) if b + c else 1.0


def against(claimed: Sequence[bool], controls: Mapping[str, Sequence[bool]]) -> tuple[Paired, ...]:
    """Hold agreement with the claimed relative against agreement with each control, prompt by prompt.

    Args:
        claimed: whether the suspect agreed with the claimed relative, by prompt.
        controls: the same for each control, by name and in the same order of prompts.

    Raises:
        ValueError: the lengths differ.
    """
    rows: list[Paired] = []
    for name, other in controls.items():
        both = list(zip(claimed, other, strict=True))
        b = sum(h and not k for h, k in both)
        c = sum(k and not h for h, k in both)
        rows.append(Paired(name, b, c, sign_p(b, c)))
    return tuple(rows)


def largest_p(rows: Sequence[Paired]) -> float:
    """Return the p of "closer than to *every* control": all must be rejected, so the largest counts as it is.

    Raises:
        ValueError: there is no control. Without one there is nothing to be closer than.
    """
    return max(row.p for row in rows)


def conformal_p(own: float, others: Sequence[float]) -> float | None:
    """Return ``(1 + #{others >= own}) / (1 + m)``, or ``None`` where there is nobody to rank against.

    Exact where the claimed relative is exchangeable with the ``m`` others under the null hypothesis, that is, where
    they are models of its kind that the suspect is known not to come from. It cannot be below ``1 / (m + 1)``.
    """
    return (1 + sum(other >= own for other in others)) / (1 + len(others)) if others else None


def rate(name: str, hits: int, n: int) -> Effect:
    """Return a share with its 95 % Wilson interval; of nothing, the whole range."""
    from scipy.stats import binomtest

    if n == 0:
        return Effect(name, 0.0, 0.0, 1.0)
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return Effect(name, hits / n, float(interval.low), float(interval.high))


def smallest_difference(rows: Sequence[Paired], n: int, alpha: float) -> Effect | None:
    """Return the smallest excess of agreement that the exact test would have shown in 9 runs of 10.

    It is reckoned for the control that disagrees with the claimed relative most often on these ``n`` prompts (more
    prompts on which exactly one agrees need a larger excess); ``None`` where no such excess exists, because there
    were too few prompts.
    """
    from scipy.stats import binom

    if not rows or n == 0:
        return None
    discordant = max(row.only_claimed + row.only_control for row in rows)
    counts = np.arange(discordant + 1)
    rejected = counts[binom.sf(counts - 1, discordant, 0.5) <= alpha]
    if not discordant or not len(rejected):
        return None
    shares = np.linspace(0.5, 1.0, 501)
    shown = shares[binom.sf(rejected[0] - 1, discordant, shares) >= _POWER]
    return Effect("excess_agreement", float(2 * shown[0] - 1) * discordant / n) if len(shown) else None
