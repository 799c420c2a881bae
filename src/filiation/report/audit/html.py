"""An audit's report as one self-contained HTML page: no network, no script to run, light, dark and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filiation.auditing.excerpts import Excerpt
from filiation.auditing.records import AuditReport
from filiation.report import numbers
from filiation.report.audit.answer import names_of
from filiation.report.audit.story import tell
from filiation.report.audit.words import percent, release_name
from filiation.report.custody import Custody
from filiation.report.html import embedded, environment
from filiation.report.wording import Phrases

NAME = "html"
SUFFIX = ".html"

MOST_BESIDE = 60
"""Matched definitions that a page lists by their positions."""


def render(
    report: AuditReport,
    phrases: Phrases,
    custody: Custody | None = None,
    *,
    excerpts: Sequence[Excerpt] = (),
) -> str:
    """Return the page. ``excerpts`` are shown beside one another; without them positions stand in their place."""
    story = tell(report, phrases)
    names = names_of(report)
    definitions = [d for view in story.code for d in view.definitions]

    def say(key: str, **values: object) -> str:
        section = "audit" if phrases.find("audit", "ui", key) else ""
        return phrases.say(*filter(None, (section, "ui", key)), **values)

    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            story=story,
            say=say,
            phrases=phrases,
            custody=custody,
            version=numbers.clean(report.tool.get("version", "")),
            excerpts=[_excerpt(e, names) for e in excerpts],
            definitions=definitions[:MOST_BESIDE],
            definitions_left=max(0, len(definitions) - MOST_BESIDE),
            data=embedded(report.to_dict()),
        )
    )


def _excerpt(found: Excerpt, names: Mapping[str, str]) -> dict[str, object]:
    mine, theirs = found.match.suspect, found.match.reference
    clean = numbers.clean
    return {
        "here": f"{clean(mine.file)}:{mine.line}–{mine.end}",
        "there": f"{release_name(theirs.repository, names)} · {clean(theirs.file)}:{theirs.line}–{theirs.end}",
        "name": clean(mine.definition),
        "other": clean(theirs.definition),
        "share": percent(found.match.share),
        "rows": [
            (
                row.line or "",
                _visible(row.text),
                row.reference_line or "",
                _visible(row.reference_text),
                row.equal,
            )
            for row in found.rows
        ],
        "left": found.left,
    }


def _visible(text: str) -> str:
    """Keep the indentation, and nothing that could turn the reading direction or hide."""
    indent = len(text) - len(text.lstrip(" \t"))
    return text[:indent].replace("\t", "    ") + numbers.clean(text[indent:])
