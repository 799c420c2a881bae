"""The walk: open -> traces -> tokenizer -> source -> claims -> rules -> report. No step reaches back."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filiation import disclosure, source, tokenizer, traces
from filiation._version import __version__
from filiation.auditing import admit, kin, left
from filiation.auditing.records import (
    AuditReport,
    Examined,
    History,
    RepositoryRecord,
    SourceRecord,
    TokenizerComparison,
    TokenizerRecord,
)
from filiation.disclosure import Beside, Parent, RuleResult
from filiation.errors import NotFoundError
from filiation.evidence import AuditVerdict, Claim, Evidence, Place, Scale, Wing, plain
from filiation.repository import Repository, same_bytes
from filiation.source import Library, SourceFound
from filiation.tokenizer import TokenizerFinding, TokenizerRelation
from filiation.traces import TracesFound

Progress = Callable[[str, int, int | None], None]

CORPUS_ENDING = ".npz.xz"
_LIMITS = (
    "audit_no_weights",
    "audit_direction",
    "audit_common_source",
    "audit_independent",
    "audit_registry",
)
_CLOSENESS = tuple(TokenizerRelation)


@dataclass(frozen=True, slots=True)
class Called:
    """What a repository was called when it was examined before, and lay elsewhere: a folder's name is part of what is
    compared. ``local``: it was a folder or an archive, whose name nobody published.
    """

    locator: str
    name: str
    local: bool


@dataclass(frozen=True)
class Request:
    """How an audit was asked for.

    Attributes:
        locator: the repository in question.
        against: repositories, archives, and corpus files (``.npz.xz``) that it is compared with.
        parents: models that it is told to come from.
        derived_on: the day of derivation, ISO 8601; the first commit's where it is None.
        evidence: stored reports of ``filiation compare``.
        corpus: whether the shipped reference corpus of public code is used.
        name: the name under which the model is published; for a local folder it is not known otherwise.
        called: for repositories that have moved since, by locator, what they were called; for making an audit again.
    """

    locator: str
    against: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    derived_on: str | None = None
    evidence: tuple[Path, ...] = ()
    corpus: bool = True
    name: str | None = None
    called: Mapping[str, Called] = field(default_factory=dict[str, Called])

    @property
    def references(self) -> tuple[str, ...]:
        """The repositories among ``against``."""
        return tuple(name for name in self.against if not name.endswith(CORPUS_ENDING))

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpus files among ``against``."""
        return tuple(name for name in self.against if name.endswith(CORPUS_ENDING))


@dataclass(frozen=True, eq=False)
class Audited:
    """A report with what it was made from, for what needs the files once more: a patch, excerpts."""

    report: AuditReport
    suspect: Repository
    references: tuple[Repository, ...]
    claims: tuple[Claim, ...]
    parents: tuple[Parent, ...]
    shown: tuple[Parent, ...]
    beside: tuple[Beside, ...] = ()


@dataclass
class _Found:
    """What the wings found so far."""

    traces: TracesFound
    tokenizers: tuple[TokenizerFinding, ...]
    source: SourceFound
    claims: tuple[Claim, ...] = ()
    rules: tuple[RuleResult, ...] = ()
    reasons: list[str] = field(default_factory=list[str])


def examine(request: Request, *, cache: Path | None = None, progress: Progress | None = None) -> Audited:
    """Audit a repository. See :func:`filiation.audit` for the arguments and what is raised."""
    tell = progress or _silent
    reports = tuple(kin.read_compare_report(path) for path in request.evidence)
    tell(f"opening {request.locator}", 0, None)
    suspect = _as_called(admit.opened(request.locator), request.called.get(request.locator))
    admit.require_model_repository(suspect)
    tied = [kin.speaks_of(report, suspect) for report in reports]
    references = tuple(_opened(name, request, tell) for name in request.references)
    parents = kin.given(request.parents, request.derived_on, references)
    library = _library(request)
    tell("traces", 0, None)
    found = _Found(
        traces.find(suspect, references),
        tuple(_tokenizer(suspect, reference, n) for n, reference in enumerate(references)),
        _source(suspect, references, library, cache, tell),
    )
    tell("claims and rules", 0, None)
    found.claims = _claims(suspect, request)
    asked = (*parents, *kin.claimed_at_hand(found.claims, references))
    day = request.derived_on
    shown = kin.findings(suspect, references, found.traces, found.source, reports, day, asked)
    near = kin.beside(suspect, references, found.traces, found.tokenizers, found.claims)
    found.rules = disclosure.check(suspect, found.claims, asked, shown, near)
    turned = kin.open_directions(references, found.source, asked)
    found.reasons = [
        *left.reasons(references, tied, found.source),
        *(["audit_direction_open"] if turned else []),
    ]
    report = _report(request, reports, suspect, references, asked, shown, found, library)
    return Audited(report, suspect, references, found.claims, asked, shown, near)


