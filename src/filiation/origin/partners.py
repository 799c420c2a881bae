"""Do units hold alike contents, whatever their labels? Labels can be arranged by whoever holds both files (ADR 0013).

Effect sizes that no reordering and no change of signs moves. They enter no e-value; they decide whether agreeing labels
may be spoken of as a common origin (:mod:`filiation.origin.history`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filiation.anatomy.model import Part
from filiation.origin.effects import spread
from filiation.origin.gather import Side
from filiation.origin.pairing import Pairing, Plan, expert_pairs, ffn_views
from filiation.origin.scale import over, wide
from filiation.origin.units import Doubles, Floats, Integers, Units, unit_rows
from filiation.origin.weighing import Weighing, weighing

#: Share of units whose partner by gate rows is also their partner by up rows. Moving units about does not change it:
#: labels can be arranged, this cannot. Strangers show about one in n, models of one initialisation .24 and more
#: in every layer. A rotation fitted to a few layers reached .20 in them, so the matched weights must agree too.
PARTNERS_AGREE = 0.2
#: The same share where units count by their effect (ADR 0017): strangers .02 at most, models of one initialisation .1
#: and more over all layers, .07 in single ones after 1,600 steps.
BY_EFFECT = 0.05
#: How far embedding columns must stand out before embeddings are spoken of as shared. Measured on models of 64
#: channels: strangers of one recipe .10 to .15, models of one initialisation .63 to .70, children .93 and more.
STAND_OUT = 0.3
#: Most embedding columns that are whitened, and rows for each of them.
MOST_CHANNELS, ROWS_PER_CHANNEL = 1024, 2
#: Layers of which a sampled reading takes the down columns where there is no gate to compare partners by.
WHOLE_LAYERS = 2


def partner_agreement(pairing: Pairing, plan: Plan) -> float | None:
    """Return the share of units whose nearest partner by one content is also the nearest by the other.

    Gate rows and up rows; up rows and down columns where there is no gate. No range of rows holds columns, so a
    sampled reading takes those of two layers, and none where the budget forbids it: then None, as where units have
    one kind of content only.
    """
    agree = n = 0
    gated = _part(pairing.suspect, "gate", pairing.layers) is not None
    pairs = pairing.layers if gated or plan.whole else affordable(pairing, plan, ("down",))
    for pair in pairs:
        for s, c in ffn_views(pairing, pair, with_down=plan.whole or not gated):
            mine, theirs = _two_contents(s), _two_contents(c)
            if mine is None or theirs is None or len(c) < 16:
                continue
            first = (unit_rows(mine[0]) @ unit_rows(theirs[0]).T).argmax(axis=1)
            second = np.abs(unit_rows(mine[1]) @ unit_rows(theirs[1]).T).argmax(axis=1)
            agree += int((first == second).sum())
            n += len(s)
    return agree / n if n else None


def partners_by_effect(pairing: Pairing, plan: Plan) -> float | None:
    """Return the agreement of partners where each unit counts by its effect, and what it reads by what it is given.

    None where effects are not measured, or units have one kind of content only.
    """
    figures: list[float] = []
    for pair in pairing.layers:
        views, experts = ffn_views(pairing, pair, with_down=plan.whole), expert_pairs(pairing, pair)
        for view, expert in zip(views, experts, strict=False):
            weighed = weighing(pairing, pair, expert, view, plan) if len(views) == len(experts) else None
            found = None if weighed is None else _agreeing(*view, weighed)
            if found is not None:
                figures.append(found)
    return float(np.mean(figures)) if figures else None


def _agreeing(s: Units, c: Units, weighed: Weighing) -> float | None:
    mine, theirs = _two_contents(s), _two_contents(c)
    if mine is None or theirs is None or len(c) < 16 or not len(s):
        return None
    seen: list[float] = []
    for moment in weighed.moments:
        first = _nearest(mine[0], theirs[0], moment, signed=True)
        reads = moment if s.signed else None  # the second content of a unit without a gate is what it writes
        second = _nearest(mine[1], theirs[1], reads, signed=False)
        partners = np.where(first == second, weighed.number(c)[first], -1)
        seen.append(float(weighed.share(weighed.number(s), partners).sum()))
    return min(seen)


def _nearest(mine: Floats, theirs: Floats, moment: Floats | None, *, signed: bool) -> Integers:
    """Return the row of ``theirs`` that is most like each of ``mine``, on inputs of this second moment."""
    if moment is None:
        scores = unit_rows(mine) @ unit_rows(theirs).T
    else:
        given = wide(mine * moment if moment.ndim == 1 else mine @ moment)
        scores = over(given @ wide(theirs).T, spread(theirs, moment))
    return (scores if signed else np.abs(scores)).argmax(axis=1)


def affordable(
    pairing: Pairing, plan: Plan, roles: Sequence[str], among: Sequence[int] | None = None
) -> tuple[tuple[int, int], ...]:
    """Return layers whose matrices of these roles a sampled reading may read whole: ``among``, or the first few."""
    chosen = (
        pairing.layers[:WHOLE_LAYERS] if among is None else tuple(p for p in pairing.layers if p[0] in among)
    )
    for column, side in enumerate((pairing.suspect, pairing.candidate)):
        tensors = side.anatomy.checkpoint.tensors
        found = [_part(side, role, [(pair[column], pair[column])]) for pair in chosen for role in roles]
        cost = sum(tensors[p.tensor].nbytes for p in found if p is not None)
        if not plan.affords(side.anatomy.checkpoint, cost):
            return ()
    return chosen


def _part(side: Side, role: str, layers: Sequence[tuple[int, int]]) -> Part | None:
    """Return a part of the first of these layers (of one of its experts)."""
    wanted = {i for i, _ in layers[:1]}
    found = (p for p in side.anatomy.parts if (p.component, p.role) == (side.component, role))
    return next((p for p in found if p.layer in wanted), None)


def _two_contents(units: Units) -> tuple[Floats, Floats] | None:
    """Return two disjoint contents of the units: gate and up rows, or up rows and down columns."""
    if units.signed:
        return units.content, units.signed[0]
    half = units.content.shape[1] // 2
    return (units.content[:, :half], units.content[:, half:]) if units.paired else None


def channels_stand_out(mine: Floats, theirs: Floats) -> float:
    """Return how far embedding columns' best partners stand out from the next best: 1 for copies, 0 for ties.

    Args:
        mine, theirs: ``(tokens, channels)`` rows of shared tokens, at least twice as many as channels. Both are
            whitened first (``X (X'X)^-1/2``, which commutes with reordering and sign changes), so that what words
            mean, which strangers share, weighs no more than anything else.

    Mean over columns of ``(best - next) / best`` of the absolute cosines. No order and no sign of the channels
    changes it: both can be arranged.
    """
    found = np.sort(np.abs(whitened(mine).T @ whitened(theirs)), axis=1)[:, -2:]
    best = np.maximum(found[:, 1], 1e-12)
    return float(((best - found[:, 0]) / best).mean())


def whitened(rows: Floats) -> Doubles:
    """Return rows ``(tokens, channels)``, centred, with every direction made to weigh the same."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    kept = values > 1e-10 * values[-1]
    return centred @ ((vectors[:, kept] / np.sqrt(values[kept])) @ vectors[:, kept].T)
