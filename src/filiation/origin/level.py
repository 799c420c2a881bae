"""What a norm that subtracts the mean lets nobody see: a constant over the channels (ADR 0020).

A LayerNorm takes the mean over the residual channels from what it is given. So adding one number to all channels of a
token row, or of what a neuron writes, changes nothing that any branch is given; nor does adding one to all of a row
that reads through the norm, its gain folded in. Anybody can do so, to hide what two models share. The direction is
taken out of what either model holds before anything is compared.

A row's part along a direction is a function of that row (and of the model's own gains), and the direction of all ones
is the same whatever order the channels stand in. So each model is levelled without a look at the other, in a way
that commutes with every order that is tested: what is uniformly random stays so.
"""

from __future__ import annotations

import numpy as np

from filiation.origin.units import Doubles, Floats

#: Share of a row's length below which what is left of it is rounding.
ROUNDING = 1e-6
#: Share of a norm's largest gain below which a channel is not let through.
SHUT = 1e-3
_AT_ONCE = 1 << 18  # values that are worked on at once


def level(rows: Floats, along: Floats | None = None) -> Floats:
    """Take their part along a direction out of rows ``(n, d)``, in place, and return them.

    Args:
        along: the direction ``(d,)``, of length 1; None for that of all ones.
    """
    step = max(1, _AT_ONCE // max(1, rows.shape[-1]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        before = _energy(some)
        if along is None:
            # Added up in float64: what rounding leaves must not depend on the order of the channels.
            some -= some.mean(axis=1, dtype=np.float64, keepdims=True).astype(np.float32)
        else:
            parts: Doubles = np.einsum("ij,j->i", some, along, dtype=np.float64)
            some -= np.outer(parts, along).astype(np.float32)
        some[_energy(some) <= ROUNDING**2 * before] = 0.0
    return rows


def unseen_through(gain: Floats | None) -> Floats | None:
    """Return the direction ``(d,)`` that rows behind a norm's gain cannot see; None where it is that of all ones.

    A norm's output is its gain times what sums to nothing over the channels. Channels that the gain (nearly) shuts
    are left as they are.
    """
    if gain is None or gain.ndim != 1:
        return None
    sizes = np.abs(gain)
    open_ = sizes > SHUT * sizes.max(initial=0.0)
    if not open_.any():
        return None
    along = np.where(open_, 1.0 / np.where(open_, gain, 1.0), 0.0).astype(np.float64)
    return (along / np.linalg.norm(along)).astype(np.float32)


def _energy(rows: Floats) -> Doubles:
    return np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
