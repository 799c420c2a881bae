"""``filiation verify`` on the report of an audit: the same repositories, the same call, made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filiation.cli.verifying import as_json, at_commit, lines
from filiation.errors import MissingExtraError, NotFoundError, ReportError, UsageError

if TYPE_CHECKING:
    from filiation.auditing import AuditReport, Request
    from filiation.auditing.walk import Called, Progress
    from filiation.report.difference import Difference
    from filiation.report.wording import Phrases

Json = dict[str, Any]
_NO_EXTRA = "reason.extra_tokenizers_missing"
_BROKEN = "reason.source_broken_syntax"


@dataclass(frozen=True)
class Now:
    """Where things are now, where that is not where the report says."""

    suspect: str | None = None
    references: tuple[str, ...] = ()
    evidence: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Checked:
    """The outcome: the stored report, the one made again, and what differs."""

    stored: Json
    again: Json
    found: Difference

    def as_json(self) -> Json:
        """Return the outcome as plain JSON types."""

        def outcome(document: Mapping[str, Any]) -> Any:
            return (document.get("verdict") or {}).get("outcome")

        return as_json(self.found, outcome={"old": outcome(self.stored), "new": outcome(self.again)})

    def lines(self, phrases: Phrases) -> list[str]:
        """Return the outcome in words."""
        count = len(self.found.rounding)
        words = {
            "holds": phrases.say("audit", "verify", "holds"),
            "holds_rounded": phrases.say("verify", "holds_rounded", count=count),
            "differs": phrases.say("audit", "verify", "differs"),
            "inputs_differ": phrases.say("audit", "verify", "inputs_differ"),
        }
        return lines(self.found, [*self._not_checked(phrases)], phrases, words)

    def _not_checked(self, phrases: Phrases) -> Iterator[str]:
        from filiation._version import __version__
        from filiation.report.audit.difference import known_by_size
        from filiation.report.numbers import clean

        if "tool.version" in self.found.unchecked:
            old = clean((self.stored.get("tool") or {}).get("version"))
            yield phrases.say("verify", "version_differs", old=old, new=__version__)
        if count := known_by_size(self.stored):
            yield phrases.say("audit", "verify", "sizes_only", count=count)
        if self.stored["command"].get("evidence"):
            yield phrases.say("audit", "verify", "evidence")
        yield phrases.say("audit", "verify", "registry")


def check(stored: Json, report: AuditReport, path: Path, now: Now, tell: Progress | None) -> Checked:
    """Make an audit again and compare the two.

    Args:
        stored: the JSON of the stored report, and ``report`` the same as records.
        path: where it is stored; reports given as evidence are looked for beside it.
        now: where repositories and reports are now.
        tell: is told of progress.

    Raises:
        UsageError: as many references have to be named as the report has, or none.
        NotFoundError, ReportError: a report that was given as evidence is not there, or is another one.
        MissingExtraError: the stored report used an extra that is not installed here.
    """
    from filiation.auditing import examine
    from filiation.evidence import to_json
    from filiation.report.audit.difference import audit_difference

    asked = _asked(report, path)
    there = _relocated(asked, now, _evidence(report, path, now.evidence))
    request = replace(_pinned(there, asked, report), called=_called(there, asked, report))
    again = cast("Json", json.loads(to_json(examine(request, progress=tell).report)))
    _need_extra(stored, again)
    again["command"] |= {key: stored["command"].get(key) for key in ("repository", "against")}
    return Checked(stored, again, audit_difference(stored, again, moved=_moved(asked, there)))


def _asked(report: AuditReport, path: Path) -> Request:
    """Return the call that made a report.

    Raises:
        ReportError: it does not say, or it is the report of another command.
    """
    from pydantic import TypeAdapter, ValidationError

    from filiation.report.audit.command import AuditCommand

    try:
        return TypeAdapter(AuditCommand).validate_python(dict(report.command)).request()
    except ValidationError as error:
        raise ReportError(
            "This report cannot be computed again.",
            file=str(path),
            reason="It does not say how 'filiation audit' was called.",
            next_step="Give a report that 'filiation audit --json' wrote.",
        ) from error


def _relocated(asked: Request, now: Now, evidence: tuple[Path, ...]) -> Request:
    if now.references and len(now.references) != len(asked.against):
        raise UsageError(
            f"The report was made against {len(asked.against)} repositories or corpora, "
            f"{len(now.references)} were given.",
            next_step="Give --candidate once for each, in the order of --against.",
        )
    return replace(
        asked,
        locator=now.suspect or asked.locator,
        against=now.references or asked.against,
        evidence=evidence,
    )


def _evidence(report: AuditReport, path: Path, given: Sequence[Path]) -> tuple[Path, ...]:
    """Return where the comparisons are that were given as evidence: as said now, else beside the report, else here."""
    found: list[Path] = []
    for entry in report.command.get("evidence") or ():
        name, digest = str(entry["file"]), entry["sha256"]
        tried = [*(p for p in given if p.name == name), path.with_name(name), Path(name)]
        file = next((p for p in tried if p.is_file()), None)
        if file is None:
            raise NotFoundError(
                f"The comparison {name}, which was given as evidence, is not there.",
                file=name,
                reason="It was looked for beside the report and in the working folder.",
                next_step="Say where it is with --evidence.",
            )
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise ReportError(
                "The comparison given as evidence is another one.",
                file=str(file),
                reason="Its SHA-256 is not the one that the report names.",
                next_step="Say where the right one is with --evidence.",
            )
        found.append(file)
    return tuple(found)


def _pinned(there: Request, asked: Request, report: AuditReport) -> Request:
    """Return the call with hub ids at the commits that the report speaks of; a branch may have moved on since."""
    models = report.models
    revisions = iter(models.references)
    against: list[str] = []
    for now, then in zip(there.against, asked.against, strict=True):
        revision = next(revisions).revision if then in asked.references else None
        against.append(at_commit(now, revision) if now == then else now)
    same = there.locator == asked.locator
    locator = at_commit(there.locator, models.suspect.revision) if same else there.locator
    return replace(there, locator=locator, against=tuple(against))


def _moved(asked: Request, there: Request) -> frozenset[str]:
    """Return which repositories are not where the report says."""
    pairs = [
        (now, then)
        for now, then in zip(there.against, asked.against, strict=True)
        if then in asked.references
    ]
    moved = {f"references[{n}]" for n, (now, then) in enumerate(pairs) if now != then}
    return frozenset(moved | ({"suspect"} if there.locator != asked.locator else set()))


def _called(there: Request, asked: Request, report: AuditReport) -> dict[str, Called]:
    """Return, for what lies elsewhere now, what it was called when the report was made."""
    from filiation.auditing.walk import Called

    local = any(c.subject == "folder_name" for c in report.claims)
    called: dict[str, Called] = {}
    if there.locator != asked.locator:
        suspect = report.models.suspect
        called[there.locator] = Called(suspect.locator, suspect.name, local)
    records = dict(zip(asked.references, report.models.references, strict=False))
    for now, then in zip(there.against, asked.against, strict=True):
        if now != then and then in records:
            called[now] = Called(records[then].locator, records[then].name, local=False)
    return called


def _need_extra(stored: Json, fresh: Json) -> None:
    """Refuse to call a report wrong because an extra that it was made with is missing here."""

    def missing(document: Json) -> bool:
        return any(e.get("reason") == _NO_EXTRA for e in document["evidence"])

    if missing(fresh) and not missing(stored):
        raise MissingExtraError("Making this audit again", "tokenizers", "tokenizers")

    def unparsed(document: Json) -> set[str]:
        return {each["path"] for each in document["not_examined"] if each["why"] == _BROKEN}

    if unparsed(fresh) - unparsed(stored) and find_spec("tree_sitter_python") is None:
        raise MissingExtraError("Making this audit again", "code", "tree-sitter-python")
