"""Who the rules are asked about: parents that the caller names, that other reports show, that the findings show."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from filiation import disclosure
from filiation.auditing.records import ParentRecord
from filiation.disclosure import Basis, Beside, CodeFinding, Parent
from filiation.disclosure import context as contexts
from filiation.disclosure.names import means
from filiation.disclosure.names import same as same_model
from filiation.disclosure.parents import claimed
from filiation.errors import NotFoundError, ReportError, UsageError
from filiation.evidence import Claim
from filiation.repository import Repository
from filiation.source import HeaderFinding, Level, SourceFound
from filiation.tokenizer import TokenizerFinding, published_as
from filiation.traces import TracesFound

_MOST = 256 << 20
#: Levels at which a file is held to come from the reference; of a shared ancestor nobody knows which file it was.
_TAKEN = frozenset({Level.IDENTICAL, Level.SAME_AFTER_RENAMING, Level.REFACTORED})

_EQUAL_TOKENIZERS = frozenset({"same", "reordered"})
#: Kinds of traces that convention alone does not give, beyond the tokenizer's own.
_TELLING = frozenset({"same_file", "equal_json", "foreign_reference", "compiled_leftover", "shared_commits"})


@dataclass(frozen=True, slots=True)
class CompareReport:
    """A stored report of ``filiation compare``: its file's name, SHA-256, and parsed JSON."""

    file: str
    sha256: str
    document: Mapping[str, Any]


