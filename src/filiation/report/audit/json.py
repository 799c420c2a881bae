"""The canonical JSON of an audit: sorted keys, no times, byte-identical for equal inputs."""

from __future__ import annotations

from filiation.auditing.records import AuditReport
from filiation.evidence import to_json
from filiation.report.custody import Custody
from filiation.report.wording import Phrases

NAME = "json"
SUFFIX = ".json"


def render(report: AuditReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the canonical JSON; it has no language, and custody stands in a file of its own."""
    return to_json(report)
