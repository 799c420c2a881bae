"""History: do the models share training, or only their initial weights? (Evidence contract, section 4.)

Norm gains start from constants and carry labels only through training, so they tell a shared initialisation from
shared training. Decided by effect sizes, never by an e-value: with enough channels any small dependence is
significant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from filiation.anatomy.model import Symmetry
from filiation.origin.computed import COMPUTES_SAME, TRAINED_ALIKE, UNRELATED, layers_computed, otherwise
from filiation.origin.cosines import WEIGHT_COSINE, experts_alike, ffn_cosines, value_contents
from filiation.origin.examine import LAYER_CARRIES, RESIDUAL_AGREES, Examination, Stage
from filiation.origin.few import blurred, layers_computed_through_few
from filiation.origin.gaintraces import gains_alike
from filiation.origin.gather import token_rows
from filiation.origin.network import knows_activation
from filiation.origin.pairing import Pairing, Plan, TokenRows
from filiation.origin.partners import (
    BY_EFFECT,
    MOST_CHANNELS,
    PARTNERS_AGREE,
    ROWS_PER_CHANNEL,
    STAND_OUT,
    affordable,
    channels_stand_out,
    partner_agreement,
    partners_by_effect,
)
from filiation.origin.profiles import profiles_agree
from filiation.origin.readers import reading_of
from filiation.origin.shut import without_shut
from filiation.origin.units import Doubles
from filiation.origin.unweighed import spoken_for, with_weighed
from filiation.origin.weighing import both_count, idle

#: Lines of the contract, provisional until measured by training length.
GAIN_CORRELATION = 0.5
GAINS_IN_PLACE = 0.5
#: Least cosine of matched weights that a shared initialisation leaves behind (measured: .26 and more; strangers and
#: arranged strangers of 64 channels at most .26, of wider layers less).
SOME_COSINE = 0.2
#: Cosine of matched weights from which it is not said that nothing speaks for descent: it is, or was stopped early.
CLOSE = 0.8
#: Cosine of matched weights from which they are copies: a shared start of 25 training steps leaves .95.
COPIED = 0.98
#: Norms from which on a channel can be told by its gains.
FEW_NORMS = 5


class Shared(StrEnum):
    """What the effect sizes say."""

    TRAINING = "training"
    LABELS_ONLY = "labels_only"
    UNCHECKED = "unchecked"
    NOT_WEIGHED = "not_weighed"
    NO_EFFECT = "no_effect"
    OTHERWISE = "otherwise"
    INITIALISATION = "initialisation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class History:
    """Effect sizes of shared training.

    ``gain_correlation``: mean Pearson r of paired norm gains over aligned channels; ``gains_in_place``: share of
    channels whose gain profile matches its own; ``weight_cosine``: mean cosine of matched, canonicalised FFN rows;
    ``reading_correlation``: mean Pearson r of what the feed-forward networks read of each channel, gain folded in;
    ``contents``: the cosine of each layer's matched FFN units, ``values`` that of its value channels where only those
    carry labels; ``channels_stand_out``: how far embedding columns stand out as partners, measured where the
    embeddings agree and the blocks do not settle the question. None where it could not be measured. ``layers``: those
    that all this was measured in, where they are not all that were paired. ``idle``: layers that carry labels and
    whose feed-forward network does next to nothing in one of the models beside the other; ``of_suspect``: how many of
    the suspect's layers do nothing at all to speak of. ``everywhere``: the cosine of all units of every layer that was
    read whole, where a large model was. ``experts``: of layers in which value channels hold the same, those experts of
    either model that a dense feed-forward network of the other agrees with; ``scrambled``: beside such
    layers, those whose feed-forward networks hold the same and carry no label. ``exchanged``: the roles that contents
    were compared in under other names than the suspect's (:mod:`filiation.origin.naming`), ``unnamed`` the layers
    whose feed-forward network was. ``computed_alike``: how what the layers' feed-forward networks write for the same
    inputs correlates (:mod:`filiation.origin.computed`), where the models are read whole. ``computes``: layers whose
    value channels hold the same and whose feed-forward network computes the same with units that hold something else.
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
    reading_correlation: float | None = None
    contents: Mapping[int, float] = field(default_factory=dict[int, float])
    values: Mapping[int, float] = field(default_factory=dict[int, float])
    layers: tuple[int, ...] = ()
    idle: frozenset[int] = frozenset()
    of_suspect: int = 0
    everywhere: Mapping[int, float] = field(default_factory=dict[int, float])
    experts: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])
    scrambled: tuple[int, ...] = ()
    exchanged: tuple[str, ...] = ()
    unnamed: frozenset[int] = frozenset()
    computed_alike: float | None = None
    computes: frozenset[int] = frozenset()

    def alike(self, layer: int) -> bool:
        """Return whether a layer's contents agree as only copied weights do; True where nothing was measured."""
        if not self.contents and not self.values:
            return True
        return max(self.contents.get(layer, 0.0), self.values.get(layer, 0.0)) >= WEIGHT_COSINE

    def only_values(self, layer: int) -> bool:
        """Return whether a layer's value channels hold the same, and its feed-forward network nothing of the kind."""
        return layer not in self.computes and self.contents.get(
            layer, 0.0
        ) < WEIGHT_COSINE <= self.values.get(layer, 0.0)

    @property
    def divided(self) -> bool:
        """Whether the weights agree closely, and of gains and what is read of channels only one disagrees."""
        if self.shared is not Shared.INITIALISATION or (self.weight_cosine or 0.0) < CLOSE:
            return False
        reading = self.reading_correlation
        seen = [self.gains_agree, None if reading is None else reading >= GAIN_CORRELATION]
        return sorted(x for x in seen if x is not None) == [False, True]

    @property
    def gains_agree(self) -> bool | None:
        """Whether gains correlate and tell channels apart; few norms (of one grafted layer, say) cannot."""
        if self.gain_correlation is None or self.gains_in_place is None:
            return None
        in_place = self.gains_in_place >= GAINS_IN_PLACE or self.norms < FEW_NORMS
        return self.gain_correlation >= GAIN_CORRELATION and in_place

    @property
    def drifted(self) -> bool:
        """Whether weights and every trace of training agree, and what the layers compute does not."""
        traces = self.weight_cosine, self.gain_correlation, self.reading_correlation
        agree = all(x >= GAIN_CORRELATION for x in traces if x is not None)
        apart = self.computed_alike is not None and self.computed_alike < TRAINED_ALIKE
        return self.shared is Shared.INITIALISATION and agree and apart

    @property
    def attention_only(self) -> bool:
        """Whether contents agree in value channels, and in no feed-forward network."""
        alike = [i for i in {*self.contents, *self.values} if self.alike(i)]
        return bool(alike) and all(self.only_values(i) for i in alike)