def _claims(suspect: Repository, request: Request) -> tuple[Claim, ...]:
    """What the repository says; the name of a local folder is its owner's affair and no model's name."""
    found = disclosure.claims(suspect)
    called = request.called.get(request.locator)
    if called.local if called else admit.is_local(request.locator):
        found = tuple(
            replace(c, subject="folder_name") if c.subject == "repository_name" else c for c in found
        )
    if request.name:
        named = (c for c in found if c.subject not in {"repository_name", "folder_name"})
        found = (Claim("given_name", request.name, Place(file=None)), *named)
    return found


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tell nobody."""


def _opened(name: str, request: Request, tell: Progress) -> Repository:
    tell(f"opening {name}", 0, None)
    return _as_called(admit.opened(name), request.called.get(name))


def _as_called(found: Repository, called: Called | None) -> Repository:
    return replace(found, locator=called.locator, name=called.name) if called else found


def _library(request: Request) -> Library:
    files = [Path(name) for name in request.corpora]
    missing = next((file for file in files if not file.is_file()), None)
    if missing is not None:
        raise NotFoundError(
            f"There is no corpus at {missing}.",
            file=str(missing),
            next_step="Check the path, or build one with: filiation corpus build WHEEL.",
        )
    return source.load(files, shipped=request.corpus)


def _source(
    suspect: Repository,
    references: Sequence[Repository],
    library: Library,
    cache: Path | None,
    tell: Progress,
) -> SourceFound:
    tell("source code", 0, None)
    return source.examine(suspect, references, library, cache=cache)


def _tokenizer(suspect: Repository, reference: Repository, number: int) -> TokenizerFinding:
    """Compare the tokenizers; where the bytes are not at hand, equal identities of tokenizer.json still tell."""
    found = tokenizer.compare(suspect, reference, number)
    mine, theirs = (r.files.get("tokenizer.json") for r in (suspect, reference))
    if found.relation is not TokenizerRelation.CANNOT_TELL or mine is None or theirs is None:
        return found
    if same_bytes(mine, theirs) is not True:
        return found
    record = Evidence(
        id=f"tokenizer.identity/reference={number}",
        wing=Wing.TOKENIZER,
        question="question.tokenizer_tokens",
        scale=Scale.FACT,
        test="tokenizer_tokens",
        candidate=number,
        places=(Place(file=mine.path, digest=mine.sha256 or mine.git_id),),
        shows="shows.tokenizer_same_file",
        cannot_show=("cannot_show.tokenizer_not_weights", "cannot_show.public_tokenizer"),
    )
    numbers = {**found.numbers, "same_file": mine.path, "identity": mine.sha256 or mine.git_id}
    return TokenizerFinding(TokenizerRelation.SAME, numbers, found.explanation, (*found.evidence, record))


def _report(
    request: Request,
    reports: Sequence[kin.CompareReport],
    suspect: Repository,
    references: Sequence[Repository],
    parents: Sequence[Parent],
    shown: Sequence[Parent],
    found: _Found,
    library: Library,
) -> AuditReport:
    """Put the report together; nothing in it depends on time or machine."""
    tokenizers = _tokenizers(suspect, found.tokenizers)
    return AuditReport(
        tool={"name": "filiation", "version": __version__},
        command=_command(request, reports),
        models=Examined(record(suspect), tuple(record(r) for r in references)),
        verdict=_verdict(found, tokenizers),
        traces=found.traces.traces,
        source=_source_record(found.source),
        tokenizer=tokenizers,
        claims=found.claims,
        parents=kin.records(suspect, found.claims, parents, shown),
        rules=found.rules,
        duties=disclosure.duties(found.rules),
        evidence=tuple(
            _in_floats(e)
            for e in (
                *found.traces.evidence,
                *(e for t in found.tokenizers for e in t.evidence),
                *found.source.evidence,
                *disclosure.evidence(found.rules),
            )
        ),
        not_examined=left.not_examined(suspect, references, found.traces, found.source),
        limits=_LIMITS,
        validation=_validation(found.source, library),
    )


def _in_floats(record: Evidence) -> Evidence:
    """Counts among the effect sizes are written as the numbers that a reader of the stored report gets back."""
    return replace(record, effect=tuple(replace(e, value=float(e.value)) for e in record.effect))


def _command(request: Request, reports: Sequence[kin.CompareReport]) -> Mapping[str, Any]:
    return {
        "name": "audit",
        "repository": request.locator,
        "against": list(request.against),
        "parents": list(request.parents),
        "derived_on": request.derived_on,
        "corpus": request.corpus,
        **({"published_as": request.name} if request.name else {}),
        "evidence": [{"file": report.file, "sha256": report.sha256} for report in reports],
    }


def record(opened: Repository) -> RepositoryRecord:
    """Return what was opened, pinned by its revision, its files' identities and its history."""
    files = tuple(opened.files[path] for path in sorted(opened.files))
    whole = hashlib.sha256()
    for file in files:
        identity = file.sha256 or file.git_id or ""
        whole.update(f"{file.path}\0{file.size}\0{identity}\n".encode("utf-8", "surrogateescape"))
    times = sorted(commit.authored for commit in opened.commits)
    return RepositoryRecord(
        opened.locator,
        opened.name,
        whole.hexdigest(),
        files,
        opened.revision,
        History(len(times), times[0], times[-1]) if times else None,
        opened.notes,
    )


