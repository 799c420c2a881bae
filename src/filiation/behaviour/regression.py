"""Least squares of log-probabilities on an unembedding, row block by row block.

Log-probabilities are ``W h + b - log sum exp``: a point in the span of ``W``'s columns and 1 (``arXiv:2403.09539``).
Some tokens fit ``h``, others are predicted. No law is assumed for the residual of an unrelated matrix: it is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.behaviour.heads import Doubles, Head, Integers

BLOCK = 4096


@dataclass(frozen=True, eq=False)
class Residual:
    """How well a head explains log-probabilities.

    Attributes:
        held_out: 1 - R^2 on the tokens that did not fit ``h``, the largest over prompts.
        in_sample: the same on those that did.
        sd: standard deviation of the held-out residual in nats, root mean square over prompts.
        hidden: the fitted ``h``, shape ``[prompts, d]``.
        relative: estimated relative change of the head's entries that would leave this residual.
    """

    held_out: float
    in_sample: float
    sd: float
    hidden: Doubles
    relative: float


def regress(head: Head, fit: Integers, fitted: Doubles, test: Integers, tested: Doubles) -> Residual:
    """Fit ``h`` on some tokens and predict others.

    Args:
        head: whose rows are read; at most ``BLOCK + d`` of them are in memory at a time, but for a soft cap.
        fit, test: ids, ``[n]`` and ``[m]``.
        fitted, tested: log-probabilities, ``[n, prompts]`` and ``[m, prompts]``.
    """
    if head.softcap is not None:
        constants = caps(head, fit, fitted)
        fitted, tested = (uncapped(values, head.softcap, constants) for values in (fitted, tested))
    if head.bias is not None:
        fitted, tested = fitted - head.bias[fit, None], tested - head.bias[test, None]
    corner = _triangle(head, fit, fitted)
    width = head.width + 1
    solution = _solve(corner[:width, :width], corner[:width, width:])
    left = corner[width:, width:]
    own = np.sqrt((left**2).sum(0))
    wrong = tested - _predicted(head, test, solution)
    spread = tested - tested.mean(0)
    inside = own**2 / np.maximum(((fitted - fitted.mean(0)) ** 2).sum(0), np.finfo(np.float64).tiny)
    outside = (wrong**2).sum(0) / np.maximum((spread**2).sum(0), np.finfo(np.float64).tiny)
    sd = float(np.sqrt((wrong**2).mean()))
    return Residual(
        float(outside.max()),
        float(inside.max()),
        sd,
        solution[:-1].T.copy(),
        _relative(head, fit, sd, solution),
    )


def _triangle(head: Head, ids: Integers, values: Doubles) -> Doubles:
    """Return the triangular factor of ``[W, 1, values]``, from one block of rows after the other."""
    corner = np.zeros((0, head.width + 1 + values.shape[1]))
    for start in range(0, len(ids), BLOCK):
        block = _columns(head, ids[start : start + BLOCK])
        stacked = np.vstack([corner, np.hstack([block, values[start : start + BLOCK]])])
        corner = np.asarray(np.linalg.qr(stacked, mode="r"), np.float64)
    return corner


def _columns(head: Head, ids: Integers) -> Doubles:
    return np.hstack([head.rows(ids), np.ones((len(ids), 1))])


def _solve(corner: Doubles, right: Doubles) -> Doubles:
    diagonal = np.abs(np.diag(corner))
    if diagonal.min() > 1e-11 * diagonal.max():
        from scipy.linalg import solve_triangular

        return np.asarray(solve_triangular(corner, right), np.float64)
    return np.asarray(np.linalg.lstsq(corner, right, rcond=None)[0], np.float64)


def _predicted(head: Head, ids: Integers, solution: Doubles) -> Doubles:
    parts = [_columns(head, ids[s : s + BLOCK]) @ solution for s in range(0, len(ids), BLOCK)]
    return np.concatenate(parts)


def _relative(head: Head, fit: Integers, sd: float, solution: Doubles) -> float:
    """A change of every entry by ``e`` times their size leaves ``e * |h| * size``, more where few rows fit ``h``."""
    rows = head.rows(fit[:BLOCK])
    size = float(np.sqrt((rows**2).mean()))
    length = float(np.sqrt((solution[:-1] ** 2).sum(0).mean()))
    spread = np.sqrt(1 + head.width / max(1, len(fit) - head.width))
    return sd / max(size * length * float(spread), np.finfo(np.float64).tiny)


def uncapped(values: Doubles, cap: float, constants: Doubles) -> Doubles:
    """Return ``cap * atanh((values + constants) / cap)``: logits before a soft cap."""
    return cap * np.arctanh(np.clip((values + constants) / cap, -1 + 1e-15, 1 - 1e-15))


def caps(head: Head, ids: Integers, values: Doubles) -> Doubles:
    """Return, for each prompt, the constant that the log-probabilities lack, by a search in one dimension.

    It is the one for which the logits before the cap lie nearest to the span. All rows of ``ids`` are in memory.

    Raises:
        ValueError: the head has no soft cap.
    """
    if head.softcap is None:
        raise ValueError("the head has no soft cap")
    basis = np.linalg.qr(_columns(head, ids))[0]
    bias = 0.0 if head.bias is None else head.bias[ids]
    return np.array([_constant(basis, values[:, n], head.softcap, bias) for n in range(values.shape[1])])


def _constant(basis: Doubles, values: Doubles, cap: float, bias: Doubles | float) -> float:
    from scipy.optimize import minimize_scalar

    low, high = -cap - float(values.min()), cap - float(values.max())
    if low >= high:  # wider than a capped model can be: no constant fits, and the residual will show it
        return (low + high) / 2

    def off(constant: float) -> float:
        logits = uncapped(values, cap, np.float64(constant)) - bias  # type: ignore[arg-type]
        rest = logits - basis @ (basis.T @ logits)
        return float((rest**2).sum() / ((logits - logits.mean()) ** 2).sum())

    inner = (high - low) * 1e-6
    grid = np.linspace(low + inner, high - inner, 65)
    best = int(np.argmin([off(float(c)) for c in grid]))
    around = (float(grid[max(0, best - 1)]), float(grid[min(64, best + 1)]))
    found = minimize_scalar(off, bounds=around, method="bounded", options={"xatol": 1e-12})
    return float(found.x)
