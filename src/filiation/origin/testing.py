"""What an exact test is: a name, the symmetry it needs, and a pure function of two sets of units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from filiation.origin.units import Units

Weights = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test measured.

    ``log_e`` is the natural logarithm of the e-value; ``statistic`` its most readable number (units in place, plus
    signs ...), ``expected`` what independent models show on average, ``n`` the number of units.
    """

    log_e: float
    statistic: float
    expected: float
    n: int


@dataclass(frozen=True, slots=True)
class Abstention:
    """The test did not run on these units, and why (a key of the report's phrase files)."""

    reason: str


@runtime_checkable
class ExactTest(Protocol):
    """A test whose e-value has expectation at most 1 when the suspect's labels are uniformly random.

    ``labels`` is ``order`` or ``sign``: which labels it is exact under. ``kinds`` are the units it understands.
    ``sizes`` says whether it is for label sets of ``equal`` or ``unequal`` size, or ``any``. ``statistic_name`` names
    what :attr:`Outcome.statistic` is; ``counts_units`` whether that is a number of units out of ``n``.
    """

    name: str
    labels: str
    kinds: frozenset[str]
    sizes: str
    symmetric: bool
    statistic_name: str
    counts_units: bool

    def measure(
        self, suspect: Units, candidate: Units, rng: np.random.Generator, weights: Weights | None = None
    ) -> Outcome | Abstention:
        """Test the two sets of units; ``weights`` (per block, in (0, 1]) discount blocks that are copies."""
        ...


def weight_of(weights: Weights | None, block: int) -> float:
    """Return the block's weight, 1 where none is given."""
    return 1.0 if weights is None else weights.get(block, 1.0)


KINDS_WITH_ORDER = frozenset({"residual", "ffn", "value", "kv_group", "query_head", "expert"})
KINDS_WITH_SIGN = frozenset({"residual", "ffn", "value"})
