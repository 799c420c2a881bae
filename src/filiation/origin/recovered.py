"""A common basis that was recovered from the token embeddings, where no label may be left to test in it (ADR 0013).

Whoever reorders, flips and rotates what a model holds destroys labels, and the embeddings still show how the channels
lie. That they do is an effect size on shared token rows, never an e-value: strangers of one recipe share what words
mean, so every direction is made to weigh the same first, and a fitted rotation is judged on rows it did not see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.evidence import Effect, Evidence, Location, RestsOn, Scale, Wing
from filiation.origin import gather
from filiation.origin.basis import Basis
from filiation.origin.gather import Side
from filiation.origin.pairing import Plan
from filiation.origin.partners import STAND_OUT, channels_stand_out, whitened
from filiation.origin.units import Doubles, Floats, Integers, unit_rows

#: Shared token rows for each residual channel from which a rotation is fitted and judged.
ROWS_PER_CHANNEL = 8
#: Rows for each channel below which a rotation is not judged: three quarters of them fit it.
FEWEST_ROWS = 6
#: Most residual channels of which a rotation is judged, and most that are whitened at once otherwise.
MOST_ROTATED, MOST_CHANNELS = 1024, 512
#: Share of the likeness of a candidate layer's most alike partner that another layer must come to beside it.
NEAR_THE_BEST = 0.8
#: Agreement of held-out rows from which a rotation counts as clear. Measured on models of 64 channels, 6 to 16 rows
#: a channel: strangers of one recipe .32 to .45, models of one initialisation .41 to .48, children .76 and more.
ROTATION_CLEAR = 0.6


@dataclass(frozen=True, slots=True)
class Recovered:
    """How clearly the embeddings of two models agree in a recovered basis.

    Attributes:
        kind: the basis: ``signed_permutation``, ``injection`` or ``rotation``.
        statistic: ``channels_stand_out`` or, for a rotation, ``held_out_agreement``.
        value: from 0 to 1; ``line`` is the value from which it is clear.
        rows: shared token rows it rests on.
    """

    kind: str
    statistic: str
    value: float
    line: float
    rows: int

    @property
    def clear(self) -> bool:
        """Whether no pair of strangers comes near this agreement."""
        return self.value >= self.line


def recovered(
    basis: Basis, mine: Floats, theirs: Floats, rng: np.random.Generator | None = None
) -> Recovered | None:
    """Judge a basis by the token rows it was fitted on (a rotation: by the rows that its fit left out).

    Args:
        basis: from :func:`~filiation.origin.basis.signed_permutation` or :func:`~filiation.origin.basis.rotation`.
        mine, theirs: ``(tokens, d_s)`` and ``(tokens, d_c)`` embedding rows of shared tokens, as given to the fit.
        rng: draws the channels that are looked at where there are many.

    Returns:
        None where there are too few rows, or too many channels for a rotation.
    """
    if basis.matrix is not None:
        return _of_rotation(basis.matrix, mine, theirs)
    mine, theirs = basis.suspect(mine), basis.candidate(theirs)
    chosen = judged_channels(mine.shape[1], len(mine), rng)
    if chosen is None:
        return None
    rows = min(len(mine), ROWS_PER_CHANNEL * len(chosen))
    return by_channels(basis, mine[:rows, chosen], theirs[:rows, chosen])


def judged_channels(width: int, rows: int, rng: np.random.Generator | None = None) -> Integers | None:
    """Return the channels that a basis is judged by: all, or a seeded sample of many; None of too few rows."""
    size = min(width, MOST_CHANNELS, rows // 2)
    if size < 16:
        return None
    if size == width:
        return np.arange(width)
    return np.sort((rng or np.random.default_rng(0)).permutation(width)[:size])


def by_channels(basis: Basis, mine: Floats, theirs: Floats) -> Recovered:
    """Judge a basis by these rows of these channels, carried to it."""
    return Recovered(basis.kind, "channels_stand_out", channels_stand_out(mine, theirs), STAND_OUT, len(mine))


def _of_rotation(matrix: Floats, mine: Floats, theirs: Floats) -> Recovered | None:
    widths = mine.shape[1], theirs.shape[1]
    if max(widths) > MOST_ROTATED or len(mine) < FEWEST_ROWS * min(widths):
        return None
    held_out = np.arange(len(mine)) % 4 == 3
    # The wider one is looked at in the directions of the other: the rest of it may hold nothing but noise.
    carried = (mine @ matrix, theirs) if widths[0] >= widths[1] else (mine, theirs @ matrix.T)
    a, b = (whitened(rows)[held_out] for rows in carried)
    value = float(np.einsum("ij,ij->", a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
    return Recovered("rotation", "held_out_agreement", value, ROTATION_CLEAR, int(held_out.sum()))


def layers_by_values(s: Side, c: Side, layers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Pair layers by their number where both models are equally deep, else by what their value rows hold.

    The mean of each value row's nearest ``|cosine|`` among those of the other layer depends on no order and no sign,
    so every label stays unread. Layers without value rows are left out.
    """
    if s.geometry.n_layers == c.geometry.n_layers:
        return tuple((i, i) for i in layers)
    mine = {i: None if (rows := _values(s, i)) is None else unit_rows(rows) for i in layers}
    best: dict[int, tuple[float, int]] = {}
    for j in range(c.geometry.n_layers):
        other = _values(c, j)
        theirs = None if other is None else unit_rows(other)
        for i, rows in mine.items():
            if rows is None or theirs is None or rows.shape[1] != theirs.shape[1]:
                continue
            likeness = float(np.abs(rows @ theirs.T).max(axis=1).mean())
            best[i] = max(best.get(i, (-1.0, j)), (likeness, j), key=lambda found: found[0])
    return tuple((i, best[i][1]) for i in layers if i in best)


