"""The walk: open -> name the parts -> pair -> test -> derive -> judge -> report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

from filiation import anatomy, checkpoint, derivation, likeness, origin
from filiation._version import __version__
from filiation.anatomy.architecture import architecture_difference
from filiation.anatomy.model import Anatomy
from filiation.checkpoint.hashing import pinned
from filiation.checkpoint.model import Checkpoint, Floats, Index
from filiation.checkpoint.named import refuse_repeated, refuse_same_weights
from filiation.checkpoint.record import model_record
from filiation.errors import FiliationError, UsageError
from filiation.evidence import Evidence, ModelRecord, Relation, Report, Verdict, measured_null, plain
from filiation.origin.examine import Examination, examine
from filiation.origin.history import History
from filiation.origin.pairing import Plan, TokenRows
from filiation.origin.tokens import shared_tokens
from filiation.origin.towers import TowerPair
from filiation.origin.verdict import Finding, judge, without_labels

Progress = Callable[[str, int, int | None], None]

#: Models up to this size are read whole; larger ones are sampled.
WHOLE_UP_TO = 64 * 2**20
#: Default budget of bytes read from each model when one of them is remote.
REMOTE_BUDGET = 10**9
#: Mean cosine of matched weights from which the models are read in full to see whether they are equal.
NEARLY_EQUAL = 0.9999


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


def compare_models(
    suspect: str,
    candidates: Sequence[str],
    *,
    full: bool = False,
    budget: int | None = None,
    base: str | None = None,
    seed: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compare one suspect with one or several candidates and return the report; see :func:`filiation.compare`."""
    if not candidates:
        raise UsageError(
            "There is nothing to compare with.",
            next_step="Name at least one candidate: filiation compare S C",
        )
    refuse_repeated(candidates)
    _refuse_seed(seed)
    tell = progress or _silent
    mine = open_model(suspect, base, budget, tell, role="suspect")
    others = [open_model(c, None, budget, tell, role="candidate") for c in candidates]
    refuse_same_weights(candidates, [other.checkpoint for other in others])
    pairs = [
        examine_pair(mine, other, make_plan(mine, other, budget, seed), n, full=full, progress=tell)
        for n, other in enumerate(others)
    ]
    command = {
        "name": "compare",
        "suspect": suspect,
        "candidates": list(candidates),
        "full": full,
        "budget": budget,
        "base": base,
        "seed": seed,
    }
    return assemble(mine, others, pairs, overall_verdict(mine, others, pairs), command)


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


def _refuse_seed(seed: str | None) -> None:
    """Refuse a word that could not be written down in a report and given again."""
    if seed is not None and (not seed.strip() or not seed.isprintable()):
        raise UsageError(
            "The word given with --seed is empty or cannot be printed.",
            reason="Whoever verifies the report has to give the same word.",
            next_step="Write it in letters and digits, such as --seed 'drawn 2026-05-04: 7 19 23'.",
        )


def _different(candidates: Sequence[Anatomy]) -> tuple[int, ...]:
    """Return the numbers of the candidates without those whose files equal an earlier one's.

    Only digests of models all of whose files were hashed say so.
    """
    firsts: dict[str, int] = {}
    for n, model in enumerate(candidates):
        hashed = all(file.sha256 for file in model.checkpoint.files)
        firsts.setdefault(model.checkpoint.digest if hashed else f"candidate {n}", n)
    return tuple(firsts.values())


def open_model(
    locator: str, base: str | None, budget: int | None, progress: Progress, role: str = "model"
) -> Anatomy:
    """Open a checkpoint, look for NaN in small files, and name the parts; errors say which model they are of."""
    progress(f"opening {locator}", 0, None)
    whose = f"{role.capitalize()} {locator}"
    with _naming(whose):
        opened = _named(checkpoint.open(locator, base=base, keep=budget), whose)
        # Under a budget only what is kept is looked through: to read it again costs nothing then.
        if opened.is_local and opened.total_bytes <= WHOLE_UP_TO and (budget is None or opened.kept):
            checkpoint.scan_finite(opened)
        return anatomy.dissect(opened)