def _source_record(found: SourceFound) -> SourceRecord:
    return SourceRecord(
        found.level,
        found.files,
        found.matches,
        found.rename_map,
        found.headers,
        found.copied_from,
        found.disclosed,
        found.corpus,
    )


def _tokenizers(suspect: Repository, found: Sequence[TokenizerFinding]) -> TokenizerRecord:
    each = tuple(TokenizerComparison(n, f.relation, f.numbers, f.explanation) for n, f in enumerate(found))
    closest = min(each, key=lambda c: _CLOSENESS.index(c.relation), default=None)
    recognised = tokenizer.recognise(suspect)
    if closest is None:
        return TokenizerRecord(TokenizerRelation.CANNOT_TELL, recognised=recognised)
    return TokenizerRecord(closest.relation, closest.reference, each, recognised)


def _verdict(found: _Found, tokenizers: TokenizerRecord) -> AuditVerdict:
    statuses = Counter(str(rule.status) for rule in found.rules)
    owed = statuses["missing"] + statuses["contradicted"]
    outcome = "owed" if owed else "open" if statuses["cannot_tell"] else "met"
    best = found.source.level
    file = next((f for f in found.source.files if f.level is best and f.reference is not None), None)
    head = next((h for h in found.source.headers if file is not None and h.file == file.file), None)
    telling = head is not None and best != "no_finding"
    return AuditVerdict(
        outcome,
        str(best),
        str(tokenizers.relation),
        notices=str(head.state) if telling and head else None,
        attributed=head.source_attributed if telling and head else None,
        traces=dict(sorted(Counter(t.kind for t in found.traces.traces).items())),
        rules=dict(sorted(statuses.items())),
        reasons=tuple(dict.fromkeys(found.reasons)),
    )


def _validation(found: SourceFound, library: Library) -> Mapping[str, Any] | None:
    """What unrelated files of the corpus score, where code was ranked against it; null elsewhere."""
    backgrounds = (e.background for e in found.evidence if e.background is not None)
    first = next(backgrounds, None)
    if first is None:
        return None
    return {"source": {"corpus": library.facts(), **plain(first)}}
