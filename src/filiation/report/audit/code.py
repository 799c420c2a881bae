"""The source findings, worded: each file, its rename map, its copyright lines, its statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from filiation.auditing.records import AuditReport
from filiation.evidence import Evidence
from filiation.report.audit.answer import head_of, names_of
from filiation.report.audit.words import percent, release_name
from filiation.report.figures import Figures
from filiation.report.numbers import MISSING, clean, count, decimal, figure
from filiation.report.wording import Phrases
from filiation.source import Candidate, FileFound, HeaderFinding, Level, Match, RenameMap

_MOST_RENAMES = 30
_MOST_CANDIDATES = 3
_MOST_STATEMENTS = 6


@dataclass(frozen=True, slots=True)
class Names:
    """A rename map, worded: what it says in one sentence, its rules and its names."""

    text: str
    rows: tuple[tuple[str, str, str], ...]
    left: int
    survivors: str


@dataclass(frozen=True, slots=True)
class Beside:
    """Two matched definitions by their positions."""

    suspect: str
    reference: str
    definition: str
    share: str
    nodes: str


@dataclass(frozen=True, slots=True)
class CodeView:
    """One file of the suspect and what it has in common with its closest reference."""

    file: str
    level: str
    level_name: str
    shows: str
    facts: Figures
    names: Names | None
    definitions: tuple[Beside, ...]


def views(report: AuditReport, phrases: Phrases) -> tuple[CodeView, ...]:
    """Return the files with a finding, the strongest and largest first."""
    order = {level: n for n, level in enumerate(Level)}
    told = [f for f in report.source.files if f.level is not Level.NO_FINDING]
    told.sort(key=lambda f: (order[f.level], -f.nodes, f.file))
    return tuple(_view(f, report, phrases) for f in told)


def others(report: AuditReport) -> tuple[str, ...]:
    """Return the files without a finding."""
    return tuple(clean(f.file) for f in report.source.files if f.level is Level.NO_FINDING)


def _view(file: FileFound, report: AuditReport, phrases: Phrases) -> CodeView:
    names = names_of(report)
    own = [m for m in report.source.matches if m.suspect.file == file.file]
    facts = [*_measured(file, names, phrases), *_head_facts(head_of(report, file.file), phrases)]
    record = next((e for e in report.evidence if e.id == f"source.code/{file.file}"), None)
    return CodeView(
        clean(file.file),
        str(file.level),
        phrases.name_at("source", "level", str(file.level)),
        _shows(record, file, phrases),
        tuple((phrases.say("audit", "code", key), value) for key, value in facts),
        _names(file.rename_map, phrases),
        tuple(_beside(m, names) for m in sorted(own, key=lambda m: -m.nodes)),
    )


def _shows(record: Evidence | None, file: FileFound, phrases: Phrases) -> str:
    key = f"source_{file.level}{'_whole' if file.holds else ''}"
    known = phrases.find("shows", key)
    return known or (phrases.resolve(record.shows or "", "shows") if record else None) or ""


def _measured(file: FileFound, names: Mapping[str, str], phrases: Phrases) -> Iterator[tuple[str, str]]:
    def say(key: str, **values: object) -> str:
        return phrases.say("audit", "code", key, **values)

    reference = release_name(file.reference, names)
    yield "reference", f"{reference} · {clean(file.reference_file or MISSING)}"
    shares = {"share": percent(file.share), "reverse": percent(file.reverse_share)}
    yield "share", say("share_value", nodes=count(file.nodes), **shares)
    best = file.best
    if best is not None:
        key = "rank_value" if file.margin is not None else "rank_alone"
        yield "rank", say(key, score=decimal(best.score, 2), margin=decimal(file.margin or 0.0, 2))
        yield "rare", say("rare_value", count=figure(best.rare))
        if best.p_value is not None:
            yield "chance", say("chance_value", p=decimal(best.p_value, 4))
    yield "run", count(file.longest_run)
    if file.explained_by is not None:
        beyond = percent(file.beyond)
        yield "explained", say("explained_value", file=clean(file.explained_by), beyond=beyond)
    elif file.beyond is not None:
        yield "beyond", percent(file.beyond)
    if len(file.candidates) > 1:
        listed = [_candidate(c, names, phrases) for c in file.candidates[:_MOST_CANDIDATES]]
        yield "candidates", phrases.say("ui", "list_semicolon").join(listed)


def _candidate(found: Candidate, names: Mapping[str, str], phrases: Phrases) -> str:
    known = {"year": found.year, "released": found.released}
    key = "dates" if all(known.values()) else next((k for k, v in known.items() if v), None)
    dates = phrases.say("audit", "code", f"candidate_{key}", **known) if key else ""
    return phrases.say(
        "audit",
        "code",
        "candidate_value",
        file=clean(found.file.rpartition("/")[2]),
        repository=release_name(found.repository, names),
        score=decimal(found.score, 2),
        rare=figure(found.rare),
        dates=dates,
    )


def _head_facts(head: HeaderFinding | None, phrases: Phrases) -> Iterator[tuple[str, str]]:
    if head is None or head.reference is None:
        return
    comma = phrases.say("ui", "list_comma")

    def listed(names: tuple[str, ...]) -> str:
        return comma.join(clean(n) for n in names) or MISSING

    state = phrases.name_at("source", "header", str(head.state))
    values = {"kept": listed(head.kept), "removed": listed(head.removed), "added": listed(head.added)}
    yield "header", phrases.say("audit", "code", "header_value", state=state, **values)
    here, there = clean(head.licence or MISSING), clean(head.reference_licence or MISSING)
    yield "licence", phrases.say("audit", "code", "licence_value", here=here, there=there)
    for key, said in (("attributions", head.attributions), ("denied", head.denied)):
        if said:
            shown = [f"{line}: {clean(text)[:120]}" for line, text in said[:_MOST_STATEMENTS]]
            more = len(said) - len(shown)
            shown += [phrases.say("ui", "more", count=more)] if more > 0 else []
            yield key, phrases.say("ui", "list_semicolon").join(shown)


def _names(found: RenameMap, phrases: Phrases) -> Names | None:
    if not found.names:
        return None
    values = {
        "changed": count(len(found.names)),
        "kept": count(found.kept),
        "share": percent(found.one_to_one),
    }
    unknown = phrases.say("audit", "ui", "name_hashed")
    rows = [
        (clean(r.suspect), clean(r.reference) if r.reference else unknown, count(r.count))
        for r in (*found.rules, *found.names)
    ]
    text = phrases.say("audit", "ui", "renames_text", **values)
    hashed = sum(r.reference is None for r in found.names)
    if hashed:
        text = f"{text} {phrases.say('audit', 'ui', 'renames_hashed', count=count(hashed))}"
    return Names(
        text,
        tuple(rows[:_MOST_RENAMES]),
        max(0, len(rows) - _MOST_RENAMES),
        phrases.say("ui", "list_comma").join(clean(s) for s in found.survivors[:12]),
    )


def _beside(match: Match, names: Mapping[str, str]) -> Beside:
    mine, theirs = match.suspect, match.reference
    here, there = clean(mine.definition), clean(theirs.definition)
    return Beside(
        f"{clean(mine.file)}:{mine.line}–{mine.end}",
        f"{release_name(theirs.repository, names)} · {clean(theirs.file)}:{theirs.line}–{theirs.end}",
        here if here == there else f"{here} ↔ {there}",
        percent(match.share),
        count(match.nodes),
    )


def copied(report: AuditReport, phrases: Phrases) -> tuple[tuple[str, str, str], ...]:
    """Return the checked statements 'Copied from': where, what they name, what the check gave."""
    rows: list[tuple[str, str, str]] = []
    for each in sorted(report.source.copied_from, key=lambda c: (str(c.status) == "agrees", c.file, c.line)):
        status = phrases.name_at("source", "copied", str(each.status))
        against = f" ({clean(each.release)})" if each.release else ""
        rows.append((f"{clean(each.file)}:{each.line}", clean(each.source), f"{status}{against}"))
    return tuple(rows)


def copied_counts(report: AuditReport, phrases: Phrases) -> Figures:
    """Return how many statements 'Copied from' each check gave what."""
    counted = Counter(str(c.status) for c in report.source.copied_from)
    return tuple((phrases.name_at("source", "copied", s), count(n)) for s, n in sorted(counted.items()))


def disclosed(report: AuditReport, phrases: Phrases) -> tuple[tuple[str, str, str], ...]:
    """Return the inheritance that files state: where, from what, which names."""
    return tuple(
        (f"{clean(d.file)}:{d.line}", clean(d.source), phrases.say("ui", "list_comma").join(d.names[:12]))
        for d in report.source.disclosed
    )