@contextmanager
def _naming(whose: str) -> Generator[None]:
    """Say in an error whose files it speaks of: two models have files and tensors of the same names."""
    try:
        yield
    except FiliationError as error:
        if whose not in error.message:
            error.message = f"{whose}: {error.message}"
        raise


@dataclass(frozen=True)
class _Named(Checkpoint):
    """A checkpoint whose errors say which model it is, also when it is read long after it was opened."""

    whose: str = ""

    def read(self, name: str, *index: int | slice) -> Floats:
        with _naming(self.whose):
            return super().read(name, *index)

    def prefetch(self, wanted: Iterable[tuple[str, Index]]) -> None:
        with _naming(self.whose):
            super().prefetch(wanted)

    def read_file(self, name: str) -> bytes:
        with _naming(self.whose):
            return super().read_file(name)


def _named(opened: Checkpoint, whose: str) -> Checkpoint:
    return _Named(**{f.name: getattr(opened, f.name) for f in fields(opened)}, whose=whose)


def make_plan(suspect: Anatomy, candidate: Anatomy, budget: int | None, seed: str | None = None) -> Plan:
    """Return how much to read: fixed by sizes, digests and the caller's word, before any weight is seen."""
    digests = f"{suspect.checkpoint.digest}\n{candidate.checkpoint.digest}"
    digests += f"\n{seed}" if seed is not None else ""
    small = max(suspect.checkpoint.total_bytes, candidate.checkpoint.total_bytes) <= WHOLE_UP_TO
    local = suspect.checkpoint.is_local and candidate.checkpoint.is_local
    limit = budget if budget is not None else (None if local else REMOTE_BUDGET)
    if suspect.checkpoint.kept and candidate.checkpoint.kept:
        limit = None  # all of both fits, and no byte is read twice
    fits = limit is None or limit >= WHOLE_UP_TO
    seed_of_both = hashlib.sha256(digests.encode()).hexdigest()
    return Plan(seed_of_both, whole=small and fits, budget=limit, blocks=4 if local else 1)


def examine_pair(
    suspect: Anatomy, candidate: Anatomy, plan: Plan, number: int, *, full: bool, progress: Progress
) -> Pair:
    """Examine every component both models have, judge, and say how the suspect came from the candidate."""
    progress("exact tests", 0, None)
    rows = shared_tokens(suspect, candidate, plan)
    towers = origin.tower_pairs(suspect, candidate)
    tokens = {t.name: t.tokens(suspect, candidate, rows) for t in towers}
    examinations = tuple(
        examine(*t.views(suspect, candidate), t.name, plan, tokens[t.name], origin.TESTS, number)
        for t in towers
    )
    measured = [origin.measured(x, plan) for x in examinations]
    examinations, histories = tuple(x for x, _ in measured), [h for _, h in measured]
    findings = {x.component: judge(x, h) for x, h in zip(examinations, histories, strict=True)}
    progress("published statistics", 0, None)
    main = examinations[0] if examinations else None
    alike = likeness.measure(main, plan, tokens[main.component] if main else rows, full=full, number=number)
    progress("how it was changed", 0, None)
    identical, derived = _derive(
        suspect, candidate, towers, examinations, histories, findings, plan, tokens, full, number
    )
    records = [e for x in examinations for e in origin.marked(x.evidence(), findings[x.component].left_out)]
    records += [
        e for x, h in zip(examinations, histories, strict=True) for e in origin.history_evidence(x, h, number)
    ]
    if not identical:
        records += origin.not_examined(suspect, candidate, towers, findings, number)
    evidence = (*records, *alike.evidence, *derived.evidence)
    finding = origin.over_components(origin.over_towers(towers, findings), suspect.components, suspect.spare)
    left_out = {name: found.left_out for name, found in findings.items()}
    told = evidence, alike.curves, tuple(histories), left_out
    return Pair(number, plan, examinations, finding, derived, identical, *told)


