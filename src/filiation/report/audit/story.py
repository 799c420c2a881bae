"""What an audit's report says, once, for every renderer. A renderer decides how things look; it words nothing."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from filiation.auditing.records import AuditReport, NotExamined, ParentRecord, RepositoryRecord
from filiation.disclosure import RuleResult
from filiation.evidence import Claim
from filiation.report.audit import code
from filiation.report.audit.answer import Answer, answer, names_of
from filiation.report.audit.tokens import TokenizerView, tokenizer
from filiation.report.audit.words import place, release_name, shown, worded
from filiation.report.figures import Figures
from filiation.report.models import FileView
from filiation.report.numbers import MISSING, clean, count, size
from filiation.report.sentences import sentence
from filiation.report.wording import Phrases
from filiation.traces import Trace

_DETAILS = (
    "rare", "rare_segments", "log10_surprise", "order_equal", "left", "right", "only_in_reference", "shards",
    "reference_shards", "after_the_reference_ended", "rewritten", "git_id", "sha256",
)  # fmt: skip
_OWED, _OPEN = ("contradicted", "missing"), ("cannot_tell",)
_MOST_FILES = 3
_MOST_ALIKE = 4


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """A repository: a heading, its facts, its files."""

    heading: str
    name: str
    facts: Figures
    files: tuple[FileView, ...]


@dataclass(frozen=True, slots=True)
class TraceRow:
    """One trace: its kind, where it is, what was found, and details."""

    kind: str
    place: str
    found: str
    details: str


@dataclass(frozen=True, slots=True)
class TraceGroup:
    """The traces of the repository alone, or with one reference."""

    heading: str
    rows: tuple[TraceRow, ...]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What one rule found; a row may stand for several results, so that counts are those of ``results``."""

    id: str
    question: str
    status: str
    status_name: str
    reason: str
    clause: str
    place: str
    parent: str = ""
    results: int = 1


def counted(rows: Sequence[RuleRow]) -> int:
    """Return how many results some rows stand for: the number that the JSON gives."""
    return sum(row.results for row in rows)


@dataclass(frozen=True, slots=True)
class LeftRow:
    """Files that were left out for one reason."""

    reason: str
    count: int
    files: str


@dataclass(frozen=True, slots=True)
class AuditStory:
    """Everything a renderer shows, in the order in which it is shown."""

    language: str
    title: str
    answer: Answer
    advice: str
    suspect: RepositoryView
    references: tuple[RepositoryView, ...]
    corpus: Figures
    traces: tuple[TraceGroup, ...]
    tokenizers: tuple[TokenizerView, ...]
    recognised: str
    code: tuple[code.CodeView, ...]
    code_others: tuple[str, ...]
    code_examined: int
    copied: tuple[tuple[str, str, str], ...]
    copied_counts: Figures
    disclosed: tuple[tuple[str, str, str], ...]
    claims: tuple[tuple[str, str, str], ...]
    parents: tuple[tuple[str, str, str], ...]
    owed: tuple[RuleRow, ...]
    open: tuple[RuleRow, ...]
    satisfied: tuple[RuleRow, ...]
    idle: tuple[RuleRow, ...]
    alternatives: tuple[str, ...]
    left: tuple[LeftRow, ...]
    limits: tuple[str, ...]
    validation: str | None
    command: str
    versions: Figures


