"""What a report says, once, for every renderer: the answer, the models, the evidence, what happened, the limits.

A renderer decides how things look. It words nothing: all sentences are made here, from the phrase files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.evidence import Background, Evidence, Relation, Report, Status, Verdict, plain
from filiation.report import extras
from filiation.report.groups import (
    KindGroup,
    Untested,
    groups,
    is_likeness,
    limit_text,
    plain_text,
    question_text,
    reason_text,
    name_of_test,
    untested,
)
from filiation.report.numbers import MISSING, bans, bound, clean, figure, ranges, share, size
from filiation.report.wording import Phrases

_MAX_LIST = 12
Figures = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FileView:
    """One file of a model, ready to print."""

    name: str
    size: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ModelView:
    """One of the models: a heading, and its facts as label and value."""

    heading: str
    name: str
    facts: Figures
    files: tuple[FileView, ...]


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
    facts: Figures
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Likeness:
    """A similarity statistic beside what unrelated pairs show."""

    name: str
    question: str
    plain: str
    background: str
    rate: str | None
    source: str | None
    shows: str | None
    evidence: Evidence


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
    validation: Figures | None


def tell(report: Report, phrases: Phrases) -> Story:
    """Word a report."""
    models = cast("Mapping[str, Any]", plain(report.models))
    suspect = cast("Mapping[str, Any]", models.get("suspect") or {})
    candidates = cast("Sequence[Mapping[str, Any]]", models.get("candidates") or ())
    names = _names([suspect, *candidates])
    return Story(
        language=phrases.language,
        title=phrases.say("ui", "title", suspect=names[0], candidate=_joined(phrases, names[1:])),
        answers=tuple(_answer(phrases, v, names) for v in _verdicts(report)),
        suspect=_model(phrases, suspect, phrases.say("ui", "suspect"), names[0]),
        candidates=tuple(
            _model(phrases, c, _candidate_heading(phrases, n, len(candidates)), names[n])
            for n, c in enumerate(candidates, 1)
        ),
        groups=groups(phrases, report.evidence),
        likeness=_likeness(phrases, report.evidence),
        maps=extras.layer_maps(report),
        inheritance=extras.inheritance(report),
        curves=extras.curves(report),
        deltas=extras.deltas(report),
        architecture=_architecture(report),
        untested=untested(phrases, report.evidence),
        limits=tuple(dict.fromkeys(limit_text(phrases, key) for key in report.limits)),
        stages=tuple(_stage(phrases, s) for s in extras.stages(report)),
        command=command_line(report),
        versions=tuple((clean(k), clean(v)) for k, v in report.tool.items()),
        seeds=_seeds(report, phrases),
        bytes_read=_bytes_read(report),
        validation=figures(phrases, report.validation) if report.validation else None,
    )


def _verdicts(report: Report) -> tuple[Verdict, ...]:
    """The report's verdict first, then those on the other candidates where the walk recorded them."""
    others = report.extra.get("verdicts", ())
    found = [v for v in others if isinstance(v, Verdict) and v.candidate != report.verdict.candidate]
    return (report.verdict, *found)


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


def _candidate_heading(phrases: Phrases, number: int, total: int) -> str:
    return phrases.say("ui", "candidate") if total == 1 else phrases.say("ui", "candidate_n", n=number)


def _answer(phrases: Phrases, verdict: Verdict, names: tuple[str, ...]) -> Answer:
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
        facts=_answer_facts(phrases, verdict, scope),
        steps=tuple(_step(phrases, d.kind, d.numbers) for d in verdict.derivation),
        notes=tuple(limit_text(phrases, note) for note in verdict.notes),
        verdict=verdict,
    )


def _bound_meaning(phrases: Phrases, verdict: Verdict) -> str:
    """What 1/e means and does not mean: it must stand beside the number."""
    if verdict.log10_e is None:
        if not verdict.reason:
            return ""
        return phrases.say("bound", "undefined", reason=reason_text(phrases, verdict.reason))
    if verdict.log10_e <= 0:
        return phrases.say("bound", "none")
    meaning = phrases.say("bound", "meaning", bound=bound(verdict.log10_e))
    return phrases.say("ui", "sentence_join").join((meaning, phrases.say("bound", "not_meaning")))