def of(examination: Examination, plan: Plan) -> History | None:
    """Measure the traces of shared training in the layers that carry labels (in all, where none does).

    Without a common basis neither gains nor weights can be laid side by side; then only what the units hold is
    looked at. (Where the residual channels agree as they are, theirs is the common basis.) None where nothing could
    be measured.
    """
    best = examination.best
    if best is None:
        return None
    best = replace(best, pairing=with_weighed(best.pairing, best.carrying(), plan))
    found = _of_what_works(best, plan) or _of_layers(best, plan)
    open_ = found is not None and (found.attention_only or found.idle or found.shared is Shared.OTHERWISE)
    settled = best.covers_half() and not open_
    standing = None if settled else _embeddings(best, plan, examination.tokens)
    if standing is None:
        return found
    found = replace(found or _nothing(), channels_stand_out=standing)
    if found.shared is Shared.OTHERWISE and standing >= STAND_OUT:
        # Long training leaves nothing alike of what layers computed at first; embeddings move less.
        return replace(found, shared=Shared.INITIALISATION)
    return found


def unread() -> History:
    """Return what is known of units that carry labels and whose contents were not read."""
    return replace(_nothing(), shared=Shared.UNCHECKED)


def _nothing(agree: float | None = None) -> History:
    return History(Shared.UNKNOWN, "none", None, None, 0, None, 0, agree)


