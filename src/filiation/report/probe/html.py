"""A probe's report as one self-contained HTML page: no network, no script to run, light, dark and print."""

from __future__ import annotations

from markupsafe import Markup

from filiation.probing.records import ProbeReport
from filiation.report import numbers
from filiation.report.custody import Custody
from filiation.report.html import embedded, environment
from filiation.report.probe.drawings import drawing
from filiation.report.probe.story import tell
from filiation.report.wording import Phrases

NAME = "html"
SUFFIX = ".html"


def render(report: ProbeReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the page."""
    story = tell(report, phrases)

    def say(key: str, **values: object) -> str:
        section = ("probe", "ui") if phrases.find("probe", "ui", key) else ("ui",)
        return phrases.say(*section, key, **values)

    return (
        environment()
        .get_template("probe.html.j2")
        .render(
            story=story,
            say=say,
            phrases=phrases,
            custody=custody,
            version=numbers.clean(report.tool.get("version", "")),
            drawings={view.key: Markup(drawing(view, phrases)) for view in story.measured},
            data=embedded(report.to_dict()),
        )
    )