def tell(report: AuditReport, phrases: Phrases) -> AuditStory:
    """Word a report."""

    def of(*statuses: str) -> tuple[RuleRow, ...]:
        return tuple(_rules([r for status in statuses for r in report.rules if r.status == status], phrases))

    references = report.models.references
    several = len(references) > 1
    return AuditStory(
        language=phrases.language,
        title=phrases.say("audit", "title", name=clean(report.models.suspect.name)),
        answer=answer(report, phrases),
        advice=phrases.say("disclosure", "not_legal_advice"),
        suspect=_repository(report.models.suspect, phrases.say("audit", "ui", "suspect"), phrases),
        references=tuple(
            _repository(
                r, phrases.say("audit", "ui", "reference_n" if several else "reference", n=n), phrases
            )
            for n, r in enumerate(references, 1)
        ),
        corpus=tuple(_release(name, fact) for name, fact in report.source.corpus.items()),
        traces=tuple(_traces(report, phrases)),
        tokenizers=tuple(tokenizer(c, report, phrases) for c in report.tokenizer.comparisons),
        recognised=phrases.say("ui", "list_comma").join(clean(n) for n in report.tokenizer.recognised),
        code=code.views(report, phrases),
        code_others=code.others(report),
        code_examined=len(report.source.files),
        copied=code.copied(report, phrases),
        copied_counts=code.copied_counts(report, phrases),
        disclosed=code.disclosed(report, phrases),
        claims=tuple(_claims(report, phrases)),
        parents=tuple(_parent(p, report, phrases) for p in report.parents),
        owed=of(*_OWED),
        open=of(*_OPEN),
        satisfied=of("satisfied"),
        idle=of("not_applicable"),
        alternatives=tuple(dict.fromkeys(_alternatives(report, phrases))),
        left=tuple(_left(report, phrases)),
        limits=tuple(_limits(report, phrases)),
        validation=_validation(report, phrases),
        command=command_line(report),
        versions=((clean(report.tool.get("name", "")), clean(report.tool.get("version", ""))),),
    )


def _repository(found: RepositoryRecord, heading: str, phrases: Phrases) -> RepositoryView:
    def label(key: str) -> str:
        return phrases.find("audit", "ui", key) or phrases.say("ui", key)

    sizes = [file.size for file in found.files if file.size is not None]
    total = size(sum(sizes)) if sizes else MISSING
    facts = [
        ("name", clean(found.name)),
        ("locator", clean(found.locator)),
        ("revision", clean(found.revision or "")),
        ("digest", found.digest),
        ("files", phrases.say("audit", "ui", "files_of", count=count(len(found.files)), size=total)),
    ]
    if found.history is not None:
        h = found.history
        values = {"commits": count(h.commits), "first": clean(h.first), "last": clean(h.last)}
        facts.append(("history", phrases.say("audit", "ui", "history_of", **values)))
    files = tuple(
        FileView(
            clean(f.path), MISSING if f.size is None else f"{f.size:,d}", f.sha256 or f.git_id or MISSING
        )
        for f in found.files
    )
    return RepositoryView(heading, clean(found.name), tuple((label(k), v) for k, v in facts if v), files)


def _traces(report: AuditReport, phrases: Phrases) -> Iterator[TraceGroup]:
    alone = [t for t in report.traces if t.reference is None]
    for number, reference in enumerate(report.models.references):
        rows = tuple(_trace(t, phrases) for t in report.traces if t.reference == number)
        if rows:
            heading = phrases.say("audit", "ui", "traces_with", reference=clean(reference.name))
            yield TraceGroup(heading, rows)
    if alone:
        yield TraceGroup(phrases.say("audit", "ui", "traces_alone"), tuple(_trace(t, phrases) for t in alone))


def _trace(trace: Trace, phrases: Phrases) -> TraceRow:
    values = {"file": trace.place.file, **trace.numbers}
    details = [
        phrases.say(
            "ui", "label_colon", label=phrases.name_at("audit", "number", key), value=shown(phrases, value)
        )
        for key in _DETAILS
        if (value := trace.numbers.get(key)) not in (None, [], {})
        and not (key == "git_id" and "sha256" in values)
    ]
    return TraceRow(
        phrases.name_at("test", trace.kind, "name"),
        place(phrases, trace.place),
        worded(phrases, trace.shows, **values),
        phrases.say("ui", "list_semicolon").join(details),
    )


def _release(name: str, fact: str) -> tuple[str, str]:
    """A release of the corpus: its name with its date, and the digest of what it was built from."""
    date, _, digest = clean(fact).partition(" ")
    return f"{clean(name)} ({date})", digest.removeprefix("sha256:")