def _of_what_works(best: Stage, plan: Plan) -> History | None:
    """Return the figures without experts that no token is let through to, where the rest shows shared training.

    Elsewhere nothing is left aside: labels that only such experts carry are told of with what the layers compute.
    """
    pairing = without_shut(best.pairing, plan)
    found = None if pairing is None else _of_layers(replace(best, pairing=pairing), plan)
    return found if found is not None and found.shared is Shared.TRAINING else None


def _of_layers(best: Stage, plan: Plan) -> History | None:
    if not best.pairing.layers:
        return None
    carrying = set(best.carrying())
    layers = tuple(pair for pair in best.pairing.layers if pair[0] in carrying) or best.pairing.layers
    # What has no effect says nothing: anybody can add it to a model.
    unlike = frozenset(pair[0] for pair in layers if not both_count(best.pairing, pair, plan))
    layers = tuple(pair for pair in layers if pair[0] not in unlike)
    if unlike and not layers and best.name == "basis_free":
        return replace(_nothing(), shared=Shared.NO_EFFECT, idle=unlike)
    pairing = replace(best.pairing, layers=layers)
    if best.without_basis:
        return _without_basis(pairing, plan)
    cosines = {pair[0]: ffn_cosines(pairing, pair, plan) for pair in layers}
    contents = {i: float(x.mean()) for i, x in cosines.items() if len(x)}
    apart = [i for i in carrying - unlike if contents.get(i, 0.0) < WEIGHT_COSINE]
    if apart and not plan.whole and not pairing.match_anywhere:
        # Units that were put in another order have their partners outside the window that was read of both.
        for pair in affordable(pairing, plan, ("gate", "up"), apart):
            cosines[pair[0]] = ffn_cosines(replace(pairing, match_anywhere=True), pair, plan)
            contents[pair[0]] = float(cosines[pair[0]].mean()) if len(cosines[pair[0]]) else 0.0
    values = value_contents(
        best.pairing, plan, [i for i in _by_values(best) if contents.get(i, 0.0) < WEIGHT_COSINE]
    )
    computed = layers_computed(pairing, plan, contents)
    few = {} if computed else layers_computed_through_few(pairing, plan, contents)
    computed |= few
    strange = otherwise(computed)
    contents |= {i: min(contents[i], max(r, 0.0)) for i, r in strange.items()}
    if few and strange:  # those that were not asked may be like the ones that compute something else
        contents |= dict.fromkeys(contents.keys() - few.keys(), 0.0)
    same = {i for i, r in computed.items() if r >= COMPUTES_SAME and values.get(i, 0.0) >= WEIGHT_COSINE}
    same = frozenset(i for i in same if contents[i] < WEIGHT_COSINE)
    contents, is_weighed = spoken_for(pairing, contents, unlike, plan)
    # One layer that was copied must not vouch for others that were put in order.
    alike = {i for i in contents if contents[i] >= WEIGHT_COSINE or i in same} or set(contents)
    kept = tuple(pair for pair in layers if pair[0] in alike) or layers
    found = (
        measure(replace(pairing, layers=kept), plan, {i: cosines[i] for i, _ in kept}, computes=bool(same))
        if kept
        else replace(_nothing(), shared=Shared.NO_EFFECT)
    )
    measured = () if len(kept) == len(best.pairing.layers) else tuple(i for i, _ in kept)
    asked = [r for i, r in computed.items() if i in dict(kept)]
    found = by_function(found, asked, blur=blurred(len(asked)) if few else 0.0)
    if found.shared in (Shared.TRAINING, Shared.INITIALISATION):
        if not is_weighed:
            found = replace(found, shared=Shared.NO_EFFECT if unlike else Shared.NOT_WEIGHED)
        elif not all(knows_activation(side) for side in (pairing.suspect, pairing.candidate)):
            found = replace(found, shared=Shared.UNCHECKED)
    contents |= dict.fromkeys(unlike, 0.0)
    found = replace(found, contents=contents, values=values, layers=measured, idle=unlike, computes=same)
    if found.attention_only:
        experts = {pair[0]: experts_alike(pairing, pair, plan) for pair in layers if found.alike(pair[0])}
        # The mean over experts says nothing of one that holds the same: then history was not measured.
        found = replace(found, experts={i: e for i, e in experts.items() if e})
        scrambled = _scrambled(best, plan)
        found = replace(found, scrambled=scrambled)
        found = replace(found, shared=Shared.UNKNOWN) if found.experts or scrambled else found
    return replace(found, of_suspect=_doing_nothing(best, plan))