def _derive(
    suspect: Anatomy,
    candidate: Anatomy,
    towers: Sequence[TowerPair],
    examinations: Sequence[Examination],
    histories: list[History | None],
    findings: dict[str, Finding],
    plan: Plan,
    tokens: Mapping[str, TokenRows | None],
    full: bool,
    number: int,
) -> tuple[bool, derivation.Derived]:
    """Say whether the models are equal and, where an origin is shared, what happened between them.

    What is learned of labels that no longer exist, and of contents where all was read, is put into ``findings`` (and
    ``histories``).
    """
    namesakes = [h for t, h in zip(towers, histories, strict=True) if t.mine == t.theirs]
    cosines = [h.weight_cosine for h in namesakes if h is not None and h.weight_cosine is not None]
    near = bool(cosines) and min(cosines) >= NEARLY_EQUAL
    may_read_all = full or plan.whole or (suspect.checkpoint.is_local and candidate.checkpoint.is_local)
    # Under names that no rule explains, equal tensors can still be found by what they hold.
    near = near or (plan.whole and bool(suspect.unnamed or candidate.unnamed))
    if derivation.same_files(suspect, candidate) or (near and may_read_all):
        sameness = derivation.same_within(suspect, candidate, plan.budget)
        if sameness is not None and sameness.equal:
            return True, derivation.as_identical(sameness, suspect, candidate, number)
    found: list[derivation.Derived] = []
    for n, (t, x) in enumerate(zip(towers, examinations, strict=True)):
        if findings[t.name].relation not in _RELATED:
            continue
        models = origin.models(x, t.views(suspect, candidate))
        step = derivation.derive(*models, x, plan, tokens[t.name], full=full, number=number)
        if derivation.order_and_signs_gone(step):
            findings[x.component] = without_labels(findings[x.component])
        nothing, so_far = derivation.NO_PART in step.notes, (findings[t.name], histories[n])
        findings[t.name], histories[n] = origin.after_reading(
            x, so_far, plan, step.contents, full=full, nothing_agrees=nothing
        )
        if findings[t.name].relation not in _RELATED:
            continue
        whole = findings[t.name].relation is Relation.COMMON_ORIGIN and t.is_loaded
        found.append(step if whole else _speaking_of_parts(step))
    shared = {c for c, f in origin.over_towers(towers, findings).items() if f.relation in _RELATED}
    return False, derivation.joined([derivation.without_components(step, shared) for step in found])


_RELATED = (Relation.COMMON_ORIGIN, Relation.SHARED_PARTS)
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


def _speaking_of_parts(derived: derivation.Derived) -> derivation.Derived:
    return replace(derived, steps=tuple(s for s in derived.steps if s.kind not in _OF_WHOLE_MODELS))


def overall_verdict(suspect: Anatomy, candidates: Sequence[Anatomy], pairs: Sequence[Pair]) -> Verdict:
    """Return the verdict for the candidate with the strongest evidence, paid for by the number of candidates.

    Equal files at several places count once: the first stands for all, so that there is nothing to choose.
    """
    different = _different(candidates)
    pairs = [p for p in pairs if p.number in different]
    best = max(pairs, key=lambda p: origin.strength(p.finding, identical=p.identical))
    steps = best.derived.steps
    # The lesser part of a merge reads like a shared start; the mixture itself says how much of each there is.
    related = [p for p in pairs if p.finding.relation in (*_RELATED, Relation.SHARED_INITIALISATION)]
    if len(related) > 1 and not best.identical:
        mixture = derivation.decompose(
            suspect,
            [candidates[p.number] for p in related],
            [p.examinations for p in related],
            best.plan,
            numbers=[p.number for p in related],
        )
        steps = (*steps, mixture) if mixture is not None else steps
    return origin.word_verdict(
        best.finding, best.number, len(pairs), steps, best.identical, notes=best.derived.notes
    )


