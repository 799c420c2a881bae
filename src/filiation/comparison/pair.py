"""One suspect and one candidate: examined, judged, and how the one came from the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from filiation import derivation, likeness, origin
from filiation.anatomy.model import Anatomy
from filiation.comparison.opening import Progress
from filiation.evidence import Evidence, Relation
from filiation.origin.examine import Examination, examine
from filiation.origin.history import History
from filiation.origin.pairing import Plan, TokenRows
from filiation.origin.tokens import shared_tokens
from filiation.origin.towers import TowerPair
from filiation.origin.verdict import RELATED, Finding, judge, without_labels

#: Mean cosine of matched weights from which the models are read in full to see whether they are equal.
NEARLY_EQUAL = 0.9999
#: Steps that say how weights changed; where only parts are shared they would speak of parts that are not.
_OF_WHOLE_MODELS = frozenset(
    {
        "fine_tuned",
        "continued_pretraining",
        "low_rank_update",
        "noise_added",
        "re_encoded",
        "vocabulary_changed",
        "cannot_tell",
    }
)


@dataclass(frozen=True, eq=False)
class Pair:
    """What was found about the suspect and one candidate.

    ``left_out`` says of each component which label sets the verdict does not count, and why.
    """

    number: int
    plan: Plan
    examinations: tuple[Examination, ...]
    finding: Finding
    derived: derivation.Derived
    identical: bool
    evidence: tuple[Evidence, ...]
    curves: tuple[Mapping[str, Any], ...]
    histories: tuple[History | None, ...] = ()
    left_out: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


@dataclass(eq=False)
class _Studied:
    """What two models' components say so far; what a derivation learns is put into findings and histories."""

    suspect: Anatomy
    candidate: Anatomy
    towers: Sequence[TowerPair]
    tokens: Mapping[str, TokenRows | None]
    plan: Plan
    number: int
    full: bool
    examinations: tuple[Examination, ...] = ()
    histories: list[History | None] = field(default_factory=list[History | None])
    findings: dict[str, Finding] = field(default_factory=dict[str, Finding])

    def records(self) -> list[Evidence]:
        """Return the records of the exact tests, and of the effect sizes."""
        found = [
            e
            for x in self.examinations
            for e in origin.marked(x.evidence(), self.findings[x.component].left_out)
        ]
        for x, history in zip(self.examinations, self.histories, strict=True):
            found += origin.history_evidence(x, history, self.number)
        return found

    def finding(self) -> Finding:
        """Return what is found over all towers and components."""
        over = origin.over_towers(self.towers, self.findings)
        return origin.over_components(over, self.suspect.components, self.suspect.spare)


def examine_pair(
    suspect: Anatomy, candidate: Anatomy, plan: Plan, number: int, *, full: bool, progress: Progress
) -> Pair:
    """Examine every component both models have, judge, and say how the suspect came from the candidate."""
    progress("exact tests", 0, None)
    rows = shared_tokens(suspect, candidate, plan)
    towers = origin.tower_pairs(suspect, candidate)
    tokens = {t.name: t.tokens(suspect, candidate, rows) for t in towers}
    studied = _Studied(suspect, candidate, towers, tokens, plan, number, full)
    _test(studied)
    progress("published statistics", 0, None)
    main = studied.examinations[0] if towers else None
    likened = tokens[main.component] if main else rows
    alike = likeness.measure(main, plan, likened, full=full, number=number)
    progress("how it was changed", 0, None)
    identical, derived = _derive(studied)
    records = studied.records()
    if not identical:
        records += origin.not_examined(suspect, candidate, towers, studied.findings, number)
    return Pair(
        number,
        plan,
        studied.examinations,
        studied.finding(),
        derived,
        identical,
        (*records, *alike.evidence, *derived.evidence),
        alike.curves,
        tuple(studied.histories),
        {name: found.left_out for name, found in studied.findings.items()},
    )