def layers_by_contents(s: Side, c: Side, layers: Sequence[int], plan: Plan) -> tuple[tuple[int, int], ...]:
    """Pair layers as :func:`layers_by_values` does, and by what their gates read where models are read whole.

    Of the suspect's layers that meet one of the candidate's only those are kept that come near the one most like it:
    a layer that was put in between meets some layer too. No order and no sign is read for any of this.
    """
    if s.geometry.n_layers == c.geometry.n_layers:
        return tuple((i, i) for i in layers)
    kinds = [
        _likeness(s, c, layers, rows_of) for rows_of in ((_values, _gates) if plan.whole else (_values,))
    ]
    together = np.max(kinds, axis=0, initial=0.0)
    best = together.argmax(axis=1)
    near = np.any([alike >= NEAR_THE_BEST * alike.max(axis=0) for alike in kinds], axis=0)
    chosen = [n for n, j in enumerate(best) if near[n, j] and together[n, j] > 0]
    return tuple((layers[n], int(best[n])) for n in chosen)


def _likeness(
    s: Side, c: Side, layers: Sequence[int], rows_of: Callable[[Side, int], Floats | None]
) -> Doubles:
    """Return how like the nearest of the other layer's rows each is, ``|cosine|``, as ``(layers, layers of c)``.

    Of many rows the longest are looked at: which these are depends on no order and no sign.
    """
    found = np.zeros((len(layers), c.geometry.n_layers))
    mine = [None if (rows := rows_of(s, i)) is None else unit_rows(_longest(rows)) for i in layers]
    for j in range(c.geometry.n_layers):
        other = rows_of(c, j)
        theirs = None if other is None else unit_rows(other)
        for n, rows in enumerate(mine):
            if rows is not None and theirs is not None and rows.shape[1] == theirs.shape[1]:
                found[n, j] = np.abs(rows @ theirs.T).max(axis=1).mean()
    return found


def _longest(rows: Floats, most: int = 256) -> Floats:
    lengths = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return rows[np.argsort(-lengths, kind="stable")[:most]]


def _gates(side: Side, layer: int) -> Floats | None:
    """Return what the neurons of a dense layer are matched by."""
    units = gather.ffn_units(side, layer, with_down=False, with_signs=False)
    return None if units is None else units.content


def _values(side: Side, layer: int) -> Floats | None:
    units = gather.value_units(side, layer, with_output=False)
    return None if units is None else units.content


def record(found: Recovered, component: str, stage: str, number: int) -> Evidence:
    """Return the record of a recovered basis: an effect size beside what strangers show."""
    words = ["origin.recovered_basis", component, f"basis={found.kind}", f"stage={stage}"]
    return Evidence(
        id="/".join([*words, *([f"candidate={number}"] if number else [])]),
        wing=Wing.ORIGIN,
        question="question.recovered_basis",
        part=Location(component),
        scale=Scale.CALIBRATED,
        test="recovered_basis",
        statistic_name=found.statistic,
        statistic=found.value,
        n=found.rows,
        effect=(Effect(found.statistic, found.value),),
        rests_on=RestsOn.NONE,
        candidate=number,
        shows="shows.recovered_basis",
        cannot_show=("cannot_show.direction",),
    )
