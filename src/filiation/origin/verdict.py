"""What follows from the exact evidence: the relation of the models (evidence contract, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from filiation.evidence import Relation
from filiation.origin import evalues
from filiation.origin.cosines import WEIGHT_COSINE
from filiation.origin.examine import Examination, Stage
from filiation.origin.history import History, Shared
from filiation.origin.labelset import Tested, combine
from filiation.origin.partners import PARTNERS_AGREE, STAND_OUT

DECIDE_AT = 6.0
SUGGEST_AT = 2.0
EMBEDDINGS, RESIDUAL = "token embeddings", "residual"
_OF_EMBEDDINGS = (f": {EMBEDDINGS}", f": {RESIDUAL}")
#: Why contents that agree in a recovered basis are no more than suggestive: no label is left to bound chance by.
WITHOUT_LABELS = "basis_without_labels"
#: Why agreeing labels are no finding: somebody may have arranged them.
SUSPENDED = {Shared.LABELS_ONLY: "labels_without_contents", Shared.UNCHECKED: "arrangement_not_checked"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one component's examination amounts to.

    ``scope`` names the parts it speaks of; ``reasons`` are phrase keys; ``inherited`` and ``tested`` count layers.
    """

    relation: Relation
    log10_e: float | None
    scope: tuple[str, ...]
    reasons: tuple[str, ...]
    inherited: int
    tested: int


def judge(examination: Examination, history: History | None) -> Finding:
    """Judge one component.

    ``common_origin`` asks for log10 e >= 6, evidence from the residual channels and from the blocks of at least
    half of the paired layers, and shared training. Where the basis was permuted or rotated the residual channels'
    own labels are gone; then block evidence in the recovered basis stands for them, and several layers are
    several label sets.
    """
    stage = examination.best
    if stage is None or not examination.tested:
        return Finding(Relation.CANNOT_TEST, None, (), (examination.cannot or "no_testable_units",), 0, 0)
    # A layer that was looked for and left without a partner was looked at too.
    log10_e, tested = examination.log10_e, max(stage.considered, len(stage.layer_log10_e()))
    carrying = stage.carrying()
    if log10_e < SUGGEST_AT:
        if examination.recovered is not None and history is not None and _contents_agree(history):
            return Finding(Relation.SUGGESTIVE, log10_e, (), (WITHOUT_LABELS,), 0, 0)
        return Finding(Relation.NONE_FOUND, log10_e, (), ("no_test_rejected",), 0, tested)
    if log10_e < DECIDE_AT:
        return Finding(Relation.SUGGESTIVE, log10_e, (), ("below_decision_line",), len(carrying), tested)
    residual, blocks = _bans(stage.residual), _bans(stage.blocks)
    # A layer is named only where the blocks together carry: one of many layers reaches three bans by chance.
    carrying = carrying if blocks >= DECIDE_AT else []
    spread = blocks >= DECIDE_AT and not carrying
    held = carrying if history is None else held_layers(carrying, history)
    scope = _scope(examination.component, stage, held, residual, spread=spread)
    doubt = None if _covers(stage, held) else _doubt(scope, history)
    if doubt:
        # The columns' numbers agree and what they hold does not: whoever has both files can do that.
        scope = tuple(part for part in scope if not part.endswith(_OF_EMBEDDINGS))
    if _covers(stage, held) and blocks >= DECIDE_AT and _enough_label_sets(stage, held, residual):
        relation, reasons = _of_wholes(history)
    else:
        told = ("blocks_only_together",) if spread else _why_parts(stage, residual, held)
        relation, reasons = _of_parts(told, scope, history if carrying or spread else None)
        if doubt and not (carrying or spread):
            relation, reasons = Relation.SUGGESTIVE, (doubt,)
    if relation is Relation.COMMON_ORIGIN:
        scope = (examination.component,)
    if len(held) < len(carrying) and relation is not Relation.SUGGESTIVE:
        reasons = (*reasons, "more_labels_than_contents")
    if "attention_only" in reasons:
        return Finding(
            relation, log10_e, scope, reasons, 0, 0
        )  # no share of layers: half of each is somebody else's
    return Finding(relation, log10_e, scope, reasons, len(held), tested)


def _contents_agree(history: History) -> bool:
    """Return whether units hold alike contents in a recovered basis, as strangers' never do; their labels are gone."""
    partners, cosine = history.partners_agree or 0.0, history.weight_cosine or 0.0
    return partners >= PARTNERS_AGREE and cosine >= WEIGHT_COSINE


