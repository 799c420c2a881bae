"""What a report says, once, for every renderer: the answer, the models, the evidence, what happened, the limits.

A renderer decides how things look. It words nothing: all sentences are made here, from the phrase files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.evidence import Relation, Report, Verdict, plain
from filiation.report import extras
from filiation.report.beside import Likeness, likeness
from filiation.report.figures import Figures, figures, value_text
from filiation.report.groups import KindGroup, Untested, groups, untested
from filiation.report.measured import measured
from filiation.report.models import ModelView, model_view
from filiation.report.numbers import MISSING, bans, bound, clean, share, size
from filiation.report.sentences import (
    limit_text,
    reason_text,
    role_name,
)
from filiation.report.wording import Phrases


@dataclass(frozen=True, slots=True)
class Step:
    """One derivation: what happened and its numbers."""

    kind: str
    name: str
    text: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Answer:
    """The verdict on one candidate, worded."""

    relation: str
    name: str
    sentence: str
    means: str
    bound: str | None
    bound_meaning: str
    names_bound: bool
    facts: Figures
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    verdict: Verdict


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
        answers=tuple(_answer(phrases, v, names, first=not n) for n, v in enumerate(verdicts(report))),
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
        groups=grouped,
        cannot_show=tuple(dict.fromkeys(k for g in grouped for t in g.tests for k in t.cannot_show)),
        likeness=likeness(phrases, report.evidence, report.validation),
        maps=extras.layer_maps(report),
        inheritance=extras.inheritance(report),
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
    mine = candidates[number]
    files = cast("Sequence[Mapping[str, Any]]", mine.get("files") or ())
    if not files or not all(f.get("sha256") for f in files):
        return ()
    return tuple(
        _candidate_heading(phrases, n, len(candidates))
        for n, other in enumerate(candidates[:number], 1)
        if other.get("digest") == mine.get("digest")
    )


def _candidate_heading(phrases: Phrases, number: int, total: int) -> str:
    return phrases.say("ui", "candidate") if total == 1 else phrases.say("ui", "candidate_n", n=number)


def _answer(phrases: Phrases, verdict: Verdict, names: tuple[str, ...], *, first: bool) -> Answer:
    relation = str(verdict.relation)
    number = verdict.candidate + 1
    scope = scope_text(phrases, verdict.scope)
    values = {
        "suspect": names[0],
        "candidate": names[number] if number < len(names) else phrases.say("ui", "candidate_short"),
        "bound": bound(verdict.log10_e),
        "scope": scope or phrases.say("ui", "parts_found"),
    }
    return Answer(
        relation=relation,
        name=phrases.name("relation", relation),
        sentence=phrases.say("relation", relation, "sentence", **values),
        means=phrases.find("relation", relation, "means") or "",
        bound=None if verdict.log10_e is None else bound(verdict.log10_e),
        bound_meaning=_bound_meaning(phrases, verdict),
        names_bound=_names_bound(verdict),
        facts=_answer_facts(phrases, verdict, scope),
        steps=tuple(_step(phrases, d.kind, _with_names(d.numbers, names)) for d in verdict.derivation),
        notes=(*_rank_note(phrases, len(names) - 1, first=first), *_notes(phrases, verdict)),
        verdict=verdict,
    )


def _rank_note(phrases: Phrases, candidates: int, *, first: bool) -> tuple[str, ...]:
    """Say what a figure is worth where there are several candidates: only the first is paid for by their number."""
    if candidates < 2:
        return ()
    return (phrases.say("ui", "of_several" if first else "by_itself", count=candidates),)


def _notes(phrases: Phrases, verdict: Verdict) -> tuple[str, ...]:
    """Why it is this relation and no stronger one, then the walk's notes."""
    why = [reason_text(phrases, verdict.reason)] if verdict.reason and verdict.log10_e is not None else []
    if verdict.relation is Relation.NONE_FOUND and verdict.reason == "no_test_rejected":
        why = []  # what the meaning of the bound says already
    return tuple(dict.fromkeys([*why, *(limit_text(phrases, note) for note in verdict.notes)]))


