"""What follows from the exact evidence: the relation of the models (evidence contract, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from filiation.anatomy.model import Symmetry
from filiation.evidence import Relation
from filiation.origin import evalues
from filiation.origin.computed import COMPUTES_SAME
from filiation.origin.cosines import WEIGHT_COSINE
from filiation.origin.counted import COPYABLE, DENIED, IDLE, UNCHECKED, UNWEIGHED, Named, counted
from filiation.origin.examine import Examination, Stage
from filiation.origin.history import History, Shared
from filiation.origin.labelset import Tested, combine
from filiation.origin.pairing import experts_of
from filiation.origin.partners import PARTNERS_AGREE, STAND_OUT
from filiation.origin.parts import DECIDE_AT, EMBEDDINGS, Parts

SUGGEST_AT = 2.0
#: Why contents that agree in a recovered basis are no more than suggestive: no label is left to bound chance by.
WITHOUT_LABELS = "basis_without_labels"
#: Why only attention is spoken of: the feed-forward networks were not shown to hold the same, or not measured.
ATTENTION_ONLY = ("attention_only", "attention_only_unmeasured")
WITH_EXPERT, WITH_SCRAMBLED = "attention_and_expert", "attention_and_scrambled"
#: Why a shared initialisation is not said to exonerate: the weights are close, and not every trace of training differs.
DIVIDED = "history_divided"
#: Why a shared initialisation is all that is said: the layers compute no more alike than it leaves them.
DRIFTED = "history_computes_apart"
#: What is said where contents were compared under other names than the suspect's, and where networks compute the
#: same with units that hold something else.
EXCHANGED, COMPUTES = "names_exchanged", "networks_compute_same"
#: Relations of models whose weights have something in common that has a history.
RELATED = (Relation.COMMON_ORIGIN, Relation.SHARED_PARTS)
FINDINGS = (*RELATED, Relation.SHARED_INITIALISATION)
#: Why agreeing labels are no finding: somebody may have arranged them.
SUSPENDED = {
    Shared.LABELS_ONLY: DENIED,
    Shared.UNCHECKED: UNCHECKED,
    Shared.NO_EFFECT: IDLE,
    Shared.OTHERWISE: "computes_otherwise",
    Shared.NOT_WEIGHED: UNWEIGHED,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one component's examination amounts to.

    ``scope`` names the parts it speaks of; ``log10_e`` counts their labels alone where it is a finding. ``reasons``
    are phrase keys; ``inherited`` and ``tested`` count layers (the former a part of one, where single experts are
    foreign); ``layers`` are those it rests on. ``left_out`` says of label sets (by the identities of
    their subjects) that agree why they are not counted.
    """

    relation: Relation
    log10_e: float | None
    scope: tuple[str, ...]
    reasons: tuple[str, ...]
    inherited: float
    tested: int
    layers: tuple[int, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])


def judge(examination: Examination, history: History | None) -> Finding:
    """Judge one component; say where contents were found under other names, or in what networks compute."""
    finding = _judged(examination, history)
    if history is None or finding.relation not in FINDINGS:
        return finding
    told = (EXCHANGED,) if history.exchanged else ()
    told += (COMPUTES,) if history.computes and finding.relation is not Relation.SHARED_INITIALISATION else ()
    finding = replace(finding, reasons=(*finding.reasons, *told))
    return without_labels(finding) if _alike_without_labels(history) else finding


def rewritten_layers(history: History) -> list[int]:
    """Return the layers whose networks compute the same with units that hold something else."""
    if history.computes:
        return sorted(history.computes)
    apart = sorted(i for i, cosine in history.contents.items() if cosine < WEIGHT_COSINE)
    every = len(apart) == len(history.contents)
    return apart if every and (history.computed_alike or 0.0) >= COMPUTES_SAME else []


def _alike_without_labels(history: History) -> bool:
    """Return whether contents agree under other names, or what the networks compute does: then labels are gone."""
    renamed = bool(history.exchanged) and (history.weight_cosine or 0.0) >= WEIGHT_COSINE
    return renamed or (history.computed_alike or 0.0) >= COMPUTES_SAME