def _claims(report: AuditReport, phrases: Phrases) -> Iterator[tuple[str, str, str]]:
    """Yield what is said, by subject and file: a list of datasets is one claim to a reader."""
    grouped: dict[tuple[str, str | None], list[Claim]] = {}
    for claim in report.claims:
        grouped.setdefault((claim.subject, claim.place.file), []).append(claim)
    for (subject, _), claims in grouped.items():
        texts = list(dict.fromkeys(_claimed(claim, phrases) for claim in claims))
        yield (
            phrases.name_at("audit", "claim", subject),
            shown(phrases, texts),
            place(phrases, claims[0].place),
        )


def _claimed(claim: Claim, phrases: Phrases) -> str:
    if claim.subject == "card_problem":
        return worded(phrases, claim.text if "." in claim.text else f"disclosure.problem.{claim.text}")
    return clean(claim.text)[:300]


def _parent(found: ParentRecord, report: AuditReport, phrases: Phrases) -> tuple[str, str, str]:
    comma = phrases.say("ui", "list_comma")
    basis = comma.join(phrases.name_at("audit", "basis", b) for b in found.basis)
    licences = comma.join(
        clean(x) for x in (*found.licences, *found.code_licences, *(f"{o}?" for o in found.open))
    )
    name = release_name(found.name, names_of(report))
    return name, basis + (f" ({place(phrases, found.place)})" if found.place else ""), licences or MISSING


def _rules(rules: Sequence[RuleResult], phrases: Phrases) -> Iterator[RuleRow]:
    """Yield a row for each result; rules that say one thing share a row, and one that says it often is cut short."""
    rows: dict[tuple[str, ...], RuleRow] = {}
    often = Counter((r.id, r.reason) for r in rules)
    seen: Counter[tuple[str, str]] = Counter()
    for rule in rules:
        kind = (rule.id, rule.reason)
        seen[kind] += 1
        if seen[kind] > _MOST_ALIKE:
            continue
        row = _rule(rule, phrases)
        if (
            rule.parent and rule.status == "not_applicable"
        ):  # what does not apply may be owed to another parent
            row = replace(row, parent=clean(rule.parent))
            if row.parent not in row.reason:
                row = replace(row, reason=f"{row.reason} ({row.parent})")
        more = often[kind] - _MOST_ALIKE
        if seen[kind] == _MOST_ALIKE and more > 0:
            cut = phrases.say("ui", "more", count=more)
            reason = row.reason + phrases.say("ui", "sentence_join") + f"({cut})"
            row = replace(row, reason=reason, results=1 + more)
        key = (row.status, row.reason, row.clause, row.place)
        known = rows.get(key)
        rows[key] = row if known is None else _joined(known, row)
    yield from rows.values()


def _joined(row: RuleRow, other: RuleRow) -> RuleRow:
    """Let one row stand for another that says the same."""
    results = row.results + other.results
    if other.id in row.id.split(", "):
        return replace(row, results=results)
    return replace(row, id=f"{row.id}, {other.id}", question="", results=results)


def _rule(rule: RuleResult, phrases: Phrases) -> RuleRow:
    return RuleRow(
        rule.id,
        phrases.name_at("disclosure", "rule", rule.id),
        str(rule.status),
        phrases.name_at("disclosure", "status", str(rule.status)),
        reason_of(rule, phrases),
        clean(rule.clause or MISSING),
        place(phrases, rule.place),
    )


def reason_of(rule: RuleResult, phrases: Phrases) -> str:
    """Return why a rule's result is what it is, in words."""
    return worded(phrases, f"disclosure.reason.{rule.reason}", **rule.said(phrases.language))


def _alternatives(report: AuditReport, phrases: Phrases) -> Iterator[str]:
    def say(key: str, **values: object) -> str:
        return phrases.say("audit", "alternative", key, **values)

    names = names_of(report)
    for file in report.source.files:
        if file.explained_by is not None:
            values = {"explained": clean(file.explained_by), "file": clean(file.file)}
            yield say("explained_by", reference=release_name(file.reference, names), **values)
    for comparison in report.tokenizer.comparisons:
        for explained in comparison.explanation:
            yield say("tokenizer_public", name=clean(explained.name))
    shared = any(t.reference is not None for t in report.traces) or report.source.level != "no_finding"
    if shared:
        yield from (say(key) for key in ("common_ancestor", "other_direction", "convention"))
    if any(file.level == "refactored" for file in report.source.files):
        yield say("generator")
    yield say("permission")