def read_compare_report(path: Path) -> CompareReport:
    """Read a report that is to say who the parents by weights are.

    Raises:
        NotFoundError: there is no such file.
        ReportError: it is no JSON object.
    """
    try:
        if path.stat().st_size > _MOST:
            raise _no_report(path, f"It is larger than {_MOST:,d} bytes.")
        data = path.read_bytes()
        document: Any = json.loads(data)
    except OSError as error:
        raise NotFoundError(
            "The evidence could not be read.",
            file=str(path),
            reason=error.strerror,
            next_step="Check the path.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_report(path, f"It is no JSON: {error}.") from error
    if not isinstance(document, dict) or "error" in document:
        raise _no_report(path, "It is no report of a comparison.")
    return CompareReport(path.name, hashlib.sha256(data).hexdigest(), cast("dict[str, Any]", document))


def _no_report(path: Path, reason: str) -> ReportError:
    return ReportError(
        "This is not a report of filiation compare.",
        file=str(path),
        reason=reason,
        next_step="Write one with: filiation compare SUSPECT CANDIDATE --json report.json",
    )


def speaks_of(report: CompareReport, suspect: Repository) -> bool | None:
    """Whether a report's suspect is this repository: its weight files are here, by SHA-256; None where that cannot
    be seen.

    Raises:
        ReportError: it is the report of another model: files of the same name are other bytes.
    """
    models = report.document.get("models")
    model = cast("Mapping[str, Any]", models).get("suspect") if isinstance(models, Mapping) else None
    listed = cast("Mapping[str, Any]", model).get("files") if isinstance(model, Mapping) else None
    told: bool | None = None
    for entry in cast("list[Any]", listed) if isinstance(listed, list) else []:
        file = cast("Mapping[str, Any]", entry) if isinstance(entry, Mapping) else {}
        here, digest = suspect.files.get(str(file.get("name"))), file.get("sha256")
        if here is None or here.sha256 is None or not digest:
            continue
        if here.sha256 != digest:
            raise ReportError(
                "The report given as evidence speaks of another model.",
                file=report.file,
                reason=f"Its {file.get('name')} is not the file of this name in the repository.",
                next_step="Give the report of a comparison whose suspect is this repository.",
            )
        told = True
    return told


def given(names: Sequence[str], day: str | None, references: Sequence[Repository]) -> tuple[Parent, ...]:
    """Return the parents that the caller names; one that is among the references brings its files along.

    Raises:
        UsageError: a name is empty, or the day is no date.
    """
    import datetime

    try:
        when = datetime.date.fromisoformat(day).isoformat() if day else None
    except ValueError as error:
        raise UsageError(
            f"'{day}' is no day.", next_step="Write the day of derivation as 2024-05-20."
        ) from error
    if not all(name.strip() for name in names):
        raise UsageError("A parent has no name.", next_step="Write for example --parent org/name.")
    found = [disclosure.given(name, when) for name in names]
    return tuple(replace(p, repository=_at_hand(p.name, references)) for p in found)


def _at_hand(name: str, references: Sequence[Repository]) -> Repository | None:
    exact = (r for r in references if r.locator.partition("@")[0] == name or same_model(r.name, name))
    return next(exact, None)


def findings(
    suspect: Repository,
    references: Sequence[Repository],
    traces: TracesFound,
    source: SourceFound,
    reports: Sequence[CompareReport],
    day: str | None,
    asked: Sequence[Parent] = (),
) -> tuple[Parent, ...]:
    """Return the parents that evidence shows: by weights where these are equal or a report says so, by code.

    ``asked`` are the parents that are claimed or that the caller names.
    """
    shown = [
        *(p for report in reports for p in disclosure.from_report(report.document)),
        *_by_equal_weights(suspect, references, traces),
        *(p for p in _by_code(references, source) if not _is_open(p, source, references, asked)),
    ]
    return tuple(
        replace(p, when=p.when or day, repository=p.repository or _at_hand(p.name, references)) for p in shown
    )


def _by_equal_weights(
    suspect: Repository, references: Sequence[Repository], traces: TracesFound
) -> Iterator[Parent]:
    for number, reference in enumerate(references):
        if any(t.kind == "same_weights" and t.reference == number for t in traces.traces):
            yield Parent(
                _name(reference), frozenset({Basis.WEIGHTS}), relation="identical", repository=reference
            )


def _name(reference: Repository) -> str:
    """The hub id where the locator is one (its publisher tells the licence), else the plain name."""
    from filiation.disclosure.names import publisher

    locator = reference.locator.removeprefix("hf://").partition("@")[0]
    return locator if reference.revision and publisher(locator) else reference.name


def _by_code(references: Sequence[Repository], source: SourceFound) -> Iterator[Parent]:
    """One parent for each reference whose files match; its code's licence is invoked, no model's."""
    heads = {head.file: head for head in source.headers}
    at_hand = {reference.locator: reference for reference in references}
    matched: dict[str, list[CodeFinding]] = {}
    for file in source.files:
        if file.reference is not None and file.level in _TAKEN:
            finding = _code_finding(str(file.level), file.file, file.reference_file, heads.get(file.file))
            matched.setdefault(file.reference, []).append(finding)
    for locator, found in matched.items():
        repository = at_hand.get(locator)
        yield disclosure.from_code(_name(repository) if repository else locator, found, None, repository)


def open_directions(
    references: Sequence[Repository], source: SourceFound, asked: Sequence[Parent]
) -> tuple[str, ...]:
    """Return the references whose code matches and which may as well have been made from this repository."""
    return tuple(p.name for p in _by_code(references, source) if _is_open(p, source, references, asked))


def _is_open(
    parent: Parent, source: SourceFound, references: Sequence[Repository], asked: Sequence[Parent]
) -> bool:
    """Whether the heads of all matching files speak as much for the other direction, and nobody names the parent."""
    if any(same_model(parent.name, p.name) or means(p.name, parent.name) for p in asked):
        return False
    heads = {head.file: head for head in source.headers}
    found = [heads.get(each.suspect_file) for each in parent.code]
    return bool(found) and all(head is not None and head.later_there for head in found)


def _code_finding(
    level: str, file: str, reference_file: str | None, head: HeaderFinding | None
) -> CodeFinding:
    if head is None:
        return CodeFinding(level, file, reference_file)
    return CodeFinding(
        level,
        file,
        reference_file,
        licence=head.reference_licence,
        suspect_holders=(*head.kept, *head.added),
        reference_holders=(*head.kept, *head.removed),
    )


def beside(
    suspect: Repository,
    references: Sequence[Repository],
    traces: TracesFound,
    tokenizers: Sequence[TokenizerFinding],
    claims: Sequence[Claim],
) -> tuple[Beside, ...]:
    """Return what makes nobody a parent and still stands beside a claim of own making: tokenizers and traces."""
    found = [
        Beside("tokenizer", reference.name, str(tokenizer.relation))
        for reference, tokenizer in zip(references, tokenizers, strict=True)
    ]
    compared = any(each.relation in _EQUAL_TOKENIZERS for each in found)
    if not compared and any(c.subject == "prose_own_tokenizer" for c in claims):
        found += [Beside("public_tokenizer", name) for name in published_as(suspect)]
    for number, reference in enumerate(references):
        telling = [t for t in traces.traces if t.reference == number and t.kind in _TELLING]
        if telling:
            found.append(Beside("traces", reference.name, count=len(telling)))
    return tuple(found)


def claimed_at_hand(claims: Sequence[Claim], references: Sequence[Repository]) -> tuple[Parent, ...]:
    """Return the claimed parents whose repository is among the references, with it: its licence can be read there."""
    found: list[Parent] = []
    for parent in claimed(claims):
        fitting = (r for r in references if same_model(parent.name, r.name) or means(parent.name, _name(r)))
        repository = next(fitting, None)
        if repository is not None:
            found.append(replace(parent, repository=repository))
    return tuple(found)


def records(
    suspect: Repository, claims: Sequence[Claim], parents: Sequence[Parent], shown: Sequence[Parent]
) -> tuple[ParentRecord, ...]:
    """Return every parent that the rules were asked about, with the licences that it brings."""
    made = contexts.make(suspect, claims, parents, shown)
    found: list[ParentRecord] = []
    for parent in made.parents:
        model, code = made.model_terms(parent), made.code_terms(parent)
        by_model = parent.by_weights or parent.by_outputs
        found.append(
            ParentRecord(
                parent.name,
                tuple(sorted(str(basis) for basis in parent.basis)),
                parent.relation,
                tuple(x.id for x in model.licences) if by_model else (),
                tuple(x.id for x in code.licences) if Basis.CODE in parent.basis else (),
                tuple(x.id for x in (*(model.options if by_model else ()), *code.options)),
                parent.when,
                parent.place,
            )
        )
    return tuple(found)
