"""Gains beside quantised readers: were they trained, or scaled so that the readers' columns carry the inverse?

AWQ (arXiv 2306.00978) and SmoothQuant (arXiv 2211.10438) scale input channels before they round: a norm's gain is
divided by what its readers' columns are multiplied by. Training moves gains by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from filiation.derivation.measure import Measured
from filiation.origin.units import Doubles

#: The matrices that read through each norm of a layer.
READERS: Mapping[str, tuple[str, ...]] = {"attn_norm": ("q", "k", "v"), "ffn_norm": ("gate", "up")}
#: Share of a gain's change that its readers' columns must undo for it to be a paired scaling.
PAIRED = 0.5
#: Largest standard error of that share, and smallest distance from the line in standard errors, to say either.
UNSURE, CLEARLY = 0.2, 3.0
_ROWS = 128


def gains_paired(measured: Sequence[Measured], rounded: Sequence[Measured]) -> bool | None:
    """Return whether changed gains are undone by the columns of rounded matrices that read through them.

    Columns are regressed on gains, in logarithms, over all layers: slope 1 where the readers undo the gains, 0
    where they know nothing of them. None where no gain changed, or the slope is too unsure.
    """
    readers = {(m.layer, m.role): m for m in rounded if m.match.fold is None}
    energy, product = 0.0, 0.0
    rests: list[tuple[Doubles, Doubles]] = []
    for gain in measured:
        if gain.role not in READERS or not gain.changed or not _reads_first(gain):
            continue
        for role in READERS[gain.role]:
            reader = readers.get((gain.layer, role))
            pair = None if reader is None else _logarithms(gain, reader)
            if pair is not None:
                energy += float(pair[0] @ pair[0])
                product -= float(pair[0] @ pair[1])
                rests.append(pair)
    if not energy:
        return None
    slope = product / energy
    left = sum(float(np.square(y + slope * x).sum()) for x, y in rests) / sum(len(x) for x, _ in rests)
    error = float(np.sqrt(left / energy))
    if error > UNSURE or abs(slope - PAIRED) < CLEARLY * error:
        return None
    return slope > PAIRED


def _reads_first(gain: Measured) -> bool:
    """Return whether norms stand before what reads through them, as the table of readers says."""
    geometry = gain.match.suspect.geometry[gain.match.mine.component]
    return geometry.norm_position not in ("post", "output")


def _logarithms(gain: Measured, reader: Measured) -> tuple[Doubles, Doubles] | None:
    """Return how each channel's gain changed, and how its column did; None where they do not fit together."""
    found = list(gain.match.blocks())
    if len(found) != 1 or reader.match.residual_axis != 1:
        return None
    mine, theirs = (np.asarray(row, np.float64).reshape(-1) for row in found[0][1:])
    s, p = (np.asarray(m, np.float64) for m in reader.match.window(0, min(_ROWS, reader.match.mine.shape[0])))
    energy = np.square(p).sum(axis=0)
    if len(mine) != s.shape[1]:
        return None
    ratio = mine / np.where(theirs != 0, theirs, 1.0)
    column = (s * p).sum(axis=0) / np.where(energy > 0, energy, 1.0)
    live = (theirs != 0) & (ratio > 0.2) & (ratio < 5) & (energy > 0) & (column > 0.2)
    if live.sum() < 16:
        return None
    return np.log(ratio[live]), np.log(column[live])
