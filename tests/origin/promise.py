"""What a set of e-values of independent pairs must show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def keeps_its_promise(log10_e: Sequence[float]) -> bool:
    """Mean at most 1 and rates at most their levels, within what chance does once in ten million times."""
    from scipy.stats import binom

    values = np.array(log10_e)
    cut = np.minimum(10.0 ** np.minimum(values, 2), 100.0)
    error = cut.std(ddof=1) / math.sqrt(len(cut))
    rates = all(
        (values >= -math.log10(a)).sum() <= binom.isf(1e-7, len(values), a) for a in (0.5, 0.1, 0.01, 1e-3)
    )
    return bool(cut.mean() <= 1 + 5 * error) and rates
