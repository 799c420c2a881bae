"""The sigma curve: standard deviations of q, k, v, o over depth (arXiv 2507.03014).

The paper's rule of thumb: unrelated models stay below 0.7.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fingerprints.subject import CannotTestError, Doubles, Subject
from filiation.likeness.sigma import ROLES, deviation, stretched

LINE = 0.7


def similarity(one: Subject, other: Subject) -> float:
    """Return the mean over q, k, v, o of the Pearson correlation of the two curves, -1 to 1.

    The shorter curve is stretched to the length of the longer.

    Raises:
        CannotTestError: a model has fewer than three layers, or no separate attention matrices.
    """
    if min(len(one.layers), len(other.layers)) < 3:
        raise CannotTestError("too few layers for a curve")
    curves = [[_curve(model, role) for role in ROLES] for model in (one, other)]
    return float(np.mean([np.corrcoef(*stretched(a, b))[0, 1] for a, b in zip(*curves, strict=True)]))


def _curve(model: Subject, role: str) -> Doubles:
    curve = np.array([deviation(model.need(role, layer)) for layer in model.layers])
    if not curve.std():
        raise CannotTestError(f"the curve of {role} is flat")
    return curve
