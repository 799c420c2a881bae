"""Arithmetic of e-values, in natural logarithms.

An e-value is a non-negative statistic whose expectation is at most 1 under the null hypothesis, so that (Markov)
it exceeds ``x`` with probability at most ``1/x``. Means of e-values are e-values whatever their dependence; products
are e-values when each factor has conditional expectation at most 1 given the labels the earlier factors read.
All functions here take and return ``log e``; reports divide by ``log 10`` ("bans").
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LOG10 = math.log(10.0)

# The fixed grid of bets of the fixed-point test; extended by factors of four up to the block size.
FIXED_POINT_GRID = (0.0, 0.125, 0.25, 0.5, 1.0)
# The fixed grids of bets of the diagonal and sign-magnitude tests; the diagonal's are powers of two.
DIAGONAL_GRID = (0.03125, 0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
# Standardised similarities are cut here, so that the largest bet on them stays inside the range of a double: without
# it the sum over the units that remain can be 0, and the e-value infinite, from about 30,000 units on.
Z_LIMIT = 40.0
# Similarities that differ by less than this differ by the rounding of float32 only, which knows row numbers.
FLAT = 1e-6
MAGNITUDE_GRID = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def log_mean(values: Sequence[float] | Array, weights: Sequence[float] | None = None) -> float:
    """Return ``log(sum w_i e_i)``; equal weights when none are given.

    Weights may add up to less than 1: the missing weight belongs to terms that were not read and count as 0.

    Raises:
        ValueError: no values, negative weights, or weights that add up to more than 1.
    """
    logs = np.asarray(values, np.float64)
    if not logs.size:
        raise ValueError("the mean of no e-values is not an e-value")
    w = np.full(logs.size, 1.0 / logs.size) if weights is None else np.asarray(weights, np.float64)
    if (w < 0).any() or w.sum() > 1 + 1e-9:
        raise ValueError("weights of a mean of e-values must be non-negative and add up to at most 1")
    peak = float(logs.max())
    if peak == -math.inf:
        return -math.inf
    return peak + math.log(float(np.dot(w, np.exp(logs - peak))))


def insured(log_e: float) -> float:
    """Return ``log((1 + e) / 2)``: a bet that can lose at most half, for use inside long products."""
    return log_mean((0.0, log_e))


def product(values: Iterable[float]) -> float:
    """Return the log of a product of e-values (the caller answers for the conditions under which it is one)."""
    return math.fsum(values)


def fixed_points(counts: Sequence[int], sizes: Sequence[int], weights: Sequence[float]) -> float:
    """Return the log e-value of the order test for fixed points counted in independently permuted blocks.

    For one block of ``n`` units, ``E[binomial(X, k)] <= 1/k!``, hence ``E[(1+t)^X] <= sum over k <= n of t^k/k!``;
    the e-value at ``t`` is the quotient of the two (for ``t`` well below ``n`` the divisor is ``exp(t)``).
    A weight below 1 on a block (one over the size of its cluster of copies) keeps the product an e-value
    under any dependence inside the cluster, by Hoelder's inequality. The result averages a fixed grid of ``t``.

    Args:
        counts: fixed points of each block. sizes: units of each block. weights: each in (0, 1].
    """
    largest = max(sizes, default=0)
    if largest == 0:
        return 0.0
    grid = list(FIXED_POINT_GRID)
    while grid[-1] * 4 <= max(4, largest):
        grid.append(grid[-1] * 4)
    grid.append(float(largest) ** 2)  # where the truncated divisor stays below exp(t): pays for small blocks
    logs = [
        math.fsum(
            w * (x * math.log1p(t) - _log_truncated_exp(t, n))
            for x, n, w in zip(counts, sizes, weights, strict=True)
        )
        for t in grid
    ]
    return log_mean(logs)


@functools.lru_cache(maxsize=256)
def _log_truncated_exp(t: float, n: int) -> float:
    """Return ``log(sum over k = 0..n of t^k / k!)``."""
    if t == 0.0 or n == 0:
        return 0.0
    if t < n / 4:  # the tail beyond n is negligible, and dropping it only makes the e-value smaller
        return t
    k = np.arange(n + 1)
    log_terms = k * math.log(t) - _log_factorial(n)
    peak = float(log_terms.max())
    return peak + math.log(float(np.exp(log_terms - peak).sum()))


def _log_factorial(n: int) -> Array:
    """Return ``log k!`` for k = 0..n."""
    return np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))


def increasing_subsequence(length: int, n: int) -> float:
    """Return the log e-value of a longest strictly increasing subsequence of ``length`` among ``n`` units.

    ``P(LIS >= k) <= binomial(n, k)/k!`` for units in uniformly random order, also for many-to-one maps as long as
    the subsequence is strict. A fixed grid of ``k`` shares the weight.
    """
    if n == 0:
        return 0.0
    marks = _dyadic_lengths(n)
    log_factorials = _log_factorial(n)
    scores = [
        -math.inf
        if length < k
        else float(log_factorials[k] - (log_factorials[n] - log_factorials[k] - log_factorials[n - k]))
        for k in marks
    ]
    return log_mean([*scores, 0.0])  # the last term: the constant bet, so that the loss is bounded


def _dyadic_lengths(n: int) -> list[int]:
    """Return the lengths that share the weight: a fixed grid of shares of ``n``, dense where derived models fall."""
    marks = {
        max(1, round(n * share)) for share in (1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.35, 0.25, 0.125)
    }
    return sorted(marks)


def sign_counts(positive: int, n: int) -> float:
    """Return the log e-value of ``positive`` plus signs among ``n``: ``2^n K! (n-K)! / (n+1)!``."""
    return n * math.log(2.0) + math.lgamma(positive + 1) + math.lgamma(n - positive + 1) - math.lgamma(n + 2)


def sign_magnitudes(values: Array) -> float:
    """Return the log e-value of signed similarities whose signs are fair coins given their magnitudes.

    Mean over a fixed grid of ``a`` of ``prod 2/(1 + exp(-2 l c_i))`` with ``l = a / sqrt(sum c^2)``.
    """
    scale = float(np.sqrt(np.square(values).sum()))
    if scale == 0.0:
        return 0.0
    logs = [
        float((math.log(2.0) - np.logaddexp(0.0, -2.0 * a / scale * values)).sum()) for a in MAGNITUDE_GRID
    ]
    return log_mean(logs)


def signs(values: Array) -> float:
    """Return the log e-value of the sign test: the mean of the counts' and the magnitudes' e-values.

    Zero or undefined values must have been dropped.
    """
    if not values.size:
        return 0.0
    return log_mean((sign_counts(int((values > 0).sum()), values.size), sign_magnitudes(values)))


def diagonal_bets(
    similarity: Array, row_at: npt.NDArray[np.int64], column_at: npt.NDArray[np.int64]
) -> Array:
    """Return, for each bet of :data:`DIAGONAL_GRID`, the log of the diagonal test's product in one block.

    ``similarity[u, j]`` compares the suspect's ``u``-th unit with the candidate's ``j``-th; ``row_at[u]`` and
    ``column_at[j]`` are their positions. Columns are standardised over ``u`` and cut: no order changes that.
    Going through positions in ascending order, the suspect's unit at a position is, under H0, uniform among
    those not yet seen; so ``exp(l m_jj) / mean over the remaining u of exp(l m_uj)`` has expectation 1, exactly.
    """
    return diagonal_factors(similarity, row_at, column_at).sum(axis=1)


def diagonal_factors(
    similarity: Array, row_at: npt.NDArray[np.int64], column_at: npt.NDArray[np.int64]
) -> Array:
    """Return each column's factor (natural log) in the products of :func:`diagonal_bets`, ``(bets, columns)``.

    A column whose position no row has, or that is constant, has the factor 1. Columns may belong to several
    candidates' blocks: no column's factor depends on another column.
    """
    order = np.argsort(row_at, kind="stable")
    n = len(order)
    factors = np.zeros((len(DIAGONAL_GRID), len(column_at)))
    at = np.searchsorted(row_at[order], column_at) if n else np.zeros(len(column_at), np.int64)
    shared = np.flatnonzero((at < n) & (row_at[order[np.minimum(at, n - 1)]] == column_at)) if n else at[:0]
    if not len(shared):
        return factors
    at, columns = at[shared], _standard_columns(similarity[:, shared])[order]
    hit = columns[at, np.arange(len(at))]
    peak = columns.max(axis=0)
    # Only the units that remain count: those at the column's position and behind it.
    weights = np.subtract(columns, peak, out=columns)
    weights *= DIAGONAL_GRID[0]
    np.exp(weights, out=weights)
    weights[np.arange(n)[:, None] < at] = 0.0
    for index, bet in enumerate(DIAGONAL_GRID):
        if index:  # every bet is twice the one before
            np.square(weights, out=weights)
        factors[index, shared] = bet * (hit - peak) - np.log(weights.sum(axis=0)) + np.log(n - at)
    return factors


def _standard_columns(similarity: Array) -> Array:
    """Return the columns standardised over the rows and cut at :data:`Z_LIMIT`; constant ones become 0."""
    standard = similarity - similarity.mean(axis=0)
    spread = np.sqrt((standard * standard).sum(axis=0) / len(similarity))
    flat = spread < FLAT
    standard /= np.where(flat, 1.0, spread)
    standard[:, flat] = 0.0
    return np.clip(standard, -Z_LIMIT, Z_LIMIT, out=standard)


def diagonal(blocks: Sequence[Array], weights: Sequence[float]) -> float:
    """Return the log e-value of the diagonal test from each block's :func:`diagonal_bets` and its weight."""
    if not blocks:
        return 0.0
    return log_mean(np.sum([w * bets for bets, w in zip(blocks, weights, strict=True)], axis=0))
