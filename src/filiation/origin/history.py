"""History: do the models share training, or only their initial weights? (Evidence contract, section 4.)

Norm gains start from constants and carry labels only through training, so they tell a shared initialisation from
shared training. Decided by effect sizes, never by an e-value: with enough channels any small dependence is
significant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from filiation.anatomy.model import Part
from filiation.origin.evalues import LOG10
from filiation.origin.examine import RESIDUAL_AGREES, Examination
from filiation.origin.gather import Side, gain_units
from filiation.origin.labelset import combine
from filiation.origin.matching import nearest, same_position
from filiation.origin.pairing import Pairing, Plan, ffn_views, paired_gains
from filiation.origin.units import Doubles, Floats, Integers, Units, signed_agreement, unit_rows

#: Lines of the contract, provisional until measured by training length.
GAIN_CORRELATION = 0.5
GAINS_IN_PLACE = 0.5
WEIGHT_COSINE = 0.5


#: Share of units whose partner by gate rows is also their partner by up rows. Moving units about does not change it:
#: labels can be arranged, this cannot. Strangers show about one in n; models of one initialisation show far more.
PARTNERS_AGREE = 0.1
#: Layers of which a sampled reading takes the down columns where there is no gate to compare partners by.
UNGATED_LAYERS = 2


class Shared(StrEnum):
    """What the effect sizes say."""

    TRAINING = "training"
    LABELS_ONLY = "labels_only"
    UNCHECKED = "unchecked"
    INITIALISATION = "initialisation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class History:
    """Effect sizes of shared training.

    ``gain_correlation``: mean Pearson r of paired norm gains over aligned channels; ``gains_in_place``: share of
    channels whose gain profile matches its own; ``weight_cosine``: mean cosine of matched, canonicalised FFN rows.
    None where it could not be measured.
    """

    shared: Shared
    basis: str
    gain_correlation: float | None
    gains_in_place: float | None
    norms: int
    weight_cosine: float | None
    units: int
    partners_agree: float | None = None


def of(examination: Examination, plan: Plan) -> History | None:
    """Measure the traces of shared training in the layers that carry labels (in all, where none does).

    None where nothing was paired, or only without a common basis: then neither gains nor weights can be laid side
    by side. (Where the residual channels agree as they are, theirs is the common basis.)
    """
    best = examination.best
    if best is None or not best.pairing.layers:
        return None
    if best.name == "basis_free" and combine(best.residual) < RESIDUAL_AGREES * LOG10:
        return None
    carrying = set(best.carrying())
    layers = tuple(pair for pair in best.pairing.layers if pair[0] in carrying) or best.pairing.layers
    return measure(replace(best.pairing, layers=layers), plan)


def measure(pairing: Pairing, plan: Plan) -> History:
    """Measure the effect sizes on an aligned pairing and decide by the contract's lines.

    Gains decide where they can be read in aligned channels; otherwise the cosine of matched weights does.
    """
    correlation, in_place, norms = _gains(pairing, plan)
    cosine, units = weight_cosine(pairing, plan)
    agree = partner_agreement(pairing, plan)
    strangers = agree is not None and agree < PARTNERS_AGREE
    if correlation is not None and in_place is not None:
        trained = correlation >= GAIN_CORRELATION and in_place >= GAINS_IN_PLACE
        # Gains that were rescaled or swapped say nothing against weights that still agree closely.
        trained = trained or (cosine is not None and cosine >= WEIGHT_COSINE)
        basis = "gains" if cosine is None or correlation >= GAIN_CORRELATION else "weights"
        shared = Shared.TRAINING if trained else Shared.INITIALISATION
    elif cosine is not None:
        basis, shared = "weights", Shared.TRAINING if cosine >= WEIGHT_COSINE else Shared.INITIALISATION
    else:
        basis, shared = "none", Shared.UNKNOWN
    if strangers and (cosine is None or cosine < WEIGHT_COSINE):
        # Contents of strangers under agreeing labels: gains can be copied and units put in order by anyone.
        shared = Shared.LABELS_ONLY
    if agree is None and shared is Shared.TRAINING and (cosine is None or cosine < WEIGHT_COSINE):
        # Gains alone would decide, and gains can be copied: without a look at the contents nothing is decided.
        shared = Shared.UNCHECKED
    return History(shared, basis, correlation, in_place, norms, cosine, units, agree)


def partner_agreement(pairing: Pairing, plan: Plan) -> float | None:
    """Return the share of units whose nearest partner by one content is also the nearest by the other.

    Gate rows and up rows; up rows and down columns where there is no gate. No range of rows holds columns, so a
    sampled reading takes those of two layers, and none where the budget forbids it: then None, as where units have
    one kind of content only.
    """
    agree = n = 0
    gated = _part(pairing.suspect, "gate", pairing.layers) is not None
    pairs = pairing.layers if gated or plan.whole else _affordable(pairing, plan)
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


def _affordable(pairing: Pairing, plan: Plan) -> tuple[tuple[int, int], ...]:
    """Return the layers whose down matrices a sampled reading may read whole."""
    chosen = pairing.layers[:UNGATED_LAYERS]
    if plan.budget is None:
        return chosen
    for column, side in enumerate((pairing.suspect, pairing.candidate)):
        tensors = side.anatomy.checkpoint.tensors
        parts = [_part(side, "down", [(pair[column], pair[column])]) for pair in chosen]
        cost = sum(tensors[p.tensor].nbytes for p in parts if p is not None)
        if side.anatomy.checkpoint.bytes_read + cost > plan.budget:
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


def _gains(pairing: Pairing, plan: Plan) -> tuple[float | None, float | None, int]:
    """Return mean correlation, share of channels in place, number of norms; None after a rotation."""
    basis = pairing.suspect.basis
    if basis.matrix is not None:
        return None, None, 0
    mine, theirs = paired_gains(pairing)
    if len(mine) < 3:
        return None, None, len(mine)
    mine = mine if basis.suspect_columns is None else mine[:, basis.suspect_columns]
    theirs = basis.candidate(theirs)
    if mine.shape[1] != theirs.shape[1]:
        return None, None, len(mine)
    correlation = float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(mine, theirs, strict=True)]))
    s, c = _bounded(gain_units(mine)), _bounded(gain_units(theirs))
    match = nearest(s, c, plan.rng("history"))
    return correlation, float((c.position[match] == s.position).mean()), len(mine)


def _bounded(units: Units, most: int = 2048) -> Units:
    return units if len(units) <= most else units.take(np.arange(most))


def weight_cosine(pairing: Pairing, plan: Plan) -> tuple[float | None, int]:
    """Return the mean cosine of matched FFN units over the pairing's layers, and how many units it rests on.

    Units are matched by position where that agrees better than by content. Signs are aligned by majority of the
    unit's signed contents, so a flipped unit counts by what it holds.
    """
    cosines: list[Doubles] = []
    for pair in pairing.layers:
        for s, c in ffn_views(pairing, pair, with_down=plan.whole):
            cosines.append(_matched_cosines(s.alive(), c.alive(), plan.rng(f"weights/{pair}")))
    values = np.concatenate(cosines) if cosines else np.zeros(0)
    return (float(values.mean()), len(values)) if len(values) else (None, 0)


def _matched_cosines(s: Units, c: Units, rng: np.random.Generator) -> Doubles:
    candidates = [_cosines(s, c, nearest(s, c, rng)), _cosines(s, c, same_position(s, c))]
    filled = [x for x in candidates if len(x)]
    return max(filled, key=lambda x: float(x.mean())) if filled else np.zeros(0)


def _cosines(s: Units, c: Units, match: Integers) -> Doubles:
    found = np.flatnonzero(match >= 0)
    if not len(found):
        return np.zeros(0)
    mine, theirs = s.take(found), c.take(match[found])
    content = np.einsum("ij,ij->i", mine.normed, theirs.normed, dtype=np.float64)
    if not s.signed or not c.signed:
        return content
    signed = np.abs(signed_agreement(mine, replace(theirs), np.arange(len(found))))
    return (content + signed) / (1 + len(s.signed))


def rows_cosine(a: Floats, b: Floats) -> float:
    """Return the mean cosine of equally numbered rows."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.einsum("ij,ij->i", a, b) / np.where(norms > 0, norms, 1.0)).mean())
