"""Singular values of attention products, as GhostSpec (arXiv 2511.06390) and its kin compare them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.evidence import Background
from filiation.likeness.subject import Measured, Subject
from filiation.origin.gather import Side

MOST_ELEMENTS = 2**24  # largest matrix that is decomposed


class Spectra:
    """Mean correlation, over paired layers, of the log singular values of ``W_q`` with the norm's gain folded in."""

    name = "spectra"
    statistic_name = "mean_pearson_r"
    background = Background(
        "unrelated pairs, as measured by modelDNA",
        107,
        {"low": 0.95, "high": 0.99},
        "LineageBench (arXiv 2607.10617): spectrum correlation of unrelated pairs",
    )

    def measure(self, subject: Subject) -> Measured:
        """Decompose the query projection of each paired layer (or its first rows) and correlate."""
        mine, theirs = subject.sides
        r: list[float] = []
        for i, j in subject.layers:
            a, b = self._spectrum(mine, i, subject.rows), self._spectrum(theirs, j, subject.rows)
            if a is None or b is None:
                continue
            n = min(len(a), len(b))
            if n >= 8 and a[:n].std() > 0 and b[:n].std() > 0:
                r.append(float(np.corrcoef(a[:n], b[:n])[0, 1]))
        if not r:
            return Measured(None, reason="no_attention_matrices")
        return Measured(float(np.mean(r)), len(r), parameters={"rows": subject.rows or "all"})

    def _spectrum(self, side: Side, layer: int, rows: int | None) -> npt.NDArray[np.float64] | None:
        part = side.anatomy.part("q", layer, component=side.component)
        if part is None or part.shape[0] * part.shape[1] > MOST_ELEMENTS:
            return None
        matrix = side.reader("q", layer, None, None if rows is None else (0, min(rows, part.shape[0])))
        if matrix is None:
            return None
        values = np.linalg.svd(matrix.astype(np.float64), compute_uv=False)
        values = values[values > values[0] * 1e-6]
        return np.log(values / values.sum())
