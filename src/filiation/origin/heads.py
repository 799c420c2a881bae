"""Which key-value head of one model meets which of the other, by what they hold (ADR 0019).

Junk heads beside the real ones, or the groups in another order, leave the labels inside every head as they were. Heads
are paired by Gram sketches of their value rows, which no order and no sign of their channels changes: those labels
stay unread.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from filiation.origin.gather import head_sketches
from filiation.origin.units import Doubles, Integers, Units


def paired_heads(s: Units, c: Units, rng: np.random.Generator) -> Integers | None:
    """Return, for each of the suspect's key-value heads, the one of the candidate that holds the same, or -1.

    Args:
        s, c: value channels, one block a head.

    Returns:
        None where the heads of the two models are of different widths.
    """
    sizes = [len(u) // (1 + int(u.block.max(initial=-1))) if len(u) else 0 for u in (s, c)]
    if not sizes[0] or sizes[0] != sizes[1] or s.content.shape[1] != c.content.shape[1]:
        return None
    seed = int(rng.integers(0, 2**31))
    mine, theirs = (head_sketches(u.content, len(u) // sizes[0], seed) for u in (s, c))
    return _one_to_one((mine @ theirs.T).astype(np.float64))


def _one_to_one(likeness: Doubles) -> Integers:
    """Return a column for each row, the most alike first; -1 where no column is left."""
    heads = np.full(len(likeness), -1, np.int64)
    left = likeness.copy()
    for _ in range(min(left.shape)):
        row, column = divmod(int(left.argmax()), left.shape[1])
        heads[row] = column
        left[row, :] = left[:, column] = -np.inf
    return heads


def on_equal_heads(s: Units, c: Units, rng: np.random.Generator) -> tuple[Units, Units]:
    """Return value channels of the heads that meet one another, those of the suspect in the candidate's blocks."""
    heads = paired_heads(s, c, rng)
    if heads is None or _in_place(heads, c):
        return s, c
    return in_heads(s, heads), c.take(np.flatnonzero(np.isin(c.block, heads)))


def in_heads(s: Units, heads: Integers) -> Units:
    """Return the value channels that have a partner for their head, in its block."""
    found = s.take(np.flatnonzero(heads[s.block] >= 0))
    return replace(found, block=heads[found.block])


def moved(effects: Doubles, heads: Integers, stride: int) -> Doubles:
    """Return what channels count by their number in the candidate's heads."""
    out = np.zeros(max(len(effects), stride * (1 + int(heads.max(initial=0)))))
    for mine, theirs in enumerate(heads):
        if theirs >= 0:
            out[theirs * stride : (theirs + 1) * stride] = effects[mine * stride : (mine + 1) * stride]
    return out


def _in_place(heads: Integers, c: Units) -> bool:
    """Return whether every head of both models meets the one of its own number."""
    return np.array_equal(heads, np.arange(1 + int(c.block.max(initial=-1))))