def _left(report: AuditReport, phrases: Phrases) -> Iterator[LeftRow]:
    """Group what was left out by its reason; what was never asked comes first."""
    for key in report.verdict.reasons:
        yield LeftRow(sentence(phrases.say("reason", key)), 0, MISSING)
    for record in report.evidence:
        if record.wing == "tokenizer" and record.status == "not_measured":
            reason = worded(phrases, record.reason or "")
            yield LeftRow(reason, 0, phrases.name_at("test", record.test, "name"))
    names = [clean(r.name) for r in report.models.references]
    grouped: dict[tuple[str, int | None], list[str]] = {}
    for each in report.not_examined:
        grouped.setdefault((each.why, each.reference), []).append(clean(each.path))
    for (why, reference), paths in grouped.items():
        known = f"{names[reference]}: " if reference is not None else ""
        files = phrases.say("ui", "list_comma").join(p for p in paths[:_MOST_FILES] if p)
        more = len(paths) - _MOST_FILES
        cut = phrases.say("ui", "list_comma") + phrases.say("ui", "more", count=more) if more > 0 else ""
        yield LeftRow(worded(phrases, why), len(paths), f"{known}{files}{cut}" or MISSING)


def unexamined(report: AuditReport, phrases: Phrases) -> tuple[str, ...]:
    """Return every file that was left out with its reason, one sentence each, for formats that have no place for it."""
    return tuple(left_sentence(each, report, phrases) for each in report.not_examined if each.path)


def left_sentence(each: NotExamined, report: AuditReport, phrases: Phrases) -> str:
    """Return one file and why it was left out; a reference's is named with it."""
    whose = "" if each.reference is None else f"{clean(report.models.references[each.reference].name)}: "
    return phrases.say(
        "ui", "label_colon", label=f"{whose}{clean(each.path)}", value=worded(phrases, each.why)
    )


def _limits(report: AuditReport, phrases: Phrases) -> Sequence[str]:
    keys = [k for e in report.evidence for k in e.cannot_show]
    own = [sentence(phrases.say("limit", key)) for key in report.limits]
    wings = [sentence(worded(phrases, key)) for key in dict.fromkeys(keys) if phrases.find(*key.split("."))]
    return tuple(dict.fromkeys([*own, *(_stopped(w, phrases) for w in wings)]))


def _stopped(text: str, phrases: Phrases) -> str:
    """End a fragment as the sentences beside it end."""
    stop = "。" if phrases.language.startswith("zh") else "."
    return text if text.endswith((".", "。", "?", "？")) else text + stop


def _validation(report: AuditReport, phrases: Phrases) -> str | None:
    from filiation.evidence import Background

    record = next((e for e in report.evidence if isinstance(e.background, Background)), None)
    if record is None or record.background is None:
        return None
    levels = {q: f"{v:.2f}" for q, v in record.background.quantiles.items()}
    text = worded(phrases, record.background.description)
    listed = phrases.say("ui", "list_comma").join(f"{float(q):.0%}: {v}" for q, v in levels.items())
    return f"{text} ({count(record.background.n_pairs)}) {listed}".replace("%", "\u00a0%")


def command_line(report: AuditReport) -> str:
    """Return the command that writes this report."""
    called = report.command
    words = ["filiation", "audit", str(called.get("repository", ""))]
    for flag, key in (("--against", "against"), ("--parent", "parents")):
        words += [w for value in called.get(key) or () for w in (flag, str(value))]
    words += ["--name", str(called["published_as"])] if called.get("published_as") else []
    words += ["--derived-on", str(called["derived_on"])] if called.get("derived_on") else []
    words += [w for e in called.get("evidence") or () for w in ("--evidence", str(e.get("file")))]
    words += [] if called.get("corpus", True) else ["--no-corpus"]
    return clean(" ".join(shlex.quote(word) for word in words))
