"""What an audit did not look at, and why; what it could not ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from filiation.auditing.records import NotExamined
from filiation.auditing.unread import unread
from filiation.repository import Repository
from filiation.source import SourceFound
from filiation.traces import TracesFound

#: Files of a reference that could not be read are listed up to here; a mirror without its weights has hundreds.
_MOST = 200


def reasons(
    references: Sequence[Repository], tied: Sequence[bool | None], source: SourceFound
) -> Iterator[str]:
    """Yield phrase keys of what could not be asked at all."""
    if not references:
        yield "audit_no_reference"
    if any(told is None for told in tied):
        yield "audit_evidence_not_tied"
    if not source.files:
        yield "audit_no_code"
    elif not source.corpus:
        yield "audit_no_corpus"


def not_examined(
    suspect: Repository, references: Sequence[Repository], traces: TracesFound, source: SourceFound
) -> tuple[NotExamined, ...]:
    """Return everything that was left out, each once, with its reason as a phrase key."""
    found = [
        *_of_repository(suspect, None),
        *(n for number, r in enumerate(references) for n in _of_repository(r, number)),
        *(NotExamined("traces", path, f"note.{why}") for path, why in traces.not_examined),
        *(NotExamined("source", each.file, f"reason.source_{each.why}") for each in source.not_examined),
    ]
    return tuple(dict.fromkeys(found))


def _of_repository(repository: Repository, number: int | None) -> Iterator[NotExamined]:
    for path, why in unread(repository):
        yield NotExamined("repository", path, why, number)
    for path, why in repository.notes:
        yield NotExamined("repository", path, f"note.{why}", number)
    listed = [f for f in repository.files.values() if f.not_read is not None and f.not_read != "facts"]
    for file in sorted(listed, key=lambda f: f.path)[:_MOST]:
        yield NotExamined("repository", file.path, f"not_read.{file.not_read}", number)
