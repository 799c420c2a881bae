"""Cells of a lattice: which values lie in another one than rounding the candidate would put them in.

Rounding to the nearest level leaves every value in the cell of the suspect's own grid that the candidate's value lies
in, whatever chose the grid. Each value that does not was moved before it was rounded, or not rounded to the nearest.
The share of such values grows with the size of a change, not with its square as the error does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filiation.derivation.quantisers import NF4_LEVELS, Quantiser
from filiation.origin.units import Doubles, Floats

#: Half a cell, in steps, and what storing values and fitting a step may add to it.
HALF = 0.5 + 0.06
#: Distance from a codebook's level, over its largest, that is storing's; share of groups that must lie on it.
NEAR, GROUPS_FIT = 2e-3, 0.95

_IQ4 = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


@dataclass(frozen=True, slots=True)
class Codebook:
    """Uneven levels, and how many neighbouring inputs share a scale."""

    levels: tuple[float, ...]
    group: int


_FP4 = tuple(sorted({sign * level for level in _E2M1 for sign in (-1, 1)}))
_NF4 = tuple(float(level) for level in NF4_LEVELS)

#: Stored kinds with uneven levels (the table of llama.cpp's IQ4 kinds; OCP Microscaling; arXiv 2305.14314).
CODEBOOKS: Mapping[str, Codebook] = {
    "IQ4_NL": Codebook(_IQ4, 32),
    "IQ4_XS": Codebook(_IQ4, 32),
    "NF4": Codebook(_NF4, 64),
    "MXFP4": Codebook(_FP4, 32),
    "NVFP4": Codebook(_FP4, 16),
}
#: Values of the K-quants that share a scale: a larger group lies on one lattice too, which is far finer.
SHARED: Mapping[str, int] = {"Q2_K": 16, "Q3_K": 16, "Q4_K": 32, "Q5_K": 32, "Q6_K": 16}


def displaced_by(quantiser: Quantiser, s: Floats, p: Floats) -> float | None:
    """Return the share of values that the quantiser, held to the suspect's grid, puts elsewhere than they are.

    The ends of each group, which make the grid, are the suspect's own and are not counted. None where too few
    values are left.
    """
    if quantiser.group and s.shape[1] % quantiser.group:
        return None
    low, high = _ends(s, quantiser.group or s.shape[1])
    fixed = (s <= low) | (s >= high) | (np.abs(s) >= np.maximum(-low, high))
    rounded, step = quantiser.round(np.where(fixed, s, np.clip(p, low, high)).astype(np.float32))
    counted = ~fixed & (step > 0)
    if counted.sum() < 32:
        return None
    return float((np.abs(rounded - s)[counted] > 0.5 * step[counted]).mean())


def displaced_in_steps(s: Floats, p: Floats, step: Floats, group: int) -> float | None:
    """Return the share of values further than half a step from the candidate's, on a lattice with even steps.

    Values at the ends of their group, where rounding may clip, are not counted. ``group``: 0 for a row.
    """
    if group and s.shape[1] % group:
        return None
    low, high = _ends(s, group or s.shape[1])
    counted = (step > 0) & (s > low) & (s < high)
    if counted.sum() < 32:
        return None
    return float((np.abs(s - p)[counted] > HALF * step[counted]).mean())


def _ends(s: Floats, group: int) -> tuple[Floats, Floats]:
    grouped = s.reshape(len(s), -1, group)
    low, high = grouped.min(axis=2, keepdims=True), grouped.max(axis=2, keepdims=True)
    return (
        np.broadcast_to(low, grouped.shape).reshape(s.shape),
        np.broadcast_to(high, grouped.shape).reshape(s.shape),
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """How values lie on a codebook's grid.

    ``squares``: the error of rounding the candidate's values to it. ``in_steps``: root mean square distance of both.
    """

    squares: float
    displaced: float
    in_steps: float


def place(book: Codebook, s: Floats, p: Floats) -> Placed | None:
    """Hold the candidate's values against the codebook's levels, scaled as the suspect's groups ask for.

    Where several scales fit a group, the one that displaces least stands. None where too few groups lie on
    the codebook, or rows do not fall into groups.
    """
    if s.shape[1] % book.group or not s.any():
        return None
    mine, theirs = s.reshape(-1, book.group), p.reshape(-1, book.group)
    live = np.abs(mine).max(axis=1) > 0
    mine, theirs = mine[live], theirs[live]
    levels = np.asarray(book.levels, np.float32)
    best, squares, steps = np.full(len(mine), np.inf), np.zeros(len(mine)), np.zeros(len(mine))
    for scale in _scales(mine, levels).T:
        tried = _held(mine, theirs, levels, scale)
        better = tried[0] < best
        best, squares, steps = (
            np.where(better, new, old) for new, old in zip(tried, (best, squares, steps), strict=True)
        )
    found = np.isfinite(best)
    if not len(found) or found.mean() < GROUPS_FIT:
        return None
    return Placed(
        float(squares[found].sum() / found.mean()),
        float(best[found].mean()),
        float(np.sqrt(steps[found].mean())),
    )


def _held(mine: Floats, theirs: Floats, levels: Floats, scale: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Return of each group, at one scale: the share displaced (infinite where it does not fit), the squared error of
    rounding the candidate, and the mean squared distance in steps.
    """
    safe = np.where(scale != 0, scale, 1.0).astype(np.float32)[:, None]
    unit = (mine / safe).astype(np.float32)
    own, other = _nearest(unit, levels), _nearest((theirs / safe).astype(np.float32), levels)
    off = np.abs(unit - levels[own]).max(axis=1)
    fits = (off <= NEAR * float(np.abs(levels).max())) & (scale != 0)
    displaced = np.where(fits, (own != other).mean(axis=1), np.inf)
    error = np.square(levels[other] * safe - theirs).sum(axis=1, dtype=np.float64)
    apart = np.square((mine - theirs) / (_gaps(levels)[own] * np.abs(safe))).mean(axis=1, dtype=np.float64)
    return displaced, error, apart


def _scales(groups: Floats, levels: Floats) -> Floats:
    """Return the scales that would put each group's largest value on a level, ``(groups, levels)``."""
    largest = groups[np.arange(len(groups)), np.abs(groups).argmax(axis=1)]
    safe = np.where(levels != 0, levels, 1.0)
    return np.where(levels != 0, largest[:, None] / safe, 0.0).astype(np.float32)


def _nearest(values: Floats, levels: Floats) -> npt.NDArray[np.intp]:
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)


def _gaps(levels: Floats) -> Floats:
    """Return the mean distance of each level from its neighbours."""
    gaps = np.diff(levels)
    return ((np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]])) / 2).astype(np.float32)