def _with_names(numbers: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    """Weights of a merge are kept by the candidates' numbers; a reader wants their names."""
    weights = numbers.get("weights")
    if not isinstance(weights, Mapping):
        return numbers
    by_number = cast("Mapping[str, Any]", weights)
    named = {
        names[int(k) + 1] if k.isdigit() and int(k) + 1 < len(names) else k: v for k, v in by_number.items()
    }
    return {**numbers, "weights": named}


def _names_bound(verdict: Verdict) -> bool:
    """Whether there is a bound that says something: "at most 1" is noise to whoever reads it."""
    return verdict.log10_e is not None and verdict.log10_e > 0 and verdict.relation is not Relation.NONE_FOUND


def _bound_meaning(phrases: Phrases, verdict: Verdict) -> str:
    """What 1/e means and does not mean: it must stand beside the number."""
    if verdict.log10_e is None:
        if not verdict.reason:
            return ""
        return phrases.say("bound", "undefined", reason=reason_text(phrases, verdict.reason))
    if not _names_bound(verdict):
        return phrases.say("bound", "none")
    meaning = phrases.say("bound", "meaning", bound=bound(verdict.log10_e))
    return phrases.say("ui", "sentence_join").join((meaning, phrases.say("bound", "not_meaning")))


def _answer_facts(phrases: Phrases, verdict: Verdict, scope: str) -> Figures:
    facts: list[tuple[str, str]] = []
    if verdict.log10_e is not None:
        key = "strength_value" if _names_bound(verdict) else "strength_none"
        value = phrases.say("ui", key, bans=bans(verdict.log10_e), bound=bound(verdict.log10_e))
        facts.append((phrases.say("ui", "strength"), value))
    if verdict.inherited_share is not None:
        facts.append((phrases.say("ui", "inherited_share"), share(verdict.inherited_share)))
    if scope:
        facts.append((phrases.say("ui", "scope"), scope))
    return tuple(facts)


def scope_text(phrases: Phrases, scope: Sequence[str]) -> str:
    """Return the wording of ``verdict.scope``: entries such as ``language: layers 0-3`` or ``vision``.

    The component is named only where it is not the language model alone.
    """
    entries = [(head, rest) if rest else (None, head) for head, _, rest in (s.partition(": ") for s in scope)]
    alone = {head for head, _ in entries} <= {None, "language"}
    texts: list[str] = []
    for component, what in entries:
        text = _scope_entry(phrases, what)
        if component and not alone:
            text = phrases.say("ui", "label_colon", label=phrases.name("component", component), value=text)
        texts.append(text)
    return phrases.say("ui", "list_comma").join(texts)


def _scope_entry(phrases: Phrases, what: str) -> str:
    if layers := re.fullmatch(r"layers?[ =]+([\d,\s–-]+)", what):
        return phrases.say("scope", "layers", layers=layers[1].strip().replace("-", "–"))
    return phrases.resolve(what.replace(" ", "_"), "scope", "role", "component") or clean(what).replace(
        "_", " "
    )


def _step(phrases: Phrases, kind: str, numbers: Mapping[str, Any]) -> Step:
    return Step(
        kind=kind,
        name=phrases.name("derivation", kind),
        text=phrases.find("derivation", kind, "text") or "",
        figures=figures(phrases, numbers),
    )


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


def command_line(report: Report) -> str:
    """Return the one command that makes this report again."""
    command = cast("Mapping[str, Any]", plain(report.command))
    words = ["filiation", str(command.get("name") or "compare"), str(command.get("suspect") or "")]
    words += [str(c) for c in command.get("candidates") or ()]
    words += ["--full"] if command.get("full") else []
    for option in ("budget", "base"):
        if command.get(option) is not None:
            words += [f"--{option}", str(command[option])]
    return " ".join(shlex.quote(clean(word)) for word in words if word)


def _seeds(report: Report, phrases: Phrases) -> str:
    seeds = report.extra.get("seeds") or report.extra.get("seed")
    note = phrases.say("ui", "seeds_note")
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
