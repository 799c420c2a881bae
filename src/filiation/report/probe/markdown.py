"""A probe's report as markdown, for pull requests and tickets."""

from __future__ import annotations

from collections.abc import Iterable

from filiation.probing.records import ProbeReport
from filiation.report.custody import Custody
from filiation.report.figures import Figures
from filiation.report.markdown import safe
from filiation.report.probe.findings import TestView
from filiation.report.probe.story import tell
from filiation.report.wording import Phrases

NAME = "markdown"
SUFFIX = ".md"


def render(report: ProbeReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the report as GitHub-flavoured markdown. Text from the endpoints is escaped."""
    story = tell(report, phrases)

    def say(key: str) -> str:
        return safe(phrases.say("probe", "ui", key))

    blocks = [
        f"# {safe(story.title)}",
        f"**{safe(story.answer.name)}**",
        safe(story.answer.sentence),
        _items(story.answer.attention),
        _facts(story.answer.heads),
        f"> {safe(story.answer.means)}",
        f"## {say('tests')}",
        *(block for view in story.measured for block in _test(view, safe(phrases.say("ui", "cannot_show")))),
    ]
    if story.left:
        blocks += [f"## {say('left')}", _items(f"{view.name}: {view.found}" for view in story.left)]
    blocks.append(f"## {say('asked')}")
    for view in (story.suspect, *story.others):
        blocks += [f"### {safe(view.heading)}", _facts(view.facts)]
    versions = ", ".join(f"{name} {value}" for name, value in story.versions)
    blocks += [
        f"## {safe(phrases.say('ui', 'limits'))}",
        _items(story.limits),
        f"## {safe(phrases.say('ui', 'reproduce'))}",
        "```console\n" + story.command.replace("`", "'") + "\n```",
        _facts((*story.spent, (phrases.say("ui", "versions"), versions))),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _test(view: TestView, cannot: str) -> tuple[str, ...]:
    heading = f"### {safe(view.name)}: {safe(view.outcome_name)}"
    further = tuple(safe(line) for line in view.further)
    left = (f"{cannot}:", _items(view.cannot_show)) if view.cannot_show else ()
    return (heading, safe(view.question), safe(view.found), *further, _facts(view.numbers), *left)


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {safe(line)}" for line in lines)


def _facts(figures: Figures) -> str:
    return "\n".join(f"- {safe(label)}: {safe(value)}" for label, value in figures)
