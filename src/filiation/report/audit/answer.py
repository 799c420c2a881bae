"""The answer of an audit in one sentence, and by head."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from filiation.auditing.records import AuditReport
from filiation.report.audit.words import percent, release_name, short_file
from filiation.report.figures import Figures
from filiation.report.numbers import clean
from filiation.report.wording import Phrases
from filiation.source import FileFound, HeaderFinding, Level
from filiation.traces import Trace

_TOLD = frozenset({"same", "extended", "pruned", "reordered", "retrained"})
_MOST_QUOTED = 90
_STATUSES = ("satisfied", "missing", "contradicted", "cannot_tell")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the report says first."""

    outcome: str
    name: str
    sentence: str
    means: str
    heads: Figures


def names_of(report: AuditReport) -> dict[str, str]:
    """Return what each reference is called, by locator."""
    return {r.locator: clean(r.name) for r in report.models.references}


def answer(report: AuditReport, phrases: Phrases) -> Answer:
    """Word the answer."""
    code, rest = (
        code_clause(report, phrases),
        [
            *_trace_clauses(report, phrases),
            *_tokenizer_clause(report, phrases),
        ],
    )
    found = strongest(report) is not None
    clauses = [*([code, *rest] if found else [*rest, code]), _rules_clause(report, phrases)]
    joined = phrases.say("ui", "list_semicolon").join(clauses)
    said = phrases.say("audit", "says", "sentence", clauses=joined)
    return Answer(
        report.verdict.outcome,
        phrases.name_at("audit", "outcome", report.verdict.outcome),
        said if found else said[:1].upper() + said[1:],  # a file's name keeps its own first letter
        phrases.say("audit", "says", "weights"),
        _heads(report, phrases),
    )


def strongest(report: AuditReport) -> FileFound | None:
    """Return the file of the strongest code finding, None where nothing was found."""
    level = report.source.level
    if level is Level.NO_FINDING:
        return None
    found = (f for f in report.source.files if f.level is level and f.reference is not None)
    return max(found, key=lambda f: f.nodes, default=None)


def head_of(report: AuditReport, file: str) -> HeaderFinding | None:
    """Return what became of the copyright lines in a file."""
    return next((h for h in report.source.headers if h.file == file), None)


def code_clause(report: AuditReport, phrases: Phrases) -> str:
    """Return the strongest code finding as a clause."""
    file = strongest(report)
    if file is None:
        return phrases.say("audit", "says", _code_unfound(report))
    head = head_of(report, file.file)
    return phrases.say(
        "audit",
        "says",
        f"code_{file.level}{'_whole' if file.holds else ''}",
        file=short_file(file.file),
        reference_file=short_file(file.reference_file),
        reference=release_name(file.reference, names_of(report)),
        whole=percent(file.reverse_share),
        notices=notices(head, phrases),
        attributed=attributed(head, phrases),
    )


def _code_unfound(report: AuditReport) -> str:
    """Return the key of what is said where nothing was found: also what it was not compared with."""
    if not report.source.files:
        return "code_none"
    if report.source.corpus:
        return "code_no_finding"
    return "code_no_corpus" if report.models.references else "code_not_compared"


def notices(head: HeaderFinding | None, phrases: Phrases) -> str:
    """Return what became of the copyright lines, as part of a sentence."""
    if head is not None and head.later_there:
        return phrases.say("audit", "says", "notices_later_there")
    return phrases.say("audit", "says", f"notices_{head.state if head else 'none_in_reference'}")


def attributed(head: HeaderFinding | None, phrases: Phrases) -> str:
    """Return whether the file names its source, as part of a sentence."""
    return phrases.say("audit", "says", f"attributed_{'yes' if head and head.source_attributed else 'no'}")


def _trace_clauses(report: AuditReport, phrases: Phrases) -> Iterator[str]:
    if not report.models.references:
        yield phrases.say("audit", "says", "traces_alone")
        return
    found = False
    for number, reference in enumerate(report.models.references):
        counted = trace_counts([t for t in report.traces if t.reference == number], phrases)
        if counted:
            found = True
            listed = phrases.say("ui", "list_comma").join(counted)
            yield phrases.say("audit", "says", "traces", reference=clean(reference.name), traces=listed)
    if not found:
        yield phrases.say("audit", "says", "traces_none")


def trace_counts(traces: list[Trace], phrases: Phrases) -> list[str]:
    """Return the telling kinds of traces with their numbers: those that convention alone does not give."""
    kinds = Counter(_kind(t) for t in traces)
    texts: list[str] = []
    for kind, count in kinds.items():
        phrase = phrases.find("audit", "trace", kind)
        if phrase is None:
            continue
        first = next(t for t in traces if _kind(t) == kind)
        values = {**first.numbers, "count": count, "renames": len(_renames(first))}
        texts.append(phrases.fill(phrase, **values))
    return texts