def _without_basis(pairing: Pairing, plan: Plan) -> History | None:
    """Return what units hold where no basis is common: profiles that agree, of units that have an effect."""
    agree, is_weighed = profiles_agree(pairing, plan)
    if agree is None:
        return None
    found = _nothing(agree)
    if agree < PARTNERS_AGREE:
        return replace(found, shared=Shared.LABELS_ONLY)
    return found if is_weighed else replace(found, shared=Shared.NOT_WEIGHED)


def by_function(found: History, computed: Sequence[float], blur: float = 0.0) -> History:
    """Return the figures with what the layers compute, which decides: units that cancel can be put in any layer.

    Args:
        blur: how much strangers may seem to have in common, where few channels were looked at.
    """
    if not computed:
        return found
    alike = float(np.mean(computed))
    found = replace(found, computed_alike=alike)
    if alike < UNRELATED + blur and found.shared in (Shared.TRAINING, Shared.INITIALISATION):
        return replace(found, shared=Shared.OTHERWISE)
    if alike < TRAINED_ALIKE and found.shared is Shared.TRAINING:
        return replace(found, shared=Shared.INITIALISATION)
    return found


def _scrambled(stage: Stage, plan: Plan) -> tuple[int, ...]:
    """Return the layers that carry no label, although their feed-forward networks hold the same."""
    silent = [p for p in stage.pairing.layers if p[0] not in stage.carrying()]
    alike = [p for p in silent if both_count(stage.pairing, p, plan)]
    cosines = {i: x for i, j in alike if len(x := ffn_cosines(stage.pairing, (i, j), plan))}
    return tuple(i for i, x in cosines.items() if x.mean() >= WEIGHT_COSINE)


def _doing_nothing(stage: Stage, plan: Plan) -> int:
    """Return how many of the suspect's layers do nothing to speak of, where all of them were looked at."""
    side = stage.pairing.suspect
    if stage.considered < side.geometry.n_layers:
        return 0
    return sum(idle(side, i, plan) for i in range(side.geometry.n_layers))


def _by_values(stage: Stage) -> list[int]:
    """Return the layers whose value channels carry the candidate's labels."""
    kinds = (Symmetry.VALUE_ORDER, Symmetry.VALUE_SIGN)
    told = [t for t in stage.blocks if t.applied and t.subject.symmetry in kinds]
    layers = {t.subject.part.layer for t in told if t.log10_e >= LAYER_CARRIES}
    return sorted(i for i in layers if i is not None)


