"""What follows from the exact evidence: the relation of the models (evidence contract, section 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from filiation.evidence import Relation
from filiation.origin import evalues
from filiation.origin.examine import Examination, Stage
from filiation.origin.history import History, Shared
from filiation.origin.labelset import Tested, combine

DECIDE_AT = 6.0
SUGGEST_AT = 2.0


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
    log10_e, tested = examination.log10_e, len(stage.layer_log10_e())
    carrying = stage.carrying()
    if log10_e < SUGGEST_AT:
        return Finding(Relation.NONE_FOUND, log10_e, (), ("no_test_rejected",), 0, tested)
    if log10_e < DECIDE_AT:
        return Finding(Relation.SUGGESTIVE, log10_e, (), ("below_decision_line",), len(carrying), tested)
    residual, blocks = _bans(stage.residual), _bans(stage.blocks)
    # A layer is named only where the blocks together carry: one of many layers reaches three bans by chance.
    carrying = carrying if blocks >= DECIDE_AT else []
    whole = stage.covers_half() and blocks >= DECIDE_AT and _enough_label_sets(stage, residual)
    scope = _scope(examination.component, stage, carrying, residual)
    if not whole:
        reasons = _why_parts(stage, residual, carrying)
        # Norm gains can be copied in seconds, to frame a model: alone they carry no verdict.
        relation = Relation.SUGGESTIVE if reasons == ("gains_only",) else Relation.SHARED_PARTS
        if carrying and history is not None and history.shared is Shared.INITIALISATION:
            relation, reasons = Relation.SHARED_INITIALISATION, ("history_absent",)
        if carrying and history is not None and history.shared is Shared.LABELS_ONLY:
            relation, reasons = Relation.SUGGESTIVE, ("labels_without_contents",)
    elif history is None or history.shared is Shared.UNKNOWN:
        relation, reasons = Relation.SHARED_PARTS, ("history_not_measured",)
    elif history.shared is Shared.INITIALISATION:
        relation, reasons = Relation.SHARED_INITIALISATION, ("history_absent",)
    elif history.shared is Shared.LABELS_ONLY:
        relation, reasons = Relation.SUGGESTIVE, ("labels_without_contents",)
    else:
        relation, reasons, scope = Relation.COMMON_ORIGIN, (), (examination.component,)
    return Finding(relation, log10_e, scope, reasons, len(carrying), tested)


def _bans(tested: Sequence[Tested]) -> float:
    return combine(tested) / evalues.LOG10


def _enough_label_sets(stage: Stage, residual: float) -> bool:
    """Return whether the residual channels agree too, or their labels are gone and several layers agree."""
    if residual >= DECIDE_AT:
        return True
    return stage.pairing.basis != "identity" and len(stage.carrying()) >= 2


def _scope(component: str, stage: Stage, carrying: Sequence[int], residual: float) -> tuple[str, ...]:
    scope = [f"{component}: layers {_ranges(carrying)}"] if carrying else []
    if residual >= DECIDE_AT:
        views = {t.subject.detail for t in stage.residual if t.applied and t.log10_e >= DECIDE_AT}
        scope += [
            f"{component}: {'norm gains' if v == 'gains' else 'token embeddings'}" for v in sorted(views)
        ]
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
    if not stage.covers_half():
        return ("less_than_half_of_layers",)
    return ("one_label_set_only",) if residual < DECIDE_AT else ("blocks_too_weak",)
