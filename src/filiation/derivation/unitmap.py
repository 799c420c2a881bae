"""Unit maps: which of the candidate's units (neurons, head channels) a suspect's unit is, and in what scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from filiation.origin.scale import held
from filiation.origin.units import Doubles, Floats, Integers


@dataclass(frozen=True, eq=False)
class UnitMap:
    """Makes the suspect's units out of the candidate's, along the unit axis of one matrix.

    Steps, each optional: ``pool`` mixes whole heads ``(heads_s, heads_c)``; ``index`` picks units ``(n_s,)``; ``mix``
    turns the channels of each head ``(heads_s, c, c)``; ``factor`` scales (and flips) each unit ``(n_s,)``.
    """

    index: Integers | None = None
    factor: Floats | Doubles | None = None
    mix: Floats | None = None
    pool: Floats | None = None

    @property
    def trivial(self) -> bool:
        """Whether units stay where and as they are."""
        return self.index is None and self.factor is None and self.mix is None and self.pool is None

    @property
    def by_row(self) -> bool:
        """Whether a suspect unit comes from the candidate's unit of the same number alone."""
        return self.index is None and self.mix is None and self.pool is None

    def apply(self, units: Floats) -> Floats:
        """Return the suspect's units ``(n_s, ...)`` made from the candidate's ``(n_c, ...)``."""
        if self.pool is not None:
            heads = units.reshape(self.pool.shape[1], -1)
            units = (self.pool @ heads).reshape(-1, *units.shape[1:])
        if self.index is not None:
            units = units[self.index]
        if self.mix is not None:
            heads = units.reshape(len(self.mix), self.mix.shape[2], -1)
            units = np.einsum("hij,hjk->hik", self.mix, heads).reshape(-1, *units.shape[1:])
        return self.scale(units).astype(np.float32, copy=False)

    def scale(self, units: Floats, start: int = 0) -> Floats:
        """Apply the factors alone to units ``start:start + len(units)``."""
        if self.factor is None:
            return units
        factor = self.factor[start : start + len(units)]
        return (units * factor.reshape(-1, *[1] * (units.ndim - 1))).astype(np.float32, copy=False)


STILL = UnitMap()


def inverse_factor(factor: Floats | Doubles | None) -> Floats | Doubles | None:
    """Return one over each factor: what the matrix at the other end of the units carries."""
    return None if factor is None else held(1.0 / factor)
