"""Sigma curves: the standard deviations of the attention matrices over depth (arXiv 2507.03014)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from filiation.evidence import Background, Effect
from filiation.likeness.subject import Measured, Subject
from filiation.origin.gather import Side
from filiation.origin.units import Floats

Curve = npt.NDArray[np.float64]
ROLES = ("q", "k", "v", "o")
PIECE = 1 << 17  # elements added up at a time

#: Share of unrelated pairs at or above a value, from the same re-analysis as the quantiles.
EXCEEDANCE = ((0.5, 0.502), (0.7, 0.335), (0.8, 0.156), (0.85, 0.094), (0.9, 0.018), (0.927, 0.0))


class SigmaCurve:
    """Mean over q, k, v, o of the Pearson correlation of the two models' sigma curves, z-scored over depth.

    For unequal depth the shorter curve is interpolated linearly to the longer length. The statistic mostly sees
    the depth trend of a training recipe: a third of unrelated pairs exceed the 0.7 once called suspicious.
    """

    name = "sigma_curve"
    statistic_name = "mean_pearson_r"
    background = Background(
        "unrelated pairs of unquantised decoder language models",
        3685,
        {"q25": 0.316, "median": 0.509, "q75": 0.742, "q90": 0.847, "q95": 0.873, "q99": 0.904, "max": 0.919},
        "re-analysis of the MDGBench similarity matrices (94 models, 86 family pairs; 2 of the 86 family "
        "medians reach 0.9)",
        86,
    )

    def measure(self, subject: Subject) -> Measured:
        """Read the four attention matrices of every layer (whole, or a seeded run of rows) and correlate."""
        mine, theirs = subject.sides
        depth = min(mine.geometry.n_layers, theirs.geometry.n_layers)
        if depth < 4:
            return Measured(None, reason="too_few_layers")
        drawn: list[dict[str, object]] = []
        correlations: list[tuple[str, float]] = []
        for role in ROLES:
            a, b = self._curve(mine, role, subject), self._curve(theirs, role, subject)
            if a is None or b is None or a.std() == 0 or b.std() == 0:
                continue
            long_a, long_b = stretched(a, b)
            correlations.append((role, float(np.corrcoef(long_a, long_b)[0, 1])))
            drawn.append({"name": f"sigma_{role}", "suspect": standardised(a), "candidate": standardised(b)})
        if not correlations:
            return Measured(None, reason="no_attention_matrices")
        value = float(np.mean([r for _, r in correlations]))
        return Measured(
            value,
            depth,
            effects=tuple(Effect(f"r_{role}", r) for role, r in correlations),
            curves=tuple(drawn),
            parameters={"rows": subject.rows or "all"},
            false_positive_rate=exceedance(value),
        )

    def _curve(self, side: Side, role: str, subject: Subject) -> Curve | None:
        sigmas: list[float] = []
        for layer in range(side.geometry.n_layers):
            part = side.anatomy.part(role, layer, component=side.component)
            if part is None:
                return None
            stop = None if subject.rows is None else min(subject.rows, part.shape[0])
            sigmas.append(deviation(side.anatomy.read(part, 0, stop)))
        return np.array(sigmas)


def deviation(matrix: Floats) -> float:
    """Return the standard deviation of all elements, worked out in float64.

    Large matrices are added up piece by piece (means and squares are joined as of two samples), so that what is
    held in float64 stays in the processor's cache.
    """
    if matrix.size <= PIECE:
        return float(matrix.std(dtype=np.float64))
    flat, count, mean, squares = matrix.reshape(-1), 0, 0.0, 0.0
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE].astype(np.float64)
        own = float(piece.mean())
        piece -= own
        share = len(piece) / (count + len(piece))
        squares += float(np.square(piece, out=piece).sum()) + (own - mean) ** 2 * count * share
        mean += (own - mean) * share
        count += len(piece)
    return math.sqrt(squares / count)


def stretched(a: Curve, b: Curve) -> tuple[Curve, Curve]:
    """Return both curves at the longer one's length."""
    n = max(len(a), len(b))
    grid = np.linspace(0.0, 1.0, n)
    return tuple(np.interp(grid, np.linspace(0.0, 1.0, len(x)), x) for x in (a, b))  # pyright: ignore[reportReturnType]


def standardised(curve: Curve) -> list[float]:
    """Return the curve z-scored over depth, rounded for the record."""
    return [round(float(x), 4) for x in (curve - curve.mean()) / curve.std()]


def exceedance(value: float) -> float:
    """Return the share of unrelated pairs at or above the largest tabulated value that ``value`` reaches."""
    reached = [share for line, share in EXCEEDANCE if value >= line]
    return min(reached, default=1.0)