def _judged(examination: Examination, history: History | None) -> Finding:
    """Judge one component.

    ``common_origin`` asks for log10 e >= 6, evidence from the residual channels and from the blocks of at least
    half of the paired layers, and shared training. Where the basis was permuted or rotated the residual channels'
    own labels are gone; then block evidence in the recovered basis stands for them, and several layers are
    several label sets. The evidence of a finding is that of the parts it names: labels over contents that do not
    agree, and gains that anyone can copy, are left out of it.
    """
    stage = examination.best
    if stage is None or not examination.tested:
        return Finding(Relation.CANNOT_TEST, None, (), (examination.cannot or "no_testable_units",), 0, 0)
    # A layer that was looked for and left without a partner was looked at too.
    log10_e, tested = examination.log10_e, _looked_at(stage, history)
    if log10_e < SUGGEST_AT:
        if examination.recovered is not None and history is not None and _contents_agree(history):
            return Finding(Relation.SUGGESTIVE, log10_e, (), (WITHOUT_LABELS,), 0, 0)
        return Finding(Relation.NONE_FOUND, log10_e, (), ("no_test_rejected",), 0, tested)
    if log10_e < DECIDE_AT:
        agree = len(stage.carrying())
        return Finding(Relation.SUGGESTIVE, log10_e, (), ("below_decision_line",), agree, tested)
    parts = _agreeing(examination.component, stage, history)
    several, elsewhere = _other_label_sets(examination, stage)
    parts = replace(parts, columns=_columns(examination, stage), several=several, elsewhere=elsewhere)
    finding = replace(_related(parts, history), log10_e=log10_e, tested=tested)
    if finding.relation is not Relation.SUGGESTIVE:
        finding = _counting(finding, examination, parts)
    if any(reason in (*ATTENTION_ONLY, WITH_EXPERT, WITH_SCRAMBLED) for reason in finding.reasons):
        return replace(finding, inherited=0, tested=0)  # no share of layers: half of each is somebody else's
    if history is not None and history.everywhere:
        # A layer without a partner was read by nobody's side, and inherited from nobody.
        return replace(
            finding, inherited=_alike_in_full(history), tested=max(tested, len(history.everywhere))
        )
    return finding


def _columns(examination: Examination, stage: Stage) -> str:
    """Return what embeddings are called: those of the shared tokens, where they are not most of the suspect's."""
    part = stage.pairing.suspect.anatomy.part("embedding", component=examination.component)
    if examination.tokens is None or part is None:
        return EMBEDDINGS
    shared = len(examination.tokens.suspect)
    return EMBEDDINGS if 2 * shared > part.shape[0] else f"embeddings of {shared} shared tokens"


def _agreeing(component: str, stage: Stage, history: History | None) -> Parts:
    residual, blocks = _bans(stage.residual), _bans(stage.blocks)
    # A layer is named only where the blocks together carry: one of many layers reaches three bans by chance.
    carrying = stage.carrying() if blocks >= DECIDE_AT else []
    held = carrying if history is None else held_layers(carrying, history)
    in_values = [] if history is None else [i for i in held if history.only_values(i)]
    views = {t.subject.detail for t in stage.residual if t.applied and t.log10_e >= DECIDE_AT}
    found = Parts(
        component=component,
        stage=stage,
        carrying=carrying,
        held=held,
        in_values=in_values,
        in_experts={} if history is None else _of_suspect(stage, history, in_values),
        blocks=blocks,
        residual=residual,
        views=frozenset(views if residual >= DECIDE_AT else ()),
        spread=blocks >= DECIDE_AT and not carrying,
        doubt=None,
        in_full=history is None or _mostly_alike(history),
        unseen=frozenset() if history is None else frozenset(carrying) - {*history.contents, *history.values},
        idle=frozenset() if history is None else history.idle,
        rewritten=frozenset() if history is None else history.computes,
        considered=stage.considered - (0 if history is None else history.of_suspect),
        other_embeddings=_embeddings_differ(stage),
    )
    names_columns = residual >= DECIDE_AT and views != {"gains"}
    # Feed-forward networks that agree in these very channels settle that the channels do.
    settled = found.covers and not (history is not None and history.attention_only)
    doubt = _doubt(history) if names_columns and not settled else None
    if doubt is None:
        return found
    # The columns' numbers agree and what they hold does not: whoever has both files can do that.
    return replace(found, doubt=doubt, views=found.views & {"gains"})


def _of_suspect(stage: Stage, history: History, layers: Sequence[int]) -> Mapping[int, tuple[int, ...]]:
    """Return the suspect's experts that hold what a dense network does; none where the candidate has the experts."""
    side = stage.pairing.suspect
    return {i: e for i, e in history.experts.items() if i in layers and experts_of(side, i) != [None]}


