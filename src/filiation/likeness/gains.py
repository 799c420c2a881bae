"""Centred correlation of norm gains. The raw cosine is worthless: 0.94 to 0.998 for unrelated models."""

from __future__ import annotations

import numpy as np

from filiation.evidence import Background
from filiation.likeness.subject import Measured, Subject
from filiation.origin.pairing import paired_gains


class NormCorrelation:
    """Mean Pearson correlation of paired norm gains over residual channels."""

    name = "norm_correlation"
    statistic_name = "mean_pearson_r"
    background = Background(
        "Solar-Open-100B against GLM-4.5-Air, the pair of a withdrawn public accusation, centred",
        1,
        {"value": 0.01},
        "public rebuttal of January 2026; raw cosine of the same pair 0.99",
    )

    def measure(self, subject: Subject) -> Measured:
        """Correlate the gains that both models have and that are not constant, in aligned channels."""
        basis = subject.pairing.suspect.basis
        if basis.matrix is not None:
            return Measured(None, reason="channels_rotated")
        mine, theirs = paired_gains(subject.pairing)
        if not len(mine):
            return Measured(None, reason="gains_constant_or_absent")
        mine = mine if basis.suspect_columns is None else mine[:, basis.suspect_columns]
        theirs = basis.candidate(theirs)
        if mine.shape[1] != theirs.shape[1]:
            return Measured(None, reason="different_widths")
        r = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(mine, theirs, strict=True)]
        return Measured(float(np.mean(r)), len(r))
