"""From components and candidates to one verdict: whole models, several candidates, history as a record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from filiation.evidence import (
    Derivation,
    Effect,
    Evidence,
    Location,
    Relation,
    RestsOn,
    Scale,
    Status,
    Verdict,
    Wing,
)
from filiation.origin import evalues
from filiation.origin.examine import Examination
from filiation.origin.history import History
from filiation.origin.parts import DECIDE_AT, ranges
from filiation.origin.verdict import FINDINGS, RELATED, SUGGEST_AT, WITHOUT_LABELS, Finding

#: From the strongest statement to the weakest.
RANK = (
    Relation.IDENTICAL,
    Relation.COMMON_ORIGIN,
    Relation.SHARED_PARTS,
    Relation.SHARED_INITIALISATION,
    Relation.SUGGESTIVE,
    Relation.NONE_FOUND,
    Relation.CANNOT_TEST,
)
#: Relations under which agreeing labels are spoken of as inherited.
_INHERITED = (*RELATED, Relation.NONE_FOUND)


def over_components(
    findings: Mapping[str, Finding], components: Sequence[str], spare: Sequence[str] = ()
) -> Finding:
    """Return one finding for a whole model of several components (towers).

    When some components share an origin and others (of the suspect) do not, the models share parts. Components that
    share no more than their initial weights are no parts of that kind: they make a shared initialisation, or are
    passed over beside an origin that others share. E-values of components are averaged, not multiplied: towers may
    have begun as copies of one another (dual encoders, decoders made from encoders), and no self-test looks across
    them. Of a finding only those that it names count; the others enter the average as 0.

    Args:
        findings: of each component that was examined.
        components: all of the suspect.
        spare: those that a loader would not read: beside a common origin of all others they change nothing.
    """
    testable = {c: f for c, f in findings.items() if f.relation is not Relation.CANNOT_TEST}
    if not testable:
        reasons = tuple(dict.fromkeys(r for f in findings.values() for r in f.reasons))
        return Finding(Relation.CANNOT_TEST, None, (), reasons or ("no_common_component",), 0, 0)
    if len(testable) == 1 and len(components) == 1:
        return next(iter(testable.values()))
    read = {c: f for c, f in testable.items() if c not in spare}
    wanted = [c for c in components if c != "projector" and c not in spare]
    if {f.relation for f in read.values()} != {Relation.COMMON_ORIGIN}:
        read, wanted = testable, [c for c in components if c != "projector"]
    top = min((f.relation for f in read.values()), key=RANK.index)
    alone = len({f.relation for f in read.values()}) > 1 or len(read) < len(wanted)
    relation = Relation.SHARED_PARTS if alone and top is Relation.COMMON_ORIGIN else top
    named = [f for f in testable.values() if f.relation in named_with(top)]
    # The relation's own reasons come first: the verdict prints the first one beside it.
    reasons = tuple(r for f in sorted(named, key=lambda f: RANK.index(f.relation)) for r in f.reasons)
    if alone and top in FINDINGS:
        others = {f.relation for f in read.values() if f.relation not in named_with(top)}
        reasons += _of_others(others, complete=len(read) == len(wanted))
    reasons = tuple(dict.fromkeys(reasons))
    together = mean_of_named(tuple(testable.values()), named_with(top))
    relation, reasons = above_its_line(relation, reasons, together)
    return Finding(
        relation,
        together,
        tuple(s for f in named for s in f.scope) if top in FINDINGS else (),
        reasons,
        sum(f.inherited for f in testable.values() if f.relation in RELATED),
        sum(f.tested for f in testable.values()),
    )


def named_with(top: Relation) -> tuple[Relation, ...]:
    """Return the relations of the findings that one whose strongest relation this is speaks of."""
    return RELATED if top in RELATED else (top,)


def mean_of_named(findings: Sequence[Finding], named: Sequence[Relation]) -> float:
    """Return the average of e-values in bans; those of findings that are not named count as 0."""
    logs = [(f.log10_e or 0.0) * evalues.LOG10 if f.relation in named else -math.inf for f in findings]
    return evalues.log_mean(logs) / evalues.LOG10


def _of_others(others: set[Relation], *, complete: bool) -> tuple[str, ...]:
    """Return what is to be said of the components that a finding of parts does not name."""
    started = Relation.SHARED_INITIALISATION in others
    none = not complete or bool(others - {Relation.SHARED_INITIALISATION})
    return ("others_share_initialisation",) * started + ("others_show_none",) * none


def strength(finding: Finding, *, identical: bool) -> tuple[int, float]:
    """Return a key that orders candidates by the strength of the finding."""
    rank = 0 if identical else RANK.index(finding.relation)
    return -rank, finding.log10_e if finding.log10_e is not None else -1.0


def word_verdict(
    finding: Finding,
    candidate: int,
    candidates: int,
    derivation: tuple[Derivation, ...],
    identical: bool,
    notes: tuple[str, ...] = (),
) -> Verdict:
    """Return the verdict record.

    The largest of K e-values is divided by K.
    """
    if identical:
        return Verdict(
            Relation.IDENTICAL,
            _paid(finding.log10_e, candidates),
            ("all tensors",),
            None if finding.log10_e is not None else "no_exact_test_needed",
            candidate,
            _bound(_paid(finding.log10_e, candidates)),
            1.0,
            derivation,
            notes,
        )
    log10_e = _paid(finding.log10_e, candidates)
    relation, reasons = above_its_line(finding.relation, finding.reasons, log10_e)
    return Verdict(
        relation,
        log10_e,
        finding.scope,
        reasons[0] if reasons else None,
        candidate,
        _bound(log10_e),
        finding.inherited / finding.tested if finding.tested and relation in _INHERITED else None,
        derivation,
        (*reasons[1:], *notes),
    )


def above_its_line(
    relation: Relation, reasons: tuple[str, ...], log10_e: float | None
) -> tuple[Relation, tuple[str, ...]]:
    """Return the relation that an e-value carries after it was divided or averaged, with its reasons."""
    if log10_e is None or relation not in (*FINDINGS, Relation.SUGGESTIVE):
        return relation, reasons
    if reasons[:1] == (WITHOUT_LABELS,):
        return relation, reasons  # contents that agree, not an e-value
    if log10_e < SUGGEST_AT:
        return Relation.NONE_FOUND, ("no_test_rejected",)
    if log10_e < DECIDE_AT and relation is not Relation.SUGGESTIVE:
        return Relation.SUGGESTIVE, ("below_decision_line",)
    return relation, reasons


def _paid(log10_e: float | None, candidates: int) -> float | None:
    if log10_e is None:
        return None
    return log10_e - math.log10(candidates)


def _bound(log10_e: float | None) -> float | None:
    """Return ``1/e`` capped at 1; below the smallest double it is 0 in the record, and log10_e says more."""
    return None if log10_e is None else min(1.0, 10.0 ** max(-300.0, -log10_e))


def history_evidence(
    examination: Examination | None, history: History | None, number: int
) -> tuple[Evidence, ...]:
    """Return the record of the effect sizes that tell shared training from a shared initialisation."""
    component = "language" if examination is None else examination.component
    stage = None if examination is None or examination.best is None else examination.best.name
    identity = f"origin.history/{component}" + (f"/stage={stage}" if stage else "")
    # What holds of the layers that agree is not to be read as said of the whole model.
    identity += f"/layers={ranges(history.layers)}" if history is not None and history.layers else ""
    identity += f"/names={','.join(history.exchanged)}" if history is not None and history.exchanged else ""
    identity += f"/candidate={number}" if number else ""
    question, part = "question.history", Location(component)
    effects = () if history is None else _effects(history)
    if history is None or not effects:
        why = "labels_without_effect" if history is not None and history.idle else "no_paired_layers"
        missing = Evidence(identity, Wing.ORIGIN, question, part, Status.NOT_MEASURED, why)
        return (replace(missing, test="history", candidate=number),)
    return (
        Evidence(
            identity,
            Wing.ORIGIN,
            question,
            part,
            scale=Scale.CALIBRATED,
            test="history",
            statistic_name=effects[0].name,
            statistic=effects[0].value,
            n=history.norms or history.units,
            effect=effects,
            rests_on=RestsOn.CONSTANT,
            candidate=number,
            shows=f"shows.history_{history.shared}",
            cannot_show=("cannot_show.early_stopped_same_seed",),
        ),
    )


def _effects(history: History) -> tuple[Effect, ...]:
    measured = (
        ("gain_correlation", history.gain_correlation),
        ("gains_in_place", history.gains_in_place),
        ("weight_cosine", history.weight_cosine),
        ("reading_correlation", history.reading_correlation),
        ("computed_alike", history.computed_alike),
        ("partners_agree", history.partners_agree),
        ("channels_stand_out", history.channels_stand_out),
    )
    return tuple(Effect(name, value) for name, value in measured if value is not None)
