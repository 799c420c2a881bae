"""Row geometry of shared-token embeddings: do the same tokens lie at the same angles?"""

from __future__ import annotations

import numpy as np

from filiation.evidence import Background
from filiation.likeness.subject import Measured, Subject
from filiation.origin.gather import Side, embedding_rows
from filiation.origin.units import Integers

TOKENS = 256


class EmbeddingGeometry:
    """Pearson correlation of the two models' token x token cosine matrices over shared tokens.

    Invariant to any rotation of the residual stream. Token geometry is partly a fact of language, so independent
    models agree well above zero.
    """

    name = "embedding_geometry"
    statistic_name = "pearson_r"
    background = Background(
        "independent models of one shape in a synthetic world with shared token semantics",
        28,
        {"low": 0.37, "high": 0.46},
        "simulation, eight independent models",
    )

    def measure(self, subject: Subject) -> Measured:
        """Read up to 256 shared token rows of each model and correlate their cosines."""
        if subject.tokens is None:
            return Measured(None, reason="no_shared_tokens")
        rows = subject.tokens.sample(TOKENS, subject.plan.rng("embedding geometry"))
        mine, theirs = subject.sides
        a, b = _cosines(mine, rows.suspect), _cosines(theirs, rows.candidate)
        if a is None or b is None or len(a) < 32:
            return Measured(None, reason="no_shared_tokens")
        upper = np.triu_indices(len(a), 1)
        return Measured(float(np.corrcoef(a[upper], b[upper])[0, 1]), len(a), parameters={"tokens": len(a)})


def _cosines(side: Side, ids: Integers) -> np.ndarray | None:
    rows = embedding_rows(side, ids)
    if rows is None:
        return None
    centred = rows - rows.mean(axis=0)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(norms > 0, norms, 1.0)
    return unit @ unit.T