def _answer_facts(phrases: Phrases, verdict: Verdict, scope: str) -> Figures:
    facts: list[tuple[str, str]] = []
    if verdict.log10_e is not None:
        value = phrases.say("ui", "strength_value", bans=bans(verdict.log10_e), bound=bound(verdict.log10_e))
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


def figures(phrases: Phrases, numbers: Mapping[str, Any]) -> Figures:
    """Return numbers of any kind as label and text; long lists are cut, with the count of what is left."""
    record = cast("Mapping[str, Any]", plain(numbers))
    return tuple((clean(phrases.name("number", k)), _value(phrases, v)) for k, v in record.items())


def _value(phrases: Phrases, value: Any) -> str:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        parts = [f"{clean(phrases.name('number', k))} {_value(phrases, v)}" for k, v in items]
        return _cut(phrases, parts)
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        if entries and all(isinstance(e, int) and not isinstance(e, bool) for e in entries):
            whole = cast("list[int]", entries)
            if whole == sorted(set(whole)):
                return _cut(phrases, ranges(whole).split(", "))
        return _cut(phrases, [_value(phrases, e) for e in entries])
    return limit_text(phrases, value) if isinstance(value, str) else figure(value)


def _cut(phrases: Phrases, parts: list[str]) -> str:
    if not parts:
        return MISSING
    shown = ", ".join(parts[:_MAX_LIST])
    more = len(parts) - _MAX_LIST
    return shown if more <= 0 else f"{shown}, {phrases.say('ui', 'more', count=more)}"


def _model(phrases: Phrases, model: Mapping[str, Any], heading: str, name: str) -> ModelView:
    def label(key: str) -> str:
        return phrases.say("ui", key)

    facts = [
        (label("name"), name),
        (label("locator"), clean(model.get("locator") or MISSING)),
        (label("digest"), clean(model.get("digest") or MISSING)),
        (label("revision"), clean(model.get("revision") or "")),
        (label("format"), clean(model.get("format") or MISSING)),
        (label("family"), clean(model.get("family") or "")),
        (label("geometry"), _geometry(phrases, model.get("geometry") or {})),
        (label("parameters"), figure(model["parameters"]) if model.get("parameters") else ""),
        (label("dtypes"), _dtypes(model.get("dtypes") or {})),
        (label("stored"), size(model.get("total_bytes") or 0)),
        (label("read"), f"{model.get('bytes_read') or 0:,d} ({size(model.get('bytes_read') or 0)})"),
        (label("inferred"), "; ".join(clean(i) for i in model.get("inferred") or ())),
    ]
    files = tuple(_file(phrases, f) for f in model.get("files") or ())
    return ModelView(heading, name, tuple((k, v) for k, v in facts if v), files)


def _file(phrases: Phrases, file: Mapping[str, Any]) -> FileView:
    sha256 = file.get("sha256")
    if not sha256:
        why = file.get("not_hashed")
        sha256 = (
            phrases.say("ui", "not_hashed", reason=reason_text(phrases, why))
            if why
            else phrases.say("ui", "not_hashed_plain")
        )
    return FileView(clean(file.get("name", "")), f"{file.get('size', 0):,d}", clean(sha256))


def _geometry(phrases: Phrases, geometry: Mapping[str, Any]) -> str:
    nested = any(isinstance(v, Mapping) for v in geometry.values())
    components = cast("Mapping[str, Mapping[str, Any]]", geometry) if nested else {"": geometry}
    texts: list[str] = []
    for component, sizes in components.items():
        shown = [
            f"{phrases.name('geometry', k)} {figure(v)}"
            for k, v in sizes.items()
            if v is not None and not isinstance(v, bool | Mapping | list)
        ]
        head = f"{phrases.name('component', component)}: " if len(components) > 1 else ""
        texts.append(head + ", ".join(shown))
    return "; ".join(texts)


