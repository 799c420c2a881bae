"""The report of a comparison: the verdict over all candidates, records, maps, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filiation import derivation, origin
from filiation._version import __version__
from filiation.anatomy.architecture import architecture_difference
from filiation.anatomy.model import Anatomy
from filiation.checkpoint.record import model_record
from filiation.comparison.limits import limits, of_files, sampled
from filiation.comparison.pair import Pair
from filiation.evidence import ModelRecord, Relation, Report, Verdict, measured_null, plain
from filiation.origin.verdict import RELATED


def overall_verdict(suspect: Anatomy, candidates: Sequence[Anatomy], pairs: Sequence[Pair]) -> Verdict:
    """Return the verdict for the candidate with the strongest evidence, paid for by the number of candidates.

    Equal files at several places count once: the first stands for all, so that there is nothing to choose.
    """
    different = _different(candidates)
    pairs = [p for p in pairs if p.number in different]
    best = max(pairs, key=lambda p: origin.strength(p.finding, identical=p.identical))
    steps = best.derived.steps
    # The lesser part of a merge reads like a shared start; the mixture itself says how much of each there is.
    related = [p for p in pairs if p.finding.relation in (*RELATED, Relation.SHARED_INITIALISATION)]
    if len(related) > 1 and not best.identical:
        mixture = derivation.decompose(
            suspect,
            [candidates[p.number] for p in related],
            [p.examinations for p in related],
            best.plan,
            numbers=[p.number for p in related],
        )
        steps = (*steps, mixture) if mixture is not None else steps
    notes = best.derived.notes
    if best.finding.relation is Relation.NONE_FOUND and any(
        "budget_spent" in x.notes for x in best.examinations
    ):
        notes = (*notes, "budget_spent")  # a search that was cut short is no finding that nothing is there
    return origin.word_verdict(best.finding, best.number, len(pairs), steps, best.identical, notes=notes)


def _different(candidates: Sequence[Anatomy]) -> tuple[int, ...]:
    """Return the numbers of the candidates without those whose files equal an earlier one's.

    Only digests of models all of whose files were hashed say so.
    """
    firsts: dict[str, int] = {}
    for n, model in enumerate(candidates):
        hashed = all(file.sha256 for file in model.checkpoint.files)
        firsts.setdefault(model.checkpoint.digest if hashed else f"candidate {n}", n)
    return tuple(firsts.values())


def assemble(
    suspect: Anatomy,
    candidates: Sequence[Anatomy],
    pairs: Sequence[Pair],
    verdict: Verdict,
    command: Mapping[str, Any],
) -> Report:
    """Put the report together: records, maps, limits; nothing in it depends on time or machine."""
    records = [_record(suspect), *(_record(c) for c in candidates)]
    word, full = command.get("seed"), bool(command.get("full"))
    read = sampled(suspect, candidates, pairs, word, full=full)
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
        limits=limits(verdict, pairs, (*read, *of_files([suspect, *candidates]))),
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