def _related(parts: Parts, history: History | None) -> Finding:
    """Return the relation of models whose evidence passes the line, with all parts whose labels agree."""
    scope = parts.scope(gains=True)
    if parts.covers and parts.blocks >= DECIDE_AT and _enough_label_sets(parts):
        relation, reasons = _of_wholes(history)
    else:
        told = ("blocks_only_together",) if parts.spread else _why_parts(parts)
        on_blocks = bool(parts.carrying) or parts.spread
        relation, reasons = _of_parts(told, scope, history if on_blocks else None)
        if parts.doubt and not on_blocks:
            relation, reasons = Relation.SUGGESTIVE, (parts.doubt,)
    if relation is Relation.SHARED_INITIALISATION and parts.other_embeddings:
        # Initial weights are shared with their embeddings, whatever was trained on them.
        relation, reasons = Relation.SUGGESTIVE, (DENIED,)
    if relation is Relation.COMMON_ORIGIN:
        scope = (parts.component,)
    elif relation is not Relation.SUGGESTIVE:
        scope = parts.scope(gains=False)
        reasons = (*reasons, COPYABLE) if "gains" in parts.views else reasons
    others = set(parts.carrying) - {*parts.held, *parts.idle}
    if others and relation is not Relation.SUGGESTIVE:
        reasons = (*reasons, "more_labels_than_contents")
    return Finding(relation, None, scope, reasons, len(parts.held), 0, tuple(parts.held))


def _counting(finding: Finding, examination: Examination, parts: Parts) -> Finding:
    """Return the finding with the evidence of the parts that it names; no finding, where that misses the line."""
    denied = {i: _why_denied(parts, i) for i in parts.carrying if i not in parts.held}
    named = Named(values=parts.in_values, experts=parts.in_experts, rewritten=parts.rewritten, denied=denied)
    if finding.relation is not Relation.COMMON_ORIGIN:
        path = dict(parts.stage.pairing.layers)
        named = replace(
            named,
            pairs={i: path.get(i, i) for i in (*parts.layers, *parts.in_values)},
            views=None if parts.undivided else parts.views - {"gains"},
            doubts={"gains": COPYABLE, **({"embedding": parts.doubt} if parts.doubt else {})},
        )
    log10_e, left_out = counted(examination, named)
    if log10_e >= DECIDE_AT:
        return replace(finding, log10_e=log10_e, left_out=left_out)
    reason = next(iter(denied.values()), "no_part_by_itself")
    return replace(finding, relation=Relation.SUGGESTIVE, reasons=(reason,))


def _why_denied(parts: Parts, layer: int) -> str:
    if layer in parts.idle:
        return IDLE
    return UNCHECKED if layer in parts.unseen else DENIED


def _looked_at(stage: Stage, history: History | None) -> int:
    """Return how many layers were looked at that do anything: also one that was left without a partner."""
    found = max(stage.considered, len(stage.layer_log10_e()))
    return found - (0 if history is None else history.of_suspect)


def _embeddings_differ(stage: Stage) -> bool:
    """Return whether the token embeddings can be read in the channels that blocks agree in, and do not agree."""
    tested = [t for t in stage.residual if t.applied and t.subject.detail == "embedding"]
    return stage.pairing.basis == "identity" and bool(tested) and max(t.log10_e for t in tested) < SUGGEST_AT


def _contents_agree(history: History) -> bool:
    """Return whether units hold alike contents in a recovered basis, as strangers' never do; their labels are gone."""
    partners, cosine = history.partners_agree or 0.0, history.weight_cosine or 0.0
    return partners >= PARTNERS_AGREE and cosine >= WEIGHT_COSINE


def _mostly_alike(history: History) -> bool:
    """Return whether the contents of at least half of the layers agree, as far as a full reading tells."""
    return 2 * _alike_in_full(history) >= len(history.everywhere)


def _alike_in_full(history: History) -> int:
    return sum(cosine >= WEIGHT_COSINE for cosine in history.everywhere.values())


def held_layers(carrying: Sequence[int], history: History) -> list[int]:
    """Return the layers whose labels agree and whose contents do too; all, where no layer's contents tell.

    A shared initialisation leaves labels on contents that have grown apart: then labels are all that is spoken of.
    """
    held = [i for i in carrying if history.alike(i)]
    return held or ([] if history.shared in SUSPENDED else list(carrying))


def without_labels(finding: Finding) -> Finding:
    """Return the finding where the blocks' units were matched by content, out of order and with other signs.

    Or where units hold something else, and the networks compute the same. Then no label of the blocks is left to
    test: that no test found them says nothing of where they come from.
    """
    if finding.relation is not Relation.SHARED_PARTS or finding.reasons[:1] != ("residual_only",):
        return finding
    reasons = ("order_and_signs_destroyed", *finding.reasons[1:])
    return replace(finding, reasons=reasons, inherited=0, tested=0)


