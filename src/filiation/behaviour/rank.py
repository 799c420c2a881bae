"""Hidden size from log-probability vectors alone: they span no more dimensions than the model is wide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.behaviour.heads import Doubles

_CLEAR = 1.0


@dataclass(frozen=True, slots=True)
class Rank:
    """How many dimensions vectors span.

    Attributes:
        size: where the singular values fall most steeply; None where they do not fall clearly.
        drop: decimal logarithm of that fall.
        vectors: how many there were; the size is at least this where none is named.
    """

    size: int | None
    drop: float
    vectors: int


def hidden_size(vectors: Doubles) -> Rank:
    """Return the number of dimensions of log-probability vectors ``[N, m]`` over ``m`` fixed tokens, ``m > N``.

    The constant that each vector lacks is taken off first (it is not the hidden vector's). More vectors than the model
    is wide are needed; a bias, or LayerNorm's shift, adds one dimension.
    """
    centred = vectors - vectors.mean(1, keepdims=True)
    values = np.linalg.svd(centred, compute_uv=False)
    floor = values[0] * np.finfo(np.float64).eps * max(centred.shape)
    steps = np.log10(np.maximum(values[:-1], floor)) - np.log10(np.maximum(values[1:], floor))
    if not len(steps):
        return Rank(None, 0.0, len(vectors))
    at = int(np.argmax(steps))
    clear = steps[at] >= _CLEAR and at + 1 < len(vectors) - 1
    return Rank(at + 1 if clear else None, float(steps[at]), len(vectors))