def _kind(trace: Trace) -> str:
    """The key of what a trace shows tells variants of one kind apart."""
    return trace.shows.rpartition(".")[2]


def _renames(trace: Trace) -> Mapping[str, str]:
    renames = trace.numbers.get("renames")
    return renames if isinstance(renames, Mapping) else {}


def _tokenizer_clause(report: AuditReport, phrases: Phrases) -> Iterator[str]:
    found = report.tokenizer
    if found.reference is not None and found.relation in _TOLD:
        reference = clean(report.models.references[found.reference].name)
        yield phrases.say("audit", "says", f"tokenizer_{found.relation}", reference=reference)


def _rules_clause(report: AuditReport, phrases: Phrases) -> str:
    counts = {status: report.verdict.rules.get(status, 0) for status in _STATUSES}
    return phrases.say("audit", "says", "rules", asked=sum(counts.values()), **counts)


def _heads(report: AuditReport, phrases: Phrases) -> Figures:
    shared = [t for t in report.traces if t.reference is not None]
    counted = trace_counts(shared, phrases)
    semicolon = phrases.say("ui", "list_semicolon")
    none = phrases.say("audit", "ui", "traces_none")
    heads = [
        ("traces", semicolon.join(counted) or none),
        ("tokenizer", _tokenizer_head(report, phrases)),
        ("code", _code_head(report, phrases)),
        ("claims", _claims_head(report, phrases)),
        ("duties", _rules_head(report, phrases)),
    ]
    return tuple((phrases.say("audit", "ui", key), value) for key, value in heads)


def _claims_head(report: AuditReport, phrases: Phrases) -> str:
    """The declared parents and the licence, as they are written; what is not declared is said."""

    def said(*subjects: str) -> list[str]:
        return list(dict.fromkeys(clean(c.text) for s in subjects for c in report.claims if c.subject == s))

    comma = phrases.say("ui", "list_comma")
    parents = said("base_model", "adapter_base", "gguf_base_model", "merge_parent", "prose_parent")
    licence = _licence_said(said)
    parts = [
        phrases.say("audit", "says", "parents_declared", parents=comma.join(parents[:4]))
        if parents
        else phrases.say("audit", "says", "parents_undeclared"),
        phrases.say("audit", "says", "licence_declared", licence=comma.join(licence[:4]))
        if licence
        else phrases.say("audit", "says", "licence_undeclared"),
    ]
    own = said("prose_scratch", "prose_own_model", "prose_own_tokenizer", "prose_own_code")
    parts += [phrases.say("audit", "says", "own_work", said=text[:_MOST_QUOTED]) for text in own[:2]]
    return phrases.say("ui", "list_semicolon").join(parts)


def _licence_said(said: Callable[..., list[str]]) -> list[str]:
    """The licence as written: every name that differs, for none of them is more true than the others."""
    tags = [text for text in said("license", "gguf_license") if text.lower() != "other"]
    return list(dict.fromkeys([*tags, *said("license_name")])) or said(
        "prose_license", "licence_text", "license"
    )


def _tokenizer_head(report: AuditReport, phrases: Phrases) -> str:
    found = report.tokenizer
    compared = phrases.name_at("tokenizer", "relation", str(found.relation))
    parts = [compared if found.comparisons else phrases.say("audit", "tokenizer", "not_measured")]
    if found.recognised:
        names = phrases.say("ui", "list_comma").join(clean(n) for n in found.recognised)
        label = phrases.say("audit", "ui", "recognised")
        parts.append(phrases.say("ui", "label_colon", label=label, value=names))
    return phrases.say("ui", "list_semicolon").join(parts)


def _code_head(report: AuditReport, phrases: Phrases) -> str:
    if not report.source.files:
        return phrases.say("audit", "says", "code_none")
    level = phrases.name_at("source", "level", str(report.source.level))
    file = strongest(report)
    if file is None:
        unfound = _code_unfound(report)
        return level if unfound != "code_not_compared" else phrases.say("audit", "tokenizer", "not_measured")
    if file.level is Level.SHARES_ANCESTOR:
        return level
    head = head_of(report, file.file)
    parts = [level, notices(head, phrases), attributed(head, phrases), percent(file.share)]
    return phrases.say("ui", "list_comma").join(parts)


def _rules_head(report: AuditReport, phrases: Phrases) -> str:
    counted = [(s, report.verdict.rules.get(s, 0)) for s in (*_STATUSES, "not_applicable")]
    comma = phrases.say("ui", "list_comma")
    return comma.join(f"{phrases.say('disclosure', 'status', s)} {n}" for s, n in counted if n)
