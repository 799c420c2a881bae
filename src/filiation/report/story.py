"""What a report says, once, for every renderer: the answer, the models, the evidence, what happened, the limits.

A renderer decides how things look. It words nothing: all sentences are made here, from the phrase files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from filiation.evidence import Relation, Report, Verdict, plain
from filiation.report import extras
from filiation.report.answers import Answer, word_answer
from filiation.report.beside import Likeness, likeness
from filiation.report.command import command_line
from filiation.report.figures import Figures, value_text
from filiation.report.groups import KindGroup, Untested, groups, untested
from filiation.report.measured import measured
from filiation.report.models import ModelView, model_view
from filiation.report.numbers import MISSING, bans, clean, size
from filiation.report.sentences import (
    limit_text,
    role_name,
)
from filiation.report.sums import Sum, sums
from filiation.report.wording import Phrases


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage of the walk, worded."""

    name: str
    why: str
    read: str
    bans: str


@dataclass(frozen=True, slots=True)
class Story:
    """Everything a renderer shows, in the order in which it is shown."""

    language: str
    title: str
    answers: tuple[Answer, ...]
    suspect: ModelView
    candidates: tuple[ModelView, ...]
    sums: tuple[Sum, ...]
    groups: tuple[KindGroup, ...]
    cannot_show: tuple[str, ...]
    likeness: tuple[Likeness, ...]
    maps: tuple[extras.LayerMap, ...]
    inheritance: tuple[extras.Inherited, ...]
    curves: tuple[extras.Curve, ...]
    deltas: tuple[extras.Delta, ...]
    architecture: Mapping[str, tuple[str, ...]] | None
    untested: tuple[Untested, ...]
    limits: tuple[str, ...]
    stages: tuple[StageView, ...]
    command: str
    versions: Figures
    seeds: str
    bytes_read: str
    validation: str | None


def paired(story: Story, candidate: int) -> bool:
    """Whether the pairing of layers with a candidate rests on a finding, and not on equal numbers alone."""
    related = {
        Relation.IDENTICAL,
        Relation.COMMON_ORIGIN,
        Relation.SHARED_PARTS,
        Relation.SHARED_INITIALISATION,
    }
    return any(a.verdict.candidate == candidate and a.verdict.relation in related for a in story.answers)


def tell(report: Report, phrases: Phrases) -> Story:
    """Word a report."""
    models = cast("Mapping[str, Any]", plain(report.models))
    suspect = cast("Mapping[str, Any]", models.get("suspect") or {})
    candidates = cast("Sequence[Mapping[str, Any]]", models.get("candidates") or ())
    names = _names([suspect, *candidates])
    grouped = groups(phrases, report.evidence)
    return Story(
        language=phrases.language,
        title=phrases.say("ui", "title", suspect=names[0], candidate=_joined(phrases, names[1:])),
        answers=tuple(
            word_answer(phrases, v, names, _rank_note(phrases, candidates, first=not n), _tensors(suspect))
            for n, v in enumerate(verdicts(report))
        ),
        suspect=model_view(phrases, suspect, phrases.say("ui", "suspect"), names[0]),
        candidates=tuple(
            model_view(
                phrases,
                c,
                _candidate_heading(phrases, n, len(candidates)),
                names[n],
                same_files=_same_files(candidates, n - 1, phrases),
            )
            for n, c in enumerate(candidates, 1)
        ),
        sums=sums(phrases, report.evidence),
        groups=grouped,
        cannot_show=tuple(dict.fromkeys(k for g in grouped for t in g.tests for k in t.cannot_show)),
        likeness=likeness(phrases, report.evidence, report.validation),
        maps=extras.layer_maps(report),
        inheritance=_inheritance(report),
        curves=extras.curves(report),
        deltas=extras.deltas(report),
        architecture=_architecture(report, phrases),
        untested=untested(phrases, report.evidence),
        limits=tuple(dict.fromkeys(limit_text(phrases, key) for key in report.limits)),
        stages=tuple(_stage(phrases, s) for s in extras.stages(report)),
        command=command_line(report),
        versions=_tool(report),
        seeds=_seeds(report, phrases),
        bytes_read=_bytes_read(report),
        validation=measured(phrases, report.validation),
    )


def verdicts(report: Report) -> tuple[Verdict, ...]:
    """Return the report's verdict first, then those on the other candidates where the walk recorded them."""
    others = extras.verdicts(report)
    return (report.verdict, *(v for v in others if v.candidate != report.verdict.candidate))