def assemble(
    suspect: Anatomy,
    candidates: Sequence[Anatomy],
    pairs: Sequence[Pair],
    verdict: Verdict,
    command: Mapping[str, Any],
) -> Report:
    """Put the report together: records, maps, limits; nothing in it depends on time or machine."""
    records = [_record(suspect), *(_record(c) for c in candidates)]
    extra: dict[str, Any] = {
        "bytes_read": sum(r.bytes_read for r in records),
        "verdicts": [_candidate_verdict(p) for p in pairs],
        "stages": [row for p in pairs for row in origin.stage_tables(p.examinations, p.number, p.left_out)],
        "layer_map": [t for p in pairs for x in p.examinations for t in origin.layer_map_tables(x, p.number)],
        "pairing": [row for p in pairs for row in origin.pairing_tables(p.examinations, p.number)],
        "inheritance": [
            row
            for p in pairs
            for x, h in zip(p.examinations, p.histories, strict=True)
            for row in origin.inheritance_table(x, p.number, h)
        ],
        "curves": [curve for p in pairs for curve in p.curves],
        "architecture": architecture_difference(suspect, candidates[verdict.candidate]),
        "deltas": [{**plain(d), "candidate": p.number} for p in pairs for d in p.derived.deltas],
        "seed": {str(p.number): p.plan.seed for p in pairs},
    }
    return Report(
        tool={"name": "filiation", "version": __version__},
        command=command,
        models={"suspect": records[0], "candidates": records[1:]},
        evidence=tuple(e for p in pairs for e in p.evidence),
        verdict=verdict,
        limits=limits(verdict, pairs, _sampled(suspect, candidates, pairs, command.get("seed"))),
        validation=measured_null(),
        extra=extra,
    )


def _record(model: Anatomy) -> ModelRecord:
    geometry = {component: plain(sizes) for component, sizes in model.geometry.items()}
    inferred = tuple(f"{i.what} ({i.basis})" for i in model.inferences)
    return model_record(model.checkpoint, model.family, geometry, inferred)


def _candidate_verdict(pair: Pair) -> dict[str, Any]:
    """Return what was found about one candidate on its own."""
    verdict = origin.word_verdict(pair.finding, pair.number, 1, pair.derived.steps, pair.identical)
    return plain(replace(verdict, notes=pair.derived.notes))


ALWAYS = (
    "arranged",
    "direction_unknown",
    "common_ancestor_possible",
    "shared_initialisation",
    "distillation",
    "full_scramble",
)


def _sampled(
    suspect: Anatomy, candidates: Sequence[Anatomy], pairs: Sequence[Pair], word: str | None
) -> tuple[str, ...]:
    """Return what is to be said of a partial reading: whoever makes a file whose contents enter no seed knows it."""
    partly = [p for p in pairs if not p.plan.whole]
    if not partly:
        return ()
    models = [suspect, *(candidates[p.number] for p in partly)]
    if all(pinned(model.checkpoint.files) for model in models):
        return ("sampled",)
    return "sampled", "sample_predictable" if word is None else "sample_with_word"


def _computes_unknown(pair: Pair) -> bool:
    """Return whether a finding rests on what units hold in layers that were not asked what they compute."""
    held = [h for h in pair.histories if h is not None and h.weight_cosine is not None]
    found = pair.finding.relation in _RELATED
    return found and not pair.plan.whole and any(h.computed_alike is None for h in held)


def limits(verdict: Verdict, pairs: Sequence[Pair], sampled: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what this report cannot show, as keys of the phrase files."""
    found = [*ALWAYS, "copies_are_easy", *sampled]
    if any(e.test == origin.TOWERS for p in pairs for e in p.evidence):
        found.append(origin.NOT_EXAMINED)
    if any(_computes_unknown(p) for p in pairs):
        found.append("what_layers_compute")
    if any(origin.NOT_LOADED in p.finding.reasons for p in pairs):
        found.append(origin.NOT_LOADED)
    if any(e.reason == origin.BEYOND for p in pairs for e in p.evidence):
        found.append(origin.BEYOND)
    found += [note for p in pairs for x in p.examinations for note in x.notes]
    kinds = {step.kind for step in verdict.derivation}
    if "rotated" in kinds:
        found.append("dense_rotation")
    elif any(step.numbers.get("flipped") for step in verdict.derivation if step.kind == "permuted"):
        found.append("signs_destroyed")
    elif "permuted" in kinds:
        found.append("order_destroyed")
    return tuple(dict.fromkeys(found))
