"""Singular values of attention products, as GhostSpec (arXiv 2511.06390) and its kin compare them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.evidence import Background
from filiation.likeness.subject import Measured, Subject
from filiation.origin.gather import Side

MOST_ROWS = 512  # rows of a projection that are decomposed: the work grows with their square


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
        """Decompose the query projection of each paired layer (its first 512 rows) and correlate."""
        mine, theirs = subject.sides
        r: list[float] = []
        for i, j in subject.layers:
            a, b = self._spectrum(mine, i), self._spectrum(theirs, j)
            if a is None or b is None:
                continue
            n = min(len(a), len(b))
            if n >= 8 and a[:n].std() > 0 and b[:n].std() > 0:
                r.append(float(np.corrcoef(a[:n], b[:n])[0, 1]))
        if not r:
            return Measured(None, reason="no_attention_matrices")
        return Measured(float(np.mean(r)), len(r), parameters={"rows": MOST_ROWS})

    def _spectrum(self, side: Side, layer: int) -> npt.NDArray[np.float64] | None:
        part = side.anatomy.part("q", layer, component=side.component)
        if part is None:
            return None
        matrix = side.reader("q", layer, None, (0, min(MOST_ROWS, part.shape[0])))
        if matrix is None:
            return None
        rows = matrix.astype(np.float64)
        values = np.sqrt(np.maximum(np.linalg.eigvalsh(rows @ rows.T)[::-1], 0.0))
        values = values[values > values[0] * 1e-4]
        return np.log(values / values.sum())
