"""AWM: channels matched by their embeddings, then unbiased CKA of queries and keys (arXiv 2510.06738).

No threshold documented. The published code states the scores of 90 independent pairs of 7B and 13B models (mean
0.00375, standard deviation 0.0028) and counts from there; three of those deviations are taken as the line here.
"""

from __future__ import annotations

import numpy as np

from benchmarks.fingerprints.subject import CannotTestError, Doubles, Index, Subject, shared_rows
from filiation.likeness.cka import unbiased_cka

LINE = 0.00375 + 3 * 0.0028


def similarity(one: Subject, other: Subject) -> float:
    """Return the mean unbiased CKA over layers and {q, k}; 0 in expectation for independent models, 1 for a copy.

    Layers are paired by number where both models have as many, else by the assignment that makes the sum of their
    CKAs largest.

    Raises:
        CannotTestError: embeddings, shared tokens or separate queries and keys are missing.
    """
    wide, slim = (one, other) if one.geometry.d_model >= other.geometry.d_model else (other, one)
    rows_wide, rows_slim = shared_rows(wide, slim)
    if len(rows_wide) < 2:
        raise CannotTestError("no shared tokens")
    places, signs = channels(
        wide.need("embedding")[rows_wide].astype(np.float64),
        slim.need("embedding")[rows_slim].astype(np.float64),
    )
    scores = [
        [np.mean([_cka(wide, slim, role, i, j, places, signs) for role in ("q", "k")]) for j in slim.layers]
        for i in (wide.layers if len(wide.layers) != len(slim.layers) else ())
    ]
    if scores:
        from scipy.optimize import linear_sum_assignment

        table = np.array(scores)
        return float(table[linear_sum_assignment(table, maximize=True)].mean())
    same = (_cka(wide, slim, role, i, i, places, signs) for i in wide.layers for role in ("q", "k"))
    return float(np.mean(list(same)))


def channels(wide: Doubles, slim: Doubles) -> tuple[Index, Doubles]:
    """Match the columns of two embeddings (tokens, d) by absolute cosine.

    Returns:
        For each column of the second, the column of the first that the assignment gives it, and the sign.
    """
    from scipy.optimize import linear_sum_assignment

    cosines = (slim / np.linalg.norm(slim, axis=0)).T @ (wide / np.linalg.norm(wide, axis=0))
    order, places = linear_sum_assignment(np.abs(cosines), maximize=True)
    return places.astype(np.int64), np.sign(cosines[order, places])


def _cka(wide: Subject, slim: Subject, role: str, i: int, j: int, places: Index, signs: Doubles) -> float:
    aligned = wide.need(role, i).astype(np.float64)[:, places] * signs
    return unbiased_cka(aligned, slim.need(role, j).astype(np.float64))