def _embeddings(stage: Stage, plan: Plan, tokens: TokenRows | None) -> float | None:
    """Return how far embedding columns stand out, where they carry labels and can be read; else None."""
    tested = (t for t in stage.residual if t.applied and t.subject.detail == "embedding")
    if tokens is None or all(t.log10_e < RESIDUAL_AGREES for t in tested):
        return None
    sides = stage.pairing.suspect, stage.pairing.candidate
    width = min(side.geometry.d_model for side in sides)
    size = min(width, MOST_CHANNELS, len(tokens.suspect) // ROWS_PER_CHANNEL)
    rows = tokens.sample(ROWS_PER_CHANNEL * size, plan.rng("contents"))
    each = 4 * len(rows.suspect)  # four bytes a value at most
    if size < 16 or not all(plan.affords(s.anatomy.checkpoint, each * s.geometry.d_model) for s in sides):
        return None
    chosen = np.sort(plan.rng("contents/channels").permutation(width)[:size])
    mine, theirs = token_rows(sides[0], rows.suspect), token_rows(sides[1], rows.candidate)
    if mine is None or theirs is None:
        return None
    return channels_stand_out(mine[:, chosen], theirs[:, chosen])


Cosines = Mapping[int, Doubles]


def measure(
    pairing: Pairing, plan: Plan, cosines: Cosines | None = None, *, computes: bool = False
) -> History:
    """Measure the effect sizes on an aligned pairing and decide by the contract's lines.

    Gains decide where they can be read in aligned channels and were not rescaled; otherwise the weights do. Neither
    decides where the units' contents do not agree: gains can be copied, and units put in order, by anyone.

    Args:
        cosines: those of :func:`ffn_cosines` by suspect layer, where they are known already.
        computes: these layers agree, some of them in what they compute instead of what their units hold.
    """
    known = cosines or {pair[0]: ffn_cosines(pairing, pair, plan) for pair in pairing.layers}
    every = np.concatenate([x for x in known.values() if len(x)] or [np.zeros(0)])
    correlation, in_place, norms = gains_alike(pairing, plan)
    reading = reading_of(pairing, plan)
    found = History(
        Shared.UNKNOWN,
        "none" if correlation is None and not len(every) else "weights" if correlation is None else "gains",
        correlation,
        in_place,
        norms,
        float(every.mean()) if len(every) else None,
        len(every),
        partner_agreement(pairing, plan),
        reading_correlation=None if reading is None else reading[0],
    )
    found = _by_effect(found, pairing, plan)
    rescaled = reading is not None and reading[1]
    return replace(
        found,
        shared=_shared(found, rescaled=rescaled, computes=computes),
        basis="weights" if rescaled else found.basis,
    )


def _by_effect(found: History, pairing: Pairing, plan: Plan) -> History:
    """Return the figures with the share of partners by effect, where those that find partners do nothing."""
    apart = found.weight_cosine is not None and found.weight_cosine < WEIGHT_COSINE
    if not apart or found.partners_agree is None or found.partners_agree < PARTNERS_AGREE:
        return found
    agree = partners_by_effect(pairing, plan)
    return found if agree is None or agree >= BY_EFFECT else replace(found, partners_agree=agree)


def _shared(found: History, *, rescaled: bool, computes: bool) -> Shared:
    """Return what the effect sizes say together."""
    gains, cosine = None if rescaled else found.gains_agree, found.weight_cosine
    if cosine is None:
        if gains is None:
            return Shared.UNKNOWN
        return Shared.UNCHECKED if gains else Shared.INITIALISATION
    if cosine >= COPIED:
        return Shared.TRAINING  # alike to the last digits: no gain, which anyone can swap, says more
    # What networks compute says nothing of their history: then one of its traces must be there to decide.
    told = computes and (gains is not None or found.reading_correlation is not None)
    if cosine < WEIGHT_COSINE and not told:
        return _without_contents(found, cosine, gains=bool(gains))
    # Copied gains over a shared initialisation: what is read of a channel has not become alike.
    reads_alike = found.reading_correlation is None or found.reading_correlation >= GAIN_CORRELATION
    return Shared.TRAINING if reads_alike and gains is not False else Shared.INITIALISATION


def _without_contents(found: History, cosine: float, *, gains: bool) -> Shared:
    """Return what labels amount to where the matched weights agree no more than a shared start leaves."""
    if found.partners_agree is None:
        return Shared.UNCHECKED if gains or cosine < SOME_COSINE else Shared.INITIALISATION
    some = found.partners_agree >= PARTNERS_AGREE and cosine >= SOME_COSINE
    return Shared.INITIALISATION if some else Shared.LABELS_ONLY
