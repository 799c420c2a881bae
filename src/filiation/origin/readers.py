"""What feed-forward networks read of each residual channel: a trace of training that outlasts copied gains.

The lengths of the columns of gate and up, gain folded in, carry what training did to the gains, and no rescaling of
gains against their readers moves them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan, experts_of
from filiation.origin.scale import wide
from filiation.origin.units import Doubles, Floats, unit_rows
from filiation.origin.weighing import neurons_of

#: Spread of the logarithms of a gain ratio from which on it is asked whether the readers undo it.
RESCALED = 0.05
#: Share of what is usual below which a channel is not read; and one in how many channels may be left aside for it.
UNREAD, FEW = 1e-3, 32


def reading_of(pairing: Pairing, plan: Plan) -> tuple[float, bool] | None:
    """Return how alike what is read of each channel is, and whether gains were rescaled against their readers.

    The lengths of the columns of gate and up, gain folded in, carry what training did to the gains, and no rescaling
    of gains against readers moves them. Mean Pearson correlation of their logarithms over layers. None after a
    rotation, or where different units were read of the two models.
    """
    if pairing.suspect.basis.matrix is not None or (pairing.match_anywhere and not plan.whole):
        return None
    correlations: list[float] = []
    spreads: list[tuple[float, float]] = []
    for pair in pairing.layers:
        sides = tuple(zip((pairing.suspect, pairing.candidate), pair, strict=True))
        experts = [experts_of(side, layer) for side, layer in sides]
        if len(experts[0]) == len(experts[1]):
            experts = [numbers[:1] for numbers in experts]  # as many: one stands for all
        columns = [
            _column_lengths(side, layer, numbers, pairing, pair[0], plan)
            for (side, layer), numbers in zip(sides, experts, strict=True)
        ]
        if columns[0] is None or columns[1] is None or len(columns[0]) != len(columns[1]):
            continue
        kept = _read_by_both(columns[0], columns[1])
        if min(columns[0][kept].std(), columns[1][kept].std()) > 0:
            correlations.append(float(np.corrcoef(columns[0][kept], columns[1][kept])[0, 1]))
        gains = [side.gain("ffn_norm", layer) for side, layer in sides]
        if gains[0] is not None and gains[1] is not None:
            mine, theirs = (
                _log(side.carry(g[None])[0])
                for (side, _), g in zip(sides, gains, strict=True)
                if g is not None
            )
            if len(mine) == len(theirs):
                spreads.append((float((mine - theirs).std()), float((columns[0] - columns[1]).std())))
    if not correlations:
        return None
    gain_spread, read_spread = np.mean(spreads, axis=0) if spreads else (0.0, 0.0)
    return float(np.mean(correlations)), bool(gain_spread > RESCALED and 2 * read_spread < gain_spread)


def _read_by_both(mine: Doubles, theirs: Doubles) -> npt.NDArray[np.bool_]:
    """Return which channels to compare, by the logarithms of how much is read of each: all, but for few unread ones.

    A model that gives a channel up reads next to nothing there. That would drown all others, as logarithms go.
    """
    least = np.log(UNREAD)
    kept = (mine > np.median(mine) + least) & (theirs > np.median(theirs) + least)
    return kept if FEW * np.count_nonzero(~kept) <= len(kept) else np.ones_like(kept)


def _column_lengths(
    side: Side,
    layer: int,
    experts: Sequence[int | None],
    pairing: Pairing,
    suspect_layer: int,
    plan: Plan,
) -> Doubles | None:
    """Return the logarithms of the lengths of gate's and up's columns together, in the common basis.

    Every row counts by its unit's effect, whatever its length: one loud row that does nothing would drown the rest.
    """
    # Units that are looked for anywhere stand at no equal places: then every unit is read of both.
    read = None if pairing.match_anywhere else pairing.rows_of(suspect_layer)
    roles = ("gate",) if suspect_layer in pairing.unsigned else ("gate", "up")
    squares: list[Doubles] = []
    for expert in experts:
        rows = [r for role in roles if (r := side.reader(role, layer, expert, read)) is not None]
        if not rows or not len(rows[0]):
            continue
        weights = neurons_of(side, layer, expert, plan)
        if weights is None or read is not None:
            weights = np.prod([np.linalg.norm(wide(r), axis=1) for r in rows], axis=0)
        squares += [np.einsum("i,ij->j", weights, np.square(unit_rows(r)), dtype=np.float64) for r in rows]
    return 0.5 * _log(np.sum(np.stack(squares), axis=0)) if squares else None


def _log(values: Floats | Doubles) -> Doubles:
    sizes = np.abs(values.astype(np.float64))
    return np.log(np.where(sizes > 0, sizes, 1e-30))
