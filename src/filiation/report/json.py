"""The canonical JSON: sorted keys, no times, byte-identical for equal inputs."""

from __future__ import annotations

from filiation.evidence import Report, to_json
from filiation.report.custody import Custody
from filiation.report.wording import Phrases

NAME = "json"
SUFFIX = ".json"


def render(report: Report, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the canonical JSON; it has no language, and custody stands in a file of its own."""
    return to_json(report)
