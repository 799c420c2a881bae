"""Numbers whose squares float32 cannot hold: weights that were scaled far up against others that were scaled far down.

What one matrix of a pair is multiplied by, its partner can be divided by, and the model computes what it did. By a
power of two both stay exact in any float type, and 2^100 is as easily written as 2; then squares overflow, or vanish.
Such values are worked on in float64, whose range holds the fourth powers of all that float32 holds. Whether they are
such depends on no order and no sign, so what is uniformly random stays so.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

#: Magnitudes whose fourth powers float32 holds, added up over a matrix.
LEAST, LARGEST = 2.0**-30, 2.0**28
_MOST = 2.0**125


def wide(values: Values) -> Values:
    """Return values as they are where float32 holds what their squares and products add up to, else as float64.

    Every row (last axis) is looked at by itself: a short one is not to vanish beside others.
    """
    if values.dtype != np.float32 or not values.size or not values.ndim:
        return values
    if max(values.max(), -values.min()) <= LARGEST and not _some_row_is_short(values):
        return values
    return values.astype(np.float64)


def _some_row_is_short(values: Values) -> bool:
    """Return whether a row that is not zero holds nothing of a magnitude that can be squared."""
    rows = values.reshape(-1, values.shape[-1])
    doubtful = np.flatnonzero(np.abs(rows[:, 0]) < LEAST)  # a short row's first value is
    if not len(doubtful):
        return False
    sizes = np.abs(rows[doubtful]).max(axis=1)
    return bool(((sizes > 0) & (sizes < LEAST)).any())


def tamed(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return both divided by one power of two where float32 cannot hold the squares of the largest value.

    For what looks at how values are stored, which a power of two leaves as it is.
    """
    largest = max((float(max(x.max(), -x.min())) for x in (first, second) if x.size), default=0.0)
    if largest == 0 or LEAST <= largest <= LARGEST:
        return first, second
    power = -int(np.frexp(largest)[1])
    return np.ldexp(first, power), np.ldexp(second, power)


def held(factors: Values) -> Floats | Doubles:
    """Return factors as float32 where it holds them and one over them, else as float64."""
    sizes = np.abs(factors)
    sizes = sizes[sizes > 0]
    if not sizes.size or (sizes.max() < _MOST and sizes.min() > 1 / _MOST):
        return factors.astype(np.float32)
    return factors.astype(np.float64)


def energy(values: Values) -> np.floating:
    """Return the sum of squares."""
    return np.square(wide(values)).sum()


def mean_square(values: Values) -> np.floating:
    """Return the mean of squares."""
    return np.square(wide(values)).mean()


def over(values: Values, sizes: Values) -> Values:
    """Return values divided by sizes that are not negative; where these are zero, as they are."""
    return values / np.where(sizes > 0, sizes, 1.0)