def _names(models: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Display names; where two models have one name, their locators."""
    names = [clean(m.get("name") or m.get("locator") or MISSING) for m in models]
    return tuple(
        clean(m.get("locator") or name) if names.count(name) > 1 else name
        for m, name in zip(models, names, strict=True)
    )


def _joined(phrases: Phrases, names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return phrases.say("ui", "list_comma").join(names[:-1]) + phrases.say("ui", "and") + names[-1]


def _same_files(candidates: Sequence[Mapping[str, Any]], number: int, phrases: Phrases) -> tuple[str, ...]:
    """Return the headings of earlier candidates that are the same files at another place."""
    mine = _pinned(candidates[number])
    return tuple(
        _candidate_heading(phrases, n, len(candidates))
        for n, other in enumerate(candidates[:number], 1)
        if mine is not None and _pinned(other) == mine
    )


def _pinned(model: Mapping[str, Any]) -> str | None:
    """Return the digest of a model all of whose files were hashed: equal ones are the same files. Else None."""
    files = cast("Sequence[Mapping[str, Any]]", model.get("files") or ())
    return str(model.get("digest")) if files and all(f.get("sha256") for f in files) else None


def _tensors(model: Mapping[str, Any]) -> int:
    """Return how many tensors a model has."""
    return sum(cast("Mapping[str, int]", model.get("dtypes") or {}).values())


def _inheritance(report: Report) -> tuple[extras.Inherited, ...]:
    """Return the inheritance map; what a derivation names as not from the candidate is not called inherited in it."""
    foreign = {(v.candidate, layer) for v in verdicts(report) for layer in _foreign(v)}
    return tuple(
        replace(cell, state="labels_agree")
        if cell.state == "inherited" and (cell.candidate, cell.layer) in foreign
        else cell
        for cell in extras.inheritance(report)
    )


def _foreign(verdict: Verdict) -> set[int]:
    """Return the layers that the derivation names, wholly or in part, as not from the candidate."""
    named = (
        value
        for step in verdict.derivation
        if step.kind == "grafted"
        for key, value in step.numbers.items()
        if key == "foreign" or key.startswith("foreign_")
    )
    return {n for value in named if isinstance(value, list | tuple) for n in value if isinstance(n, int)}


def _candidate_heading(phrases: Phrases, number: int, total: int) -> str:
    return phrases.say("ui", "candidate") if total == 1 else phrases.say("ui", "candidate_n", n=number)


def _rank_note(phrases: Phrases, candidates: Sequence[Mapping[str, Any]], *, first: bool) -> tuple[str, ...]:
    """Say what a figure is worth where there are several candidates: only the first is paid for by their number."""
    count = len(candidates)
    if count < 2:
        return ()
    if not first:
        return (phrases.say("ui", "by_itself"),)
    distinct = len({_pinned(c) or f"#{n}" for n, c in enumerate(candidates)})
    key = "of_several" if distinct == count else "of_several_copies"
    return (phrases.say("ui", key, count=count, distinct=distinct),)


def _tool(report: Report) -> Figures:
    """The tool and what else it names: ``filiation 0.1.0, numpy 2.4.6``."""
    tool = {clean(k): clean(v) for k, v in sorted(report.tool.items())}
    if "version" in tool:
        tool = {tool.pop("name", "filiation"): tool.pop("version"), **tool}
    return tuple(tool.items())


def _stage(phrases: Phrases, stage: extras.Stage) -> StageView:
    key = stage.why.rpartition(".")[2]
    why = phrases.find("stage", key, "why") or phrases.find("why", key) or limit_text(phrases, stage.why)
    return StageView(phrases.name("stage", stage.name), why, size(stage.bytes_read), bans(stage.log10_e))


def _architecture(report: Report, phrases: Phrases) -> Mapping[str, tuple[str, ...]] | None:
    found = extras.architecture(report)
    if found is None:
        return None

    def part(name: object) -> str:
        """``language: tied_embeddings`` in words; the component only where it is not the language model."""
        component, _, what = clean(name).rpartition(": ")
        known = phrases.find("geometry", what) or role_name(phrases, what)
        if component in ("", "language"):
            return known
        return phrases.say("ui", "label_colon", label=phrases.name("component", component), value=known)

    changed = tuple(
        f"{part(c.get('what', ''))} {value_text(phrases, c.get('candidate'))} → {value_text(phrases, c.get('suspect'))}"
        for c in found.get("changed") or ()
    )
    return {
        "added": tuple(part(a) for a in found.get("added") or ()),
        "removed": tuple(part(r) for r in found.get("removed") or ()),
        "changed": changed,
    }


def _seeds(report: Report, phrases: Phrases) -> str:
    seeds = report.extra.get("seeds") or report.extra.get("seed")
    word = report.command.get("seed")
    note = phrases.say("ui", "seeds_note" if word is None else "seeds_note_word", word=clean(word or ""))
    if seeds is None:
        return note
    if isinstance(seeds, Mapping):
        by_candidate = cast("Mapping[str, Any]", plain(seeds))
        several = len(by_candidate) > 1
        texts = [
            f"[{int(k) + 1 if k.isdigit() else clean(k)}] {value_text(phrases, v)}"
            if several
            else value_text(phrases, v)
            for k, v in by_candidate.items()
        ]
        return f"{phrases.say('ui', 'list_semicolon').join(texts)}. {note}"
    return f"{value_text(phrases, plain(seeds))}. {note}"


def _bytes_read(report: Report) -> str:
    total = report.extra.get("bytes_read")
    return MISSING if not isinstance(total, int) else f"{total:,d} ({size(total)})"


def conclusive(report: Report) -> bool:
    """Whether the verdict settles the question either way."""
    return report.verdict.relation not in (Relation.SUGGESTIVE, Relation.CANNOT_TEST)
