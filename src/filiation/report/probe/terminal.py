"""A probe's report in the terminal: 80 columns, colours that are never the only carrier of a meaning."""

from __future__ import annotations

import io
import sys

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from filiation.probing.records import ProbeReport
from filiation.report.custody import Custody
from filiation.report.flow import Flow
from filiation.report.probe.findings import TestView
from filiation.report.probe.story import ProbeStory, tell
from filiation.report.terminal import MAX_WIDTH, WIDTH, bullets, facts, section, table
from filiation.report.wording import Phrases

NAME = "terminal"
SUFFIX = ".txt"

_STYLES = {
    "same_weights": "bold blue",
    "derivative": "bold blue",
    "trained_on_outputs": "bold blue",
    "associated": "bold yellow",
    "different": "bold",
}


def render(
    report: ProbeReport, phrases: Phrases, custody: Custody | None = None, *, width: int | None = None
) -> str:
    """Return the report as plain text without colours, 80 columns wide unless ``width`` is given."""
    with io.StringIO() as file:
        show(report, phrases, Console(file=file, width=width or WIDTH, no_color=True, force_terminal=False))
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def on_screen(report: ProbeReport, phrases: Phrases) -> None:
    """Print to the terminal that standard output is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    show(report, phrases, console)


def show(report: ProbeReport, phrases: Phrases, console: Console) -> None:
    """Print the report: the answer, each test, what was not measured, who was asked, the limits, how to repeat it."""
    story = tell(report, phrases)

    def say(key: str) -> str:
        return phrases.say("probe", "ui", key)

    console.print()
    console.print(Text(story.answer.name, style=_STYLES.get(story.answer.relation, "bold")))
    console.print(Flow(story.answer.sentence))
    for line in story.answer.attention:
        console.print(Flow(f"! {line}"))
    console.print(Text())
    console.print(facts(story.answer.heads))
    console.print(Text())
    console.print(Flow(story.answer.means))
    console.print(Text())
    for view in story.measured:
        console.print(_test(view, phrases.say("ui", "cannot_show")))
    if story.left:
        rows = [(view.name, view.found) for view in story.left]
        console.print(section(say("left"), table((say("test"), phrases.say("ui", "reason")), rows)))
    console.print(_endpoints(story, say("asked")))
    console.print(section(phrases.say("ui", "limits"), bullets(story.limits)))
    console.print(Text(phrases.say("ui", "reproduce"), style="bold"))
    console.print(Text(f"  {story.command}"), soft_wrap=True)  # one line, so that it can be copied
    versions = ", ".join(f"{name} {value}" for name, value in story.versions)
    console.print(Padding(facts((*story.spent, (phrases.say("ui", "versions"), versions))), (0, 0, 1, 2)))


def _test(view: TestView, cannot: str) -> RenderableType:
    parts: list[RenderableType] = [
        Flow(view.question, style="dim"),
        Flow(view.found),
        *(Flow(line) for line in view.further),
        Padding(facts(view.numbers), (0, 0, 0, 2)),
    ]
    parts += [Flow(f"{cannot}:", style="dim"), bullets(view.cannot_show)] if view.cannot_show else []
    return section(f"{view.name}: {view.outcome_name}", *parts)


def _endpoints(story: ProbeStory, heading: str) -> RenderableType:
    parts: list[RenderableType] = []
    for view in (story.suspect, *story.others):
        parts += [Text(view.heading, style="dim"), Padding(facts(view.facts), (0, 0, 0, 2))]
    return section(heading, *parts)
