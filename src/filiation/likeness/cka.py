"""Unbiased CKA of query and key projections after gain folding, in the recovered basis (AWM, arXiv 2510.06738)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.evidence import Background
from filiation.likeness.subject import Measured, Subject

Doubles = npt.NDArray[np.float64]
MOST_CHANNELS = 1024  # Gram matrices are drawn over at most this many residual channels


class UnbiasedCka:
    """Mean over paired layers and {q, k} of CKA with the unbiased HSIC estimator between residual-channel Grams.

    Output-side changes (head permutations and rotations, scalings) cancel. With gains folded and the basis found by
    Procrustes it also survives a rotated residual stream, where the published form reads 0.02.
    """

    name = "cka"
    statistic_name = "mean_unbiased_cka"
    background = Background(
        "independent 7B and 13B models of the AWM paper",
        90,
        {"mean": 0.00375, "mean_plus_3_sd": 0.01215},
        "arXiv 2510.06738, published repository constants",
    )

    def measure(self, subject: Subject) -> Measured:
        """Read q and k of the paired layers in the common basis and compare their residual-channel Grams."""
        mine, theirs = subject.sides
        values: list[float] = []
        for i, j in subject.layers:
            for role in ("q", "k"):
                a, b = mine.reader(role, i), theirs.reader(role, j)
                if a is None or b is None or a.shape[1] != b.shape[1]:
                    continue
                d = min(a.shape[1], MOST_CHANNELS)
                values.append(unbiased_cka(a[:, :d].astype(np.float64), b[:, :d].astype(np.float64)))
        if not values:
            return Measured(None, reason="no_common_basis")
        return Measured(float(np.mean(values)), len(values), parameters={"layers": len(subject.layers)})


def unbiased_cka(x: Doubles, y: Doubles) -> float:
    """Return CKA between the columns of ``x (m, d)`` and ``y (n, d)`` with unbiased HSIC (d >= 4)."""
    gram_x, gram_y = x.T @ x, y.T @ y
    np.fill_diagonal(gram_x, 0.0)
    np.fill_diagonal(gram_y, 0.0)
    cross, own_x, own_y = _hsic(gram_x, gram_y), _hsic(gram_x, gram_x), _hsic(gram_y, gram_y)
    return 0.0 if own_x <= 0 or own_y <= 0 else float(cross / np.sqrt(own_x * own_y))


def _hsic(a: Doubles, b: Doubles) -> float:
    """Return the unbiased HSIC estimator of two Gram matrices whose diagonals were removed."""
    n = len(a)
    sums_a, sums_b = a.sum(axis=0), b.sum(axis=0)
    trace = float(np.einsum("ij,ij->", a, b))
    middle = float(sums_a.sum() * sums_b.sum()) / ((n - 1) * (n - 2))
    return (trace + middle - 2.0 * float(sums_a @ sums_b) / (n - 2)) / (n * (n - 3))
