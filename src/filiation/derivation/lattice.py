"""Quantisation lattices: does the suspect hold rounded values, and are they what rounding the candidate makes?"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from filiation.derivation.cells import CODEBOOKS, SHARED, displaced_by, displaced_in_steps, place
from filiation.derivation.quantisers import QUANTISERS, Ggml, Integers, Quantiser, by_name
from filiation.derivation.rounding import FLOATS
from filiation.origin.units import Floats

#: Share of the informative elements that must lie on a lattice.
ON_LATTICE = 0.995
#: Distance from the lattice, in steps, that still counts as on it.
NEAR = 0.02
#: Half the relative spacing of each float kind: what storing lattice values as floats may move them by.
_HALF_ULP = {"BF16": 2.0**-8, "F16": 2.0**-11, "F32": 2.0**-22, "F64": 2.0**-22}
_LOOK_ROWS, _LOOK_COLUMNS = 8, 512
EIGHT_BITS = Integers(8, 32)
_GROUPS = (16, 32, 64, 128, 256, 0)


@dataclass(frozen=True, slots=True)
class Lattice:
    """The lattice that a block of the suspect lies on, and how the candidate sits to it.

    Attributes:
        name: the stored kind (``Q4_0``, ``GPTQ4``) or the quantiser found (``int8/64``, ``nf4/64``).
        bits, group: of a value; values that share a scale (0 a row, None unknown).
        stored: the file says so; otherwise it was found in float values.
        error: ``|S - P| / |P|``.
        expected: the error that this quantiser makes of ``P``; None where it is not known.
        in_steps: root mean square of ``S - P`` in steps; rounding to the nearest level makes at most 0.29.
        exact: share of elements equal to the quantiser's own output on ``P``; None where it cannot be run.
        inherited: the candidate's values lie on this lattice already.
        displaced: share of values in another cell of the suspect's grid than the candidate's; None where it cannot
            be told.
    """

    name: str
    bits: int | None
    group: int | None
    stored: bool
    error: float
    expected: float | None
    in_steps: float | None
    exact: float | None
    inherited: bool
    displaced: float | None = None


def find_lattice(suspect: Floats, predicted: Floats, dtype: str) -> Lattice | None:
    """Return the lattice of a block ``(rows, inputs)`` of the suspect, or None where its values are free.

    Args:
        predicted: the candidate's block in the suspect's frame.
        dtype: how the suspect stores it.
    """
    norm = float(np.sqrt(np.square(predicted).sum()))
    if suspect.size < 64 or norm == 0 or not suspect.any():
        return None
    if dtype not in FLOATS:
        return _stored(suspect, predicted, dtype, norm)
    look = suspect[:_LOOK_ROWS, :_LOOK_COLUMNS]
    blocks = _may_be_blocks(look, dtype)
    for quantiser in QUANTISERS:
        if isinstance(quantiser, Ggml) and not blocks:
            continue
        if (
            quantiser.fits(suspect.shape[1])
            and quantiser.fits(look.shape[1])
            and _holds(quantiser, look, dtype)
        ):
            if suspect.shape != look.shape and not _holds(quantiser, suspect, dtype):
                continue
            return _against(quantiser, suspect, predicted, norm, stored=False, dtype=dtype)
    return _by_gaps(suspect, predicted, dtype, norm)


def _may_be_blocks(look: Floats, dtype: str) -> bool:
    """Return whether values could be GGUF blocks: few distinct ones among 32, or 8-bit multiples of an absmax scale.

    It spares importing the ``gguf`` package where nothing was quantised.
    """
    if look.shape[1] % 32:
        return False
    ordered = np.sort(look.reshape(-1, 32), axis=1)
    distinct = (np.diff(ordered, axis=1) > 0).sum(axis=1) + 1
    return float(distinct.mean()) < 29 or _holds(EIGHT_BITS, look, dtype)


def _holds(quantiser: Quantiser, values: Floats, dtype: str) -> bool:
    """Return whether the quantiser leaves the values where they are, up to how they are stored."""
    rounded, step = quantiser.round(values)
    slack = NEAR + 2 * _HALF_ULP[dtype] * np.abs(values) / np.where(step > 0, step, 1.0)
    telling = (slack < 0.12) & (step > 0) & (values != 0)  # zero lies on every lattice
    if telling.sum() < 48 or telling.mean() < 0.1:
        return False
    distance = np.abs(rounded - values)[telling] / step[telling]
    return float((distance <= slack[telling]).mean()) >= ON_LATTICE


def _against(
    quantiser: Quantiser,
    s: Floats,
    p: Floats,
    norm: float,
    *,
    stored: bool,
    dtype: str,
    name: str | None = None,
) -> Lattice:
    rounded, step = quantiser.round(p)
    slack = 1e-4 + 2 * _HALF_ULP.get(dtype, 2.0**-22) * np.abs(s) / np.where(step > 0, step, 1.0)
    live = step > 0
    distance = np.abs(rounded - s) / np.where(live, step, 1.0)
    own = np.abs(rounded - p) / np.where(live, step, 1.0)
    expected = float(np.sqrt(np.square(rounded - p).sum())) / norm
    return Lattice(
        name=name or quantiser.name,
        bits=quantiser.bits,
        group=quantiser.group,
        stored=stored,
        error=float(np.sqrt(np.square(s - p).sum())) / norm,
        expected=expected,
        in_steps=float(np.sqrt(np.square((s - p)[live] / step[live]).mean())) if live.any() else None,
        exact=float((distance <= slack)[live].mean()) if live.any() else None,
        inherited=bool((own[live] <= NEAR).mean() >= ON_LATTICE) if live.any() else False,
        displaced=displaced_by(quantiser, s, p),
    )


def _stored(s: Floats, p: Floats, dtype: str, norm: float) -> Lattice:
    """Return the lattice that the file names; its step is read off the values where no quantiser can be run."""
    quantiser = by_name(dtype)
    if quantiser is not None and quantiser.fits(s.shape[1]):
        return _against(quantiser, s, p, norm, stored=True, dtype="F32")
    bits = re.search(r"(?<![A-Z])(?:[A-Z]+)?(\d+)", dtype)
    plain = Lattice(
        name=dtype,
        bits=int(bits[1]) if bits else None,
        group=None,
        stored=True,
        error=float(np.sqrt(np.square(s - p).sum())) / norm,
        expected=None,
        in_steps=None,
        exact=None,
        inherited=False,
    )
    book = CODEBOOKS.get(dtype)
    if book is not None:
        placed = place(book, s, p)
        if placed is None:
            return plain
        expected = float(np.sqrt(placed.squares)) / norm
        return replace(
            plain,
            group=book.group,
            expected=expected,
            in_steps=placed.in_steps,
            displaced=placed.displaced,
        )
    found = find_gaps(s, "F32", _groups_of(dtype))
    return plain if found is None else replace(plain, group=found.group, **_by_step(s, p, found, norm))


def _by_step(s: Floats, p: Floats, gaps: Gaps, norm: float) -> dict[str, float | None]:
    step = gaps.step
    live = step > 0
    in_steps = float(np.sqrt(np.square((s - p)[live] / step[live]).mean())) if live.any() else None
    return {
        "expected": float(np.sqrt(np.square(step).sum() / 12)) / norm,
        "in_steps": in_steps,
        "displaced": displaced_in_steps(s, p, step, gaps.group),
    }


def _by_gaps(s: Floats, p: Floats, dtype: str, norm: float) -> Lattice | None:
    """Return a lattice with free scales and offsets (K-quants, AWQ, GPTQ) found by the gaps between values."""
    found = find_gaps(s, dtype)
    if found is None:
        return None
    error = float(np.sqrt(np.square(s - p).sum())) / norm
    by_step = _by_step(s, p, found, norm)
    return Lattice(
        name=f"uniform/{found.group or 'row'}",
        bits=max(1, int(np.ceil(np.log2(found.levels)))),
        group=found.group,
        stored=False,
        error=error,
        expected=by_step["expected"],
        in_steps=by_step["in_steps"],
        exact=None,
        inherited=find_gaps(p, dtype) is not None,
        displaced=by_step["displaced"],
    )


@dataclass(frozen=True, eq=False)
class Gaps:
    """A lattice read off the gaps between values: group size (0 a row), step at each element, levels of a group."""

    group: int
    step: Floats
    levels: int


def _groups_of(dtype: str) -> tuple[int, ...]:
    """Return the group sizes to try for a stored kind: its own where it is known."""
    return (SHARED[dtype],) if dtype in SHARED else _GROUPS


def find_gaps(values: Floats, dtype: str, sizes: tuple[int, ...] = _GROUPS) -> Gaps | None:
    """Return the largest group size whose values are multiples of one step (the step that rounding used), or None.

    The step is the smallest gap of a group (or half or a third of it, where neighbouring levels are not both
    used). Free values have gaps that are no multiples of the smallest.
    """
    fits = (
        _gaps_of(values, dtype, group) for group in sorted(sizes, key=lambda g: g or 1 << 30, reverse=True)
    )
    found = next((gaps for gaps in fits if gaps is not None), None)
    if found is None or found.levels <= _FEW_LEVELS:
        return found
    return _coarser(values, dtype, sizes, found)


def _coarser(values: Floats, dtype: str, sizes: tuple[int, ...], found: Gaps) -> Gaps:
    """Return the gaps of smaller groups where their steps are larger.

    Scales that are multiples of one number (Q3_K) put all values on a lattice of that number; it is far finer than
    the one that values were rounded to.
    """
    for group in sorted(g for g in sizes if g and (g < found.group or not found.group)):
        finer = _gaps_of(values, dtype, group)
        if finer is not None:
            steps = [gaps.step[gaps.step > 0] for gaps in (finer, found)]
            return finer if float(np.median(steps[0])) > _LARGER * float(np.median(steps[1])) else found
    return found


def _gaps_of(values: Floats, dtype: str, group: int) -> Gaps | None:
    """Return the gaps for one group size; None where rows do not fall into such groups or values are free."""
    width = values.shape[1]
    if group and (width % group or width <= group):
        return None
    groups = values.reshape(-1, group or width)
    if not _may_have_steps(groups[:_LOOK_GROUPS], _HALF_ULP.get(dtype, 2.0**-22)):
        return None
    steps = _steps_of(groups, _HALF_ULP.get(dtype, 2.0**-22))
    if steps is None:
        return None
    full = np.repeat(steps[:, None], group or width, axis=1).reshape(values.shape)
    spread = groups.max(axis=1) - groups.min(axis=1)
    levels = spread[steps > 0] / steps[steps > 0]
    return Gaps(group, full.astype(np.float32), round(float(np.quantile(levels, 0.95))) + 1)


_MOST_LEVELS = 260
#: Levels from which on smaller groups are tried for a coarser lattice, and how much larger their steps must be.
_FEW_LEVELS, _LARGER = 20, 1.5
#: Share of groups whose values must be multiples of a step; free values of a group almost never are.
GROUPS_FIT = 0.95
#: Groups that are looked at first, and of them those that can settle it alone.
_LOOK_GROUPS, _FEW_GROUPS = 64, 8


def _may_have_steps(groups: Floats, half_ulp: float) -> bool:
    """Return whether enough groups have a step; a few groups without one can settle that for all of them."""
    few = groups[:_FEW_GROUPS]
    steps, usable = _group_steps(few, half_ulp)
    without = int((usable & (steps == 0)).sum())
    if without > (1 - GROUPS_FIT) * len(groups):
        return False  # too many already, whatever the others show
    return _steps_of(groups, half_ulp) is not None


def _steps_of(groups: Floats, half_ulp: float) -> Floats | None:
    """Return the step of each group (0 where it cannot be told), or None where too few groups have one."""
    steps, usable = _group_steps(groups, half_ulp)
    if usable.sum() < max(4, 0.5 * len(groups)):
        return None
    return steps if float((steps[usable] > 0).mean()) >= GROUPS_FIT else None


def _group_steps(groups: Floats, half_ulp: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the step of each group, and which groups hold enough different values to have one."""
    rows = np.arange(len(groups))
    offset = groups - groups[rows, np.abs(groups).argmin(axis=1)][:, None]
    gaps = np.diff(np.sort(groups, axis=1), axis=1)
    size = np.abs(groups).max(axis=1, keepdims=True)
    gaps = np.where(gaps > 2 * half_ulp * size + 1e-30, gaps, np.inf)
    smallest = gaps.min(axis=1)
    usable = np.isfinite(smallest) & (np.isfinite(gaps).sum(axis=1) >= 3)
    steps = np.zeros(len(groups), np.float32)
    settled = ~usable
    for divisor in (1, 2, 3):
        step = _sharpened(
            offset, gaps, (np.where(usable, smallest, 1.0) / divisor).astype(np.float32), divisor
        )
        fits = _are_multiples(groups, offset, step[:, None], half_ulp) & ~settled
        steps[fits] = step[fits]
        settled |= fits
    return steps, usable


