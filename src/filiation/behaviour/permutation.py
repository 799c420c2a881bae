"""The fixed-n two-sample test: labels permuted within each prompt, with the observed labelling counted in.

Both sides answer the same prompts. Under the null hypothesis the answers to one prompt are exchangeable, so moving
the labels *within* prompts leaves the law of any statistic alone, whatever the prompts are and however many answers
each has. ``p = (1 + #{permuted >= observed}) / (1 + permutations)`` is valid at every number of permutations and
never 0. Answers of different prompts are never mixed: the prompts are a designed list, not a sample.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_GROUPS = 20


@dataclass(frozen=True, slots=True)
class Stratum:
    """The answers to one prompt: some of the reference, some of the suspect, both at least one."""

    cell: str
    reference: tuple[str, ...]
    suspect: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TwoSample:
    """What the permutations gave.

    Attributes:
        p: exact under exchangeability within prompts.
        observed: total variation between the two sides' answers, averaged over cells by their number of prompts.
        by_chance: its mean over the permutations: what noise alone gives at this n.
        distance: ``observed - by_chance``, the effect freed of that noise.
        low, high: ``distance`` less and plus 1.96 jackknife standard errors.
        strata: how many prompts it rests on.
    """

    p: float
    observed: float
    by_chance: float
    distance: float
    low: float
    high: float
    strata: int


def two_sample(strata: Sequence[Stratum], seed: int, permutations: int = 9999) -> TwoSample:
    """Test whether the two sides' answers are exchangeable within each prompt.

    Args:
        strata: the prompts with their answers.
        seed: of the permutations.
        permutations: how many are drawn; the smallest possible p is ``1 / (permutations + 1)``.

    Raises:
        ValueError: there is no stratum, or one has an empty side.
    """
    if not strata or any(not s.reference or not s.suspect for s in strata):
        raise ValueError("every prompt needs an answer of each side")
    rng = np.random.default_rng(seed)
    table = _Table(strata)
    observed = float(table.distance(table.labels[None])[0])
    permuted = np.concatenate(
        [table.distance(table.permuted(rng, count)) for count in _portions(permutations, len(table.labels))]
    )
    # Equal statistics come out of the sums in another order: a hair below counts as reached.
    reached = int((permuted >= observed - 1e-9).sum())
    by_chance = float(permuted.mean())
    error = 1.96 * table.jackknife(observed)
    distance = observed - by_chance
    return TwoSample(
        p=(1 + reached) / (1 + permutations),
        observed=observed,
        by_chance=by_chance,
        distance=distance,
        low=distance - error,
        high=distance + error,
        strata=len(strata),
    )


def _portions(total: int, width: int) -> list[int]:
    """Cut ``total`` permutations so that one portion holds some million labels at most."""
    size = max(1, min(total, 4_000_000 // max(width, 1)))
    return [min(size, total - start) for start in range(0, total, size)]


class _Table:
    """The answers as a matrix: one column per answer given, one per cell and symbol, and its two labels."""

    def __init__(self, strata: Sequence[Stratum]) -> None:
        from scipy.sparse import csr_array

        self.strata = strata
        self.labels: npt.NDArray[np.bool_] = np.array(
            [side for s in strata for side in (False,) * len(s.reference) + (True,) * len(s.suspect)]
        )
        cells = sorted({s.cell for s in strata})
        symbols = sorted({(s.cell, a) for s in strata for a in (*s.reference, *s.suspect)})
        column = {symbol: n for n, symbol in enumerate(symbols)}
        answers = [column[s.cell, a] for s in strata for a in (*s.reference, *s.suspect)]
        self.cell = np.array([cells.index(s.cell) for s in strata for _ in (*s.reference, *s.suspect)])
        self.of_symbol = np.array([cells.index(cell) for cell, _ in symbols])
        self.stratum = np.repeat(np.arange(len(strata)), [len(s.reference) + len(s.suspect) for s in strata])
        shape = (len(answers), len(symbols))
        self.answers: Any = csr_array(
            (np.ones(len(answers)), (np.arange(len(answers)), answers)), shape=shape
        )
        per_cell = np.bincount([cells.index(s.cell) for s in strata], minlength=len(cells))
        self.weight = per_cell / len(strata)
        self.runs = self._runs()

    def _runs(self) -> list[npt.NDArray[np.int64]]:
        """Positions of the answers, one row per stratum, strata of one size together."""
        by_size: defaultdict[int, list[npt.NDArray[np.int64]]] = defaultdict(list)
        start = 0
        for s in self.strata:
            size = len(s.reference) + len(s.suspect)
            by_size[size].append(np.arange(start, start + size))
            start += size
        return [np.array(rows) for _, rows in sorted(by_size.items())]

    def permuted(self, rng: np.random.Generator, count: int) -> npt.NDArray[np.bool_]:
        """Return ``count`` labellings, permuted within every stratum: shape (count, answers)."""
        labels = np.empty((count, len(self.labels)), dtype=bool)
        for rows in self.runs:
            block = np.broadcast_to(self.labels[rows], (count, *rows.shape))
            labels[:, rows] = rng.permuted(block, axis=-1)
        return labels

    def distance(
        self, labels: npt.NDArray[np.bool_], use: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return the averaged total variation for each labelling; ``use`` leaves answers out."""
        used = np.ones(labels.shape[1]) if use is None else use.astype(float)
        suspect: npt.NDArray[np.float64] = np.where(labels, used, 0.0)
        reference: npt.NDArray[np.float64] = np.where(labels, 0.0, used)
        share = self._shares(suspect) - self._shares(reference)
        per_symbol = np.abs(share) * self.weight[self.of_symbol]
        return np.asarray(0.5 * per_symbol.sum(axis=1), dtype=np.float64)

    def _shares(self, side: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return each symbol's share in its cell, for the answers of one side."""
        counts = np.asarray(side @ self.answers)
        totals = np.zeros((len(side), len(self.weight)))
        for cell in range(len(self.weight)):
            totals[:, cell] = side[:, self.cell == cell].sum(axis=1)
        return counts / np.maximum(totals, 1.0)[:, self.of_symbol]

    def jackknife(self, whole: float) -> float:
        """Return the standard error of the observed distance by leaving out groups of strata in turn."""
        groups = min(_GROUPS, len(self.strata))
        if groups < 2:
            return whole
        left = [self.distance(self.labels[None], self.stratum % groups != g)[0] for g in range(groups)]
        return float(np.sqrt((groups - 1) * np.var(left)))