Told = tuple[Relation, tuple[str, ...]]


def _of_wholes(history: History | None) -> Told:
    """Return the relation of models whose residual channels and blocks agree."""
    if history is not None and (alone := _attention_alone(history)):
        return alone
    if history is None or history.shared is Shared.UNKNOWN:
        return Relation.SHARED_PARTS, ("history_not_measured",)
    return _unless_trained(history) or (Relation.COMMON_ORIGIN, ())


def _doubt(history: History | None) -> str | None:
    """Return why embeddings whose labels agree may not be called shared, or None."""
    standing = None if history is None else history.channels_stand_out
    if standing is None:
        return UNCHECKED
    return DENIED if standing < STAND_OUT else None


def _of_parts(reasons: tuple[str, ...], scope: tuple[str, ...], history: History | None) -> Told:
    """Return the relation of models of which some parts agree.

    Args:
        history: of the blocks that agree; None where none do.
    """
    if history is not None and history.shared in SUSPENDED and (not scope or reasons == ("gains_only",)):
        return Relation.SUGGESTIVE, (SUSPENDED[history.shared],)
    if not scope:
        # Together the label sets pass the line, and none does by itself: no part can be named.
        return Relation.SUGGESTIVE, ("no_part_by_itself",)
    if reasons == ("gains_only",):
        # Norm gains can be copied in seconds, to frame a model: alone they carry no verdict.
        return Relation.SUGGESTIVE, reasons
    if history is None:
        return Relation.SHARED_PARTS, reasons
    return _attention_alone(history) or _unless_trained(history) or (Relation.SHARED_PARTS, reasons)


def _attention_alone(history: History) -> Told | None:
    """Return the relation where value channels hold the same and feed-forward networks do not; None elsewhere.

    What was never measured is not said to differ.
    """
    if not history.attention_only:
        return None
    measured = any(i in history.contents for i in history.values if history.alike(i))
    reason = WITH_EXPERT if history.experts else WITH_SCRAMBLED if history.scrambled else None
    return Relation.SHARED_PARTS, (reason or ATTENTION_ONLY[not measured],)


def _unless_trained(history: History) -> Told | None:
    """Return what agreeing labels amount to where nothing shows shared training; None where something does."""
    if history.shared is Shared.INITIALISATION:
        reason = DRIFTED if history.drifted else DIVIDED if history.divided else "history_absent"
        return Relation.SHARED_INITIALISATION, (reason,)
    if history.shared in SUSPENDED:
        return Relation.SUGGESTIVE, (SUSPENDED[history.shared],)
    return None


def _bans(tested: Sequence[Tested]) -> float:
    return combine(tested) / evalues.LOG10


def _enough_label_sets(parts: Parts) -> bool:
    """Return whether the residual channels agree too, or their labels are gone and several layers agree.

    Where they are another component's, its finding counts; their e-value was counted there, and is not again.
    """
    if parts.elsewhere or (parts.residual >= DECIDE_AT and not _only_gains(parts)):
        return True
    return parts.several and len(parts.held) >= 2


def _other_label_sets(examination: Examination, stage: Stage) -> tuple[bool, bool]:
    """Return whether several layers may stand for the residual channels, and whether another component's do.

    The former where their labels are gone, or never were any: fixed positions give each channel a meaning of its own.
    Of a family that no table knows nobody can say that, and nothing stands for them.
    """
    pairing, elsewhere = stage.pairing, examination.in_shared_channels
    if pairing.basis != "identity":
        return True, False
    if elsewhere is not None:
        return False, elsewhere
    models = (pairing.suspect.anatomy, pairing.candidate.anatomy)
    holds = [model.holds(Symmetry.RESIDUAL_ORDER, examination.component).holds for model in models]
    return not all(holds) and all(model.family is not None for model in models), False


def _only_gains(parts: Parts) -> bool:
    """Return whether of the residual channels only gains agree, which anyone can copy, beside other embeddings."""
    return parts.views == frozenset({"gains"}) and parts.other_embeddings


def _why_parts(parts: Parts) -> tuple[str, ...]:
    if not parts.held:
        return (
            ("gains_only",)
            if parts.views == frozenset({"gains"}) and parts.doubt is None
            else ("residual_only",)
        )
    if not parts.covers:
        return ("less_than_half_of_layers",)
    one_set = parts.residual < DECIDE_AT or _only_gains(parts)
    return ("one_label_set_only",) if one_set else ("blocks_too_weak",)