def _test(studied: _Studied) -> None:
    """Run the exact tests on every tower, then measure effect sizes as far as a budget reaches, and judge by both."""
    plan, tokens = studied.plan, studied.tokens
    examinations = [
        examine(
            *t.views(studied.suspect, studied.candidate),
            t.name,
            plan,
            tokens[t.name],
            origin.TESTS,
            studied.number,
        )
        for t in studied.towers
    ]
    measured = [origin.measured(x, plan) for x in examinations]
    found = tuple(x for x, _ in measured)
    studied.histories = [history for _, history in measured]
    studied.findings = {x.component: judge(x, history) for x, history in measured}
    models = (studied.suspect, studied.candidate)
    studied.examinations = origin.in_shared_channels(found, studied.towers, models, studied.findings)
    studied.findings = {
        x.component: judge(x, history)
        for x, history in zip(studied.examinations, studied.histories, strict=True)
    }


def _derive(studied: _Studied) -> tuple[bool, derivation.Derived]:
    """Say whether the models are equal and, where an origin is shared, what happened between them.

    What is learned of labels that no longer exist, and of contents where all was read, is put into what was studied.
    """
    suspect, candidate = studied.suspect, studied.candidate
    if _may_be_equal(studied):
        sameness = derivation.same_within(suspect, candidate, studied.plan.budget)
        if sameness is not None and sameness.equal:
            return True, derivation.as_identical(sameness, suspect, candidate, studied.number)
    found = [
        step
        for n in range(len(studied.towers))
        if studied.findings[studied.towers[n].name].relation in RELATED
        and (step := _step(studied, n)) is not None
    ]
    over = origin.over_towers(studied.towers, studied.findings)
    shared = {c for c, f in over.items() if f.relation in RELATED}
    return False, derivation.joined([derivation.without_components(step, shared) for step in found])


def _may_be_equal(studied: _Studied) -> bool:
    """Return whether files or sampled weights are so alike that all of both is read to see whether they are equal."""
    suspect, candidate, plan = studied.suspect, studied.candidate, studied.plan
    namesakes = [h for t, h in zip(studied.towers, studied.histories, strict=True) if t.mine == t.theirs]
    cosines = [h.weight_cosine for h in namesakes if h is not None and h.weight_cosine is not None]
    near = bool(cosines) and min(cosines) >= NEARLY_EQUAL
    local = suspect.checkpoint.is_local and candidate.checkpoint.is_local
    # Under names that no rule explains, equal tensors can still be found by what they hold.
    near = near or (plan.whole and bool(suspect.unnamed or candidate.unnamed))
    may_read_all = studied.full or plan.whole or local
    return derivation.same_files(suspect, candidate) or (near and may_read_all)


def _step(studied: _Studied, n: int) -> derivation.Derived | None:
    """Return what happened to one tower; None where what was learned of it leaves nothing related."""
    tower, examination = studied.towers[n], studied.examinations[n]
    models = origin.models(examination, tower.views(studied.suspect, studied.candidate))
    rows, plan, findings = studied.tokens[tower.name], studied.plan, studied.findings
    step = derivation.derive(*models, examination, plan, rows, full=studied.full, number=studied.number)
    if derivation.order_and_signs_gone(step):
        findings[examination.component] = without_labels(findings[examination.component])
    findings[tower.name], studied.histories[n] = origin.after_reading(
        examination,
        (findings[tower.name], studied.histories[n]),
        plan,
        step.contents,
        full=studied.full,
        nothing_agrees=derivation.NO_PART in step.notes,
    )
    findings[tower.name] = origin.beside_grafts(findings[tower.name], step.steps)
    if findings[tower.name].relation not in RELATED:
        return None
    step = _rewritten(step, studied, n)
    whole = findings[tower.name].relation is Relation.COMMON_ORIGIN and tower.is_loaded
    whole = whole and origin.is_certain(tower, findings)
    return step if whole else _speaking_of_parts(step)


def _rewritten(step: derivation.Derived, studied: _Studied, n: int) -> derivation.Derived:
    """Return the derivation; where networks compute the same with other units, it says that in place of their units."""
    history, examination = studied.histories[n], studied.examinations[n]
    layers = [] if history is None else origin.rewritten_layers(history)
    if history is None or history.computed_alike is None or not layers:
        return step
    return derivation.rewritten(step, layers, history.computed_alike, examination.component, studied.number)


def _speaking_of_parts(derived: derivation.Derived) -> derivation.Derived:
    # A table that was replaced beneath kept layers is what is not shared, and is told.
    kept = tuple(s for s in derived.steps if s.kind not in _OF_WHOLE_MODELS or s.numbers.get("body_kept"))
    return replace(derived, steps=kept)