def _sharpened(offset: Floats, gaps: Floats, step: Floats, divisor: int) -> Floats:
    """Return steps fitted to all values: a gap between two rounded values is too coarse to count far with."""
    if divisor == 1:
        near = np.isfinite(gaps) & (gaps < 1.4 * step[:, None])
        step = np.where(near, gaps, 0.0).sum(axis=1) / np.maximum(near.sum(axis=1), 1)
    for reach in (3.0, 12.0, 400.0):
        safe = np.where(step > 0, step, 1.0)
        number = np.rint(offset / safe[:, None])
        number = np.where(np.abs(number) <= reach, number, 0.0)
        weight = np.square(number).sum(axis=1)
        fitted = (number * offset).sum(axis=1) / np.maximum(weight, 1.0)
        step = np.where(weight > 0, fitted, step)
    return step.astype(np.float32)


def _are_multiples(groups: Floats, offset: Floats, step: Floats, half_ulp: float) -> npt.NDArray[np.bool_]:
    """Return which groups consist of multiples of their step, counted from the value nearest to zero."""
    safe = np.where(step > 0, step, 1.0)
    number = offset / safe
    slack = 0.03 + 2 * half_ulp * np.abs(groups) / safe
    telling = (slack < 0.2) & (number != 0)
    near = np.abs(number - np.rint(number)) <= slack
    levels = (groups.max(axis=1) - groups.min(axis=1)) / safe[:, 0]
    enough = telling.sum(axis=1) >= min(6, groups.shape[1] // 3)
    share = (near & telling).sum(axis=1) / np.maximum(telling.sum(axis=1), 1)
    return (share >= 0.99) & (levels <= _MOST_LEVELS) & enough & (step[:, 0] > 0)
