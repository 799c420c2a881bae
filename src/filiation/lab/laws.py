"""Exact intervals of rates, and observed label counts against the laws that the exact tests promise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Tests that count equal signs, fair coins under the null; the others count units in place, one a block of units.
_SIGN_TESTS = frozenset(
    f"{what}_sign{where}" for what in ("ffn", "residual", "value") for where in ("", "_in_place")
)
LINES = (1, 2, 3)


@dataclass(frozen=True)
class Rate:
    """A share of trials with its exact 95 % interval (Clopper and Pearson, Biometrika 26, 1934)."""

    count: int
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        """Return the interval; (0, 1) without trials."""
        from scipy.stats import beta

        if self.trials == 0:
            return 0.0, 1.0
        low = float(beta.ppf(0.025, self.count, self.trials - self.count + 1)) if self.count else 0.0
        full = self.count == self.trials
        high = 1.0 if full else float(beta.ppf(0.975, self.count + 1, self.trials - self.count))
        return low, high

    def record(self) -> dict[str, Any]:
        """Return plain numbers."""
        low, high = self.interval
        share = self.count / self.trials if self.trials else None
        return {"count": self.count, "trials": self.trials, "share": share, "low": low, "high": high}

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.count} of {self.trials} ({low:.3f} to {high:.3f})" if self.trials else "none measured"


@dataclass
class Tally:
    """One exact test over many label sets of models that share nothing."""

    test: str
    label_sets: int = 0
    units: int = 0
    observed: float = 0.0
    expected: float = 0.0
    largest: float = -math.inf
    sum_e: float = 0.0
    over: dict[int, int] = field(default_factory=lambda: dict.fromkeys(LINES, 0))
    draws: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def add(self, statistic: float, expected: float, n: int, log10_e: float) -> None:
        """Count one label set."""
        self.label_sets += 1
        self.units += n
        self.observed += statistic
        self.expected += expected
        self.largest = max(self.largest, log10_e)
        self.sum_e += 10.0**log10_e
        for line in LINES:
            self.over[line] += log10_e >= line
        self.draws.append((round(statistic), n))

    @property
    def is_sign(self) -> bool:
        """Tell whether the test counts fair coins."""
        return self.test in _SIGN_TESTS

    def z(self) -> float | None:
        """Return how far the sum is from its expectation, in standard deviations if label sets were independent.

        None where the statistic is no count: nothing is expected of it then.
        """
        if not self.expected:
            return None
        variance = self.units / 4 if self.is_sign else self.expected
        return (self.observed - self.expected) / math.sqrt(variance) if variance else None

    def p_uniform(self, seed: int = 1) -> float | None:
        """Return the p-value of a test that randomised binomial p-values are uniform (Kolmogorov and Smirnov)."""
        if not self.is_sign:
            return None
        from scipy.stats import binom, kstest

        rng = np.random.default_rng(seed)
        counts, sizes = (np.array(column) for column in zip(*self.draws, strict=True))
        below = binom.cdf(counts - 1, sizes, 0.5)
        p = below + rng.random(len(counts)) * binom.pmf(counts, sizes, 0.5)
        return float(kstest(p, "uniform").pvalue)

    def p_poisson(self) -> float | None:
        """Return the p-value of a chi-square test of units in place against the Poisson law of mean one.

        The law is a limit (many units, one block); only tests of one block of many units are held to it.
        """
        if self.test not in ("ffn_order", "residual_order"):
            return None
        from scipy.stats import chisquare, poisson

        cells = 5
        counts = np.bincount([min(count, cells - 1) for count, _ in self.draws], minlength=cells)
        law = np.array([*poisson.pmf(np.arange(cells - 1), 1.0), poisson.sf(cells - 2, 1.0)])
        return float(chisquare(counts, law * counts.sum()).pvalue)

    def record(self) -> dict[str, Any]:
        """Return plain numbers."""
        return {
            "test": self.test,
            "label_sets": self.label_sets,
            "units": self.units,
            "observed": self.observed,
            "expected": self.expected,
            "z": self.z(),
            "p_uniform": self.p_uniform(),
            "p_poisson": self.p_poisson(),
            "mean_e": self.sum_e / self.label_sets,
            "largest_log10_e": self.largest,
            "over": {str(10**line): count for line, count in self.over.items()},
        }


def tallies(rows: Iterable[Mapping[str, Any]], stage: str = "direct") -> list[Tally]:
    """Return one tally a test over all rows, label sets as they lie (stage `direct`)."""
    found: dict[str, Tally] = {}
    for row in rows:
        for test, where, _, statistic, expected, n, log10_e in row.get("tests", []):
            if where == stage and statistic is not None and n:
                tally = found.setdefault(test, Tally(test))
                tally.add(float(statistic), float(expected or 0.0), int(n), float(log10_e))
    return [found[test] for test in sorted(found)]


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return least, median and largest; None of nothing."""
    if not values:
        return None
    low, middle, high = np.quantile(np.array(values), [0, 0.5, 1])
    return {"least": float(low), "median": float(middle), "largest": float(high)}


def auroc(true: Sequence[float], false: Sequence[float]) -> float | None:
    """Return the chance that one of `true` lies above one of `false`, ties counted half; None without both."""
    if not true or not false:
        return None
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([true, false]))[: len(true)]
    return float((ranks.sum() - len(true) * (len(true) + 1) / 2) / (len(true) * len(false)))
