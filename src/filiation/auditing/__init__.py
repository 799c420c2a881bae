"""Room auditing: the walk over the wings that look at a repository, and the Python interface to it.

A repository's traces, tokenizer, source code, claims and duties, joined into one report. Weights are listed, not
read. (The walk is not called ``audit``, because ``filiation.audit`` is the function: decisions/0011.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filiation.api import EvidenceTable
from filiation.auditing.records import AuditReport, audit_schema
from filiation.auditing.walk import Audited, Progress, Request, examine
from filiation.evidence import AUDIT_SCHEMA, AuditVerdict, to_json

if TYPE_CHECKING:
    from filiation.disclosure import Patch, RuleResult

__all__ = [
    "AUDIT_SCHEMA",
    "Audit",
    "AuditReport",
    "Audited",
    "Request",
    "audit",
    "audit_schema",
    "examine",
]


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found. ``report`` holds everything; the properties are short cuts."""

    audited: Audited

    @property
    def report(self) -> AuditReport:
        """The report."""
        return self.audited.report

    @property
    def verdict(self) -> AuditVerdict:
        """What follows."""
        return self.report.verdict

    @property
    def rules(self) -> tuple[RuleResult, ...]:
        """What each rule found."""
        return self.report.rules

    @property
    def evidence(self) -> EvidenceTable:
        """Every record of every wing."""
        return EvidenceTable(self.report.evidence)

    def fix(self, language: str = "en") -> Patch:
        """Return a patch of card, notices and headers that would satisfy what is owed; nothing is written."""
        from filiation import disclosure

        made = self.audited
        return disclosure.fix(made.suspect, made.claims, made.parents, made.shown, language, made.beside)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return self.report.to_dict()

    def to_json(self) -> str:
        """Return the report's canonical JSON."""
        return to_json(self.report)


def audit(
    repository: str,
    against: Sequence[str] = (),
    *,
    parents: Sequence[str] = (),
    derived_on: str | None = None,
    evidence: Sequence[str | os.PathLike[str]] = (),
    corpus: bool = True,
    name: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Say what a model repository claims, what it shows, and what it owes.

    Its code, configurations, tokenizer, tensor index, card and licence are read; weights are not needed. Nothing in it
    is executed. None of it is legal advice.

    Args:
        repository: a folder, an archive, a facts file, or a hub id ``org/name[@revision]``.
        against: repositories to compare it with, and corpora built by ``filiation corpus build`` (``.npz.xz``).
        parents: models that it is told to come from; their licences are then asked about.
        derived_on: the day of derivation (ISO 8601), which decides between versions of a licence.
        evidence: stored reports of ``filiation compare`` whose suspect is this repository.
        corpus: whether its code is also ranked against the shipped fingerprints of public releases.
        name: the name under which the model is published, for a local folder.
        cache: a folder in which fingerprints of source files are kept between audits; none by default.
        progress: called with ``(stage, done, total)``.

    Raises:
        UsageError: a locator or the day is none. InputError: something is missing, unreadable or damaged.

    Example:
        >>> import filiation
        >>> audit = filiation.audit("examples/models/fine-tuned", ["examples/models/base"])
        >>> str(audit.report.tokenizer.relation)
        'same'
    """
    request = Request(
        repository,
        tuple(against),
        tuple(parents),
        derived_on,
        tuple(Path(os.fspath(path)) for path in evidence),
        corpus,
        name,
    )
    folder = None if cache is None else Path(os.fspath(cache))
    return Audit(examine(request, cache=folder, progress=progress))
