"""The canonical JSON of a probe: sorted keys, no times, byte-identical when a log is replayed."""

from __future__ import annotations

from filiation.evidence import to_json
from filiation.probing.records import ProbeReport
from filiation.report.custody import Custody
from filiation.report.wording import Phrases

NAME = "json"
SUFFIX = ".json"


def render(report: ProbeReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the canonical JSON; it has no language, and custody stands in a file of its own."""
    return to_json(report)
