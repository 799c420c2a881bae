"""History: do the models share training, or only their initial weights? (Evidence contract, section 4.)

Norm gains start from constants and carry labels only through training, so they tell a shared initialisation from
shared training. Decided by effect sizes, never by an e-value: with enough channels any small dependence is
significant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from filiation.origin.evalues import LOG10
from filiation.origin.examine import RESIDUAL_AGREES, Examination, Stage
from filiation.origin.gather import Side, gain_units
from filiation.origin.labelset import combine
from filiation.origin.matching import nearest, same_position
from filiation.origin.pairing import Pairing, Plan, TokenRows, embedding_rows, ffn_views, paired_gains
from filiation.origin.partners import (
    MOST_CHANNELS,
    PARTNERS_AGREE,
    ROWS_PER_CHANNEL,
    channels_stand_out,
    partner_agreement,
    profiles_agree,
)
from filiation.origin.units import Doubles, Floats, Integers, Units, signed_agreement

#: Lines of the contract, provisional until measured by training length.
GAIN_CORRELATION = 0.5
GAINS_IN_PLACE = 0.5
WEIGHT_COSINE = 0.5


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
    channels whose gain profile matches its own; ``weight_cosine``: mean cosine of matched, canonicalised FFN rows;
    ``channels_stand_out``: how far embedding columns stand out as partners (see :func:`channels_stand_out`), measured
    where the embeddings agree and the blocks do not settle the question. None where it could not be measured.
    """

    shared: Shared
    basis: str
    gain_correlation: float | None
    gains_in_place: float | None
    norms: int
    weight_cosine: float | None
    units: int
    partners_agree: float | None = None
    channels_stand_out: float | None = None


def of(examination: Examination, plan: Plan) -> History | None:
    """Measure the traces of shared training in the layers that carry labels (in all, where none does).

    Without a common basis neither gains nor weights can be laid side by side; then only what the units hold is
    looked at. (Where the residual channels agree as they are, theirs is the common basis.) None where nothing could
    be measured.
    """
    best = examination.best
    if best is None:
        return None
    found = _of_layers(best, plan)
    standing = None if best.covers_half() else _embeddings(best, plan, examination.tokens)
    if standing is None:
        return found
    return replace(found or _nothing(), channels_stand_out=standing)


def _nothing(agree: float | None = None) -> History:
    return History(Shared.UNKNOWN, "none", None, None, 0, None, 0, agree)


def _of_layers(best: Stage, plan: Plan) -> History | None:
    if not best.pairing.layers:
        return None
    carrying = set(best.carrying())
    layers = tuple(pair for pair in best.pairing.layers if pair[0] in carrying) or best.pairing.layers
    pairing = replace(best.pairing, layers=layers)
    if best.name == "basis_free" and combine(best.residual) < RESIDUAL_AGREES * LOG10:
        agree = profiles_agree(pairing, plan)
        if agree is None:
            return None
        found = _nothing(agree)
        return replace(found, shared=Shared.LABELS_ONLY) if agree < PARTNERS_AGREE else found
    return measure(pairing, plan)


def _embeddings(stage: Stage, plan: Plan, tokens: TokenRows | None) -> float | None:
    """Return how far embedding columns stand out, where they carry labels and can be read; else None."""
    tested = (t for t in stage.residual if t.applied and t.subject.detail == "embedding")
    if tokens is None or all(t.log10_e < RESIDUAL_AGREES for t in tested):
        return None
    sides = stage.pairing.suspect, stage.pairing.candidate
    width = min(side.geometry.d_model for side in sides)
    size = min(width, MOST_CHANNELS, len(tokens.suspect) // ROWS_PER_CHANNEL)
    rows = tokens.sample(ROWS_PER_CHANNEL * size, plan.rng("contents"))
    if size < 16 or not _affordable(sides, plan, len(rows.suspect)):
        return None
    chosen = np.sort(plan.rng("contents/channels").permutation(width)[:size])
    mine, theirs = embedding_rows(sides[0], rows.suspect), embedding_rows(sides[1], rows.candidate)
    if mine is None or theirs is None:
        return None
    return channels_stand_out(mine[:, chosen], theirs[:, chosen])


def _affordable(sides: Iterable[Side], plan: Plan, rows: int) -> bool:
    """Return whether so many embedding rows (four bytes a value at most) can be read of each model."""
    return plan.budget is None or all(
        side.anatomy.checkpoint.bytes_read + 4 * rows * side.geometry.d_model <= plan.budget for side in sides
    )


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