def held_layers(carrying: Sequence[int], history: History) -> list[int]:
    """Return the layers whose labels agree and whose contents do too; all, where no layer's contents tell.

    A shared initialisation leaves labels on contents that have grown apart: then labels are all that is spoken of.
    """
    held = [i for i in carrying if history.alike(i)]
    return held or ([] if history.shared in SUSPENDED else list(carrying))


def _covers(stage: Stage, layers: Sequence[int]) -> bool:
    """Return whether these are at least half of the layers that were looked at."""
    return stage.considered > 0 and 2 * len(layers) >= stage.considered


def without_labels(finding: Finding) -> Finding:
    """Return the finding where the blocks' units were matched by content, out of order and with other signs.

    Then no label of the blocks is left to test: that no test found them says nothing of where they come from.
    """
    if finding.relation is not Relation.SHARED_PARTS or finding.reasons != ("residual_only",):
        return finding
    return replace(finding, reasons=("order_and_signs_destroyed",), inherited=0, tested=0)


Told = tuple[Relation, tuple[str, ...]]


def _of_wholes(history: History | None) -> Told:
    """Return the relation of models whose residual channels and blocks agree."""
    if history is None or history.shared is Shared.UNKNOWN:
        return Relation.SHARED_PARTS, ("history_not_measured",)
    return _attention_alone(history) or _unless_trained(history) or (Relation.COMMON_ORIGIN, ())


def _doubt(scope: Sequence[str], history: History | None) -> str | None:
    """Return why embeddings whose labels agree may not be called shared, or None."""
    if not any(part.endswith(_OF_EMBEDDINGS) for part in scope):
        return None
    standing = None if history is None else history.channels_stand_out
    if standing is None:
        return SUSPENDED[Shared.UNCHECKED]
    return SUSPENDED[Shared.LABELS_ONLY] if standing < STAND_OUT else None


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
    """Return the relation where value channels hold the same and feed-forward networks do not; None elsewhere."""
    alike = [i for i in {*history.contents, *history.values} if history.alike(i)]
    if alike and all(history.contents.get(i, 0.0) < WEIGHT_COSINE for i in alike):
        return Relation.SHARED_PARTS, ("attention_only",)
    return None


def _unless_trained(history: History) -> Told | None:
    """Return what agreeing labels amount to where nothing shows shared training; None where something does."""
    if history.shared is Shared.INITIALISATION:
        return Relation.SHARED_INITIALISATION, ("history_absent",)
    if history.shared in SUSPENDED:
        return Relation.SUGGESTIVE, (SUSPENDED[history.shared],)
    return None


def _bans(tested: Sequence[Tested]) -> float:
    return combine(tested) / evalues.LOG10


def _enough_label_sets(stage: Stage, held: Sequence[int], residual: float) -> bool:
    """Return whether the residual channels agree too, or their labels are gone and several layers agree."""
    if residual >= DECIDE_AT:
        return True
    return stage.pairing.basis != "identity" and len(held) >= 2


def _scope(
    component: str, stage: Stage, carrying: Sequence[int], residual: float, *, spread: bool
) -> tuple[str, ...]:
    """Return the parts that agree; where the blocks do so only together (``spread``), all their layers."""
    layers = list(stage.layer_log10_e()) if spread else carrying
    scope = [f"{component}: layers {_ranges(layers)}"] if layers else []
    if residual >= DECIDE_AT:
        views = {t.subject.detail for t in stage.residual if t.applied and t.log10_e >= DECIDE_AT}
        words = [f"{component}: {'norm gains' if v == 'gains' else EMBEDDINGS}" for v in sorted(views)]
        # Views that pass the line only together are not told apart.
        scope += words or [f"{component}: {RESIDUAL}"]
    return tuple(scope)


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-3, 7`` for 0, 1, 2, 3, 7."""
    words: list[str] = []
    start = previous = None
    for n in [*numbers, None]:
        if start is not None and (n is None or previous is None or n != previous + 1):
            words.append(f"{start}" if start == previous else f"{start}-{previous}")
            start = None
        if start is None:
            start = n
        previous = n
    return ", ".join(words)


def _why_parts(stage: Stage, residual: float, carrying: Sequence[int]) -> tuple[str, ...]:
    views = {t.subject.detail for t in stage.residual if t.applied and t.log10_e >= DECIDE_AT}
    if not carrying:
        return ("gains_only",) if views == {"gains"} else ("residual_only",)
    if not _covers(stage, carrying):
        return ("less_than_half_of_layers",)
    return ("one_label_set_only",) if residual < DECIDE_AT else ("blocks_too_weak",)
