"""The ellipse check: a fitted hidden vector, divided by the final norm's gain, must be as long as the norm makes it.

RMSNorm leaves vectors of squared length ``d``; LayerNorm also of mean 0. This is one more equation for every vector,
and one that a forger of log-probabilities cannot learn from few of them (``arXiv:2510.14086``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.behaviour.heads import Doubles, Head

TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Ellipse:
    """Squared lengths over ``d``, by prompt.

    Attributes:
        ratios: 1 on the ellipse.
        control: the same with the gain's entries in another order, the nearest to 1 of the prompts.
        mean: largest absolute mean of the normed vector, 0 for LayerNorm; None for RMSNorm.
    """

    ratios: tuple[float, ...]
    control: float
    mean: float | None

    @property
    def holds(self) -> bool:
        """Whether every vector lies on it, to two per cent."""
        return all(abs(ratio - 1) <= TOLERANCE for ratio in self.ratios) and (self.mean or 0.0) <= TOLERANCE

    @property
    def tells(self) -> bool:
        """Whether another gain would have missed it: with a nearly even gain, the check says little."""
        return abs(self.control - 1) > TOLERANCE


def check(head: Head, hidden: Doubles, seed: int = 0) -> Ellipse | None:
    """Return where the fitted vectors ``[prompts, d]`` lie; None where the final norm's gain is not known."""
    if head.gain is None or not bool((head.gain != 0).all()):
        return None
    order = np.random.default_rng([0xE111, seed]).permutation(head.width)
    normed = _normed(head, hidden, head.gain)
    ratios = (normed**2).mean(1)
    others = (_normed(head, hidden, head.gain[order]) ** 2).mean(1)
    mean = float(np.abs(normed.mean(1)).max()) if head.norm == "layer" else None
    control = others[int(np.argmin(np.abs(others - 1)))]
    return Ellipse(tuple(float(r) for r in ratios), float(control), mean)


def _normed(head: Head, hidden: Doubles, gain: Doubles) -> Doubles:
    shift = head.shift if head.shift is not None else 0.0
    return (hidden / head.scale - shift) / gain