def _dtypes(dtypes: Mapping[str, int]) -> str:
    return ", ".join(f"{clean(kind)} × {number:,d}" for kind, number in dtypes.items())


def _likeness(phrases: Phrases, evidence: Sequence[Evidence]) -> tuple[Likeness, ...]:
    return tuple(
        _likeness_view(phrases, e) for e in evidence if e.status is Status.APPLIED and is_likeness(e)
    )


def _likeness_view(phrases: Phrases, e: Evidence) -> Likeness:
    template = phrases.find("test", e.test, "plain")
    said = plain_text(phrases, e)
    if template and e.statistic is not None:
        said = phrases.fill(template, x=f"{e.statistic:.3f}")
    text, rate, source = _background(phrases, e.background)
    return Likeness(
        name=name_of_test(phrases, e.test),
        question=question_text(phrases, e),
        plain=clean(said),
        background=text,
        rate=rate,
        source=source,
        shows=phrases.find("test", e.test, "shows"),
        evidence=e,
    )


def _background(phrases: Phrases, background: Background | None) -> tuple[str, str | None, str | None]:
    if background is None:
        return phrases.say("ui", "no_background"), None, None
    named = quantiles(background)
    pairs = phrases.say(
        "ui",
        "background_pairs" if background.n_families is None else "background_pairs_families",
        pairs=figure(background.n_pairs),
        families=figure(background.n_families),
    )
    known = {
        key: f"{named[level]:.3g}"
        for key, level in (("median", 0.5), ("q95", 0.95), ("max", 1.0))
        if level in named
    }
    if len(known) == 3:
        text = phrases.say("ui", "background_text", **known)
    else:
        listed = ", ".join(f"{clean(k)} {v:.3g}" for k, v in background.quantiles.items())
        text = listed or clean(background.description)
            background.description
        )
    rate = background.false_positive_rate
    return (
        f"{text} ({pairs})",
        None if rate is None else phrases.say("ui", "background_rate", rate=share(rate)),
        clean(background.source) or None,
    )


_NAMED = {"min": 0.0, "minimum": 0.0, "median": 0.5, "max": 1.0, "maximum": 1.0}


def quantiles(background: Background) -> dict[float, float]:
    """Return the quantiles by level in [0, 1]: ``"median"``, ``"0.95"``, ``"q95"`` and ``"95%"`` are understood."""
    found: dict[float, float] = {}
    for key, value in background.quantiles.items():
        name = key.strip().lower()
        if name in _NAMED:
            found[_NAMED[name]] = value
        elif match := re.fullmatch(r"[qp]?(\d+(?:\.\d+)?)\s*%?", name):
            level = float(match[1])
            as_share = level <= 1 and not name.endswith("%") and name[0] not in "qp"
            found[level if as_share else level / 100] = value
    return dict(sorted(found.items()))


def _stage(phrases: Phrases, stage: extras.Stage) -> StageView:
    key = stage.why.rpartition(".")[2]
    why = phrases.find("stage", key, "why") or phrases.find("why", key) or limit_text(phrases, stage.why)
    return StageView(phrases.name("stage", stage.name), why, size(stage.bytes_read), bans(stage.log10_e))


def _architecture(report: Report) -> Mapping[str, tuple[str, ...]] | None:
    found = extras.architecture(report)
    if found is None:
        return None
    changed = tuple(
        f"{clean(c.get('what', ''))}: {figure(c.get('candidate'))} → {figure(c.get('suspect'))}"
        for c in found.get("changed") or ()
    )
    return {
        "added": tuple(clean(a) for a in found.get("added") or ()),
        "removed": tuple(clean(r) for r in found.get("removed") or ()),
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
    return note if seeds is None else f"{_value(phrases, plain(seeds))}. {note}"


def _bytes_read(report: Report) -> str:
    total = report.extra.get("bytes_read")
    return MISSING if not isinstance(total, int) else f"{total:,d} ({size(total)})"


def conclusive(report: Report) -> bool:
    """Whether the verdict settles the question either way."""
    return report.verdict.relation not in (Relation.SUGGESTIVE, Relation.CANNOT_TEST)
