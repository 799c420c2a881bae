"""An audit's report in the terminal: 80 columns, colours that are never the only carrier of a meaning."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from filiation.auditing.records import AuditReport
from filiation.report.audit.code import CodeView
from filiation.report.audit.story import AuditStory, RuleRow, counted, tell
from filiation.report.custody import Custody
from filiation.report.flow import Flow
from filiation.report.numbers import MISSING
from filiation.report.terminal import MAX_WIDTH, WIDTH, bullets, facts, section, table
from filiation.report.wording import Phrases

NAME = "terminal"
SUFFIX = ".txt"

_STYLES = {"owed": "bold yellow", "open": "bold", "met": "bold blue"}
_MOST_CLAIMS, _MOST_OTHERS = 40, 8


def render(
    report: AuditReport, phrases: Phrases, custody: Custody | None = None, *, width: int | None = None
) -> str:
    """Return the report as plain text without colours, 80 columns wide unless ``width`` is given."""
    with io.StringIO() as file:
        show(report, phrases, Console(file=file, width=width or WIDTH, no_color=True, force_terminal=False))
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def on_screen(report: AuditReport, phrases: Phrases) -> None:
    """Print to the terminal that standard output is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    show(report, phrases, console)


def show(report: AuditReport, phrases: Phrases, console: Console) -> None:
    """Print the report: the answer, what is owed, the findings by head, what was left out, how to repeat it."""
    story = tell(report, phrases)

    def say(key: str) -> str:
        return phrases.say("audit", "ui", key)

    console.print()
    console.print(Text(story.answer.name, style=_STYLES.get(story.answer.outcome, "bold")))
    console.print(Flow(story.answer.sentence))
    console.print(Text())
    console.print(facts(story.answer.heads))
    console.print(Text())
    console.print(Flow(story.answer.means))
    console.print(Flow(story.advice, style="italic"))
    console.print(Text())
    console.print(_examined(story, say("examined"), say("corpus"), phrases))
    console.print(_traces(story, say("traces"), phrases))
    console.print(_tokenizer(story, phrases))
    console.print(_code(story, phrases))
    console.print(_claims(story, phrases))
    console.print(_duties(story, phrases))
    console.print(section(say("alternatives"), bullets(story.alternatives)))
    console.print(_left(story, phrases))
    console.print(section(phrases.say("ui", "limits"), bullets(story.limits)))
    console.print(Text(phrases.say("ui", "reproduce"), style="bold"))
    console.print(Text(f"  {story.command}"), soft_wrap=True)  # one line, so that it can be copied
    versions = ", ".join(f"{name} {value}" for name, value in story.versions)
    rows = ((phrases.say("ui", "versions"), versions), (phrases.say("ui", "seeds"), say("seeds_none")))
    console.print(Padding(facts(rows), (0, 0, 1, 2)))


def _examined(story: AuditStory, heading: str, corpus: str, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    for repository in (story.suspect, *story.references):
        parts += [Text(repository.heading, style="dim"), Padding(facts(repository.facts), (0, 0, 0, 2))]
    if story.corpus:
        parts.append(Text(corpus, style="dim"))
        parts.append(Padding(bullets(name for name, _ in story.corpus), (0, 0, 0, 2)))
    return section(heading, *parts)


def _traces(story: AuditStory, heading: str, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    head = [phrases.say("audit", "ui", "place"), phrases.say("ui", "finding")]
    for group in story.traces:
        rows: list[tuple[str | Text, ...]] = []
        for row in group.rows:
            found = Flow(row.found)
            if row.details:
                found.append(f"\n{row.details}", style="dim")
            rows.append((row.place, found))
        parts += [Text(group.heading, style="dim"), table(head, rows), Text("")]
    return section(heading, *(parts[:-1] or [Flow(phrases.say("audit", "ui", "traces_none"))]))


def _tokenizer(story: AuditStory, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    for view in story.tokenizers:
        parts.append(Flow(phrases.say("ui", "label_colon", label=view.reference, value=view.relation_name)))
        if view.shows:
            parts.append(Flow(view.shows))
        parts.append(Padding(facts(view.facts), (0, 0, 0, 2)))
    if not story.tokenizers:
        parts.append(Flow(phrases.say("audit", "ui", "tokenizer_none")))
    if story.recognised:
        label = phrases.say("audit", "ui", "recognised")
        parts.append(Flow(phrases.say("ui", "label_colon", label=label, value=story.recognised)))
    return section(phrases.say("audit", "ui", "tokenizer"), *parts)


def _code(story: AuditStory, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = [part for view in story.code for part in _file(view, phrases)]
    if not story.code_examined:
        parts.append(Flow(phrases.say("audit", "ui", "code_none")))
    elif story.code_others:
        label = phrases.say("audit", "ui", "code_others", count=len(story.code_others))
        more = len(story.code_others) - _MOST_OTHERS
        shown = [
            *story.code_others[:_MOST_OTHERS],
            *([phrases.say("ui", "more", count=more)] if more > 0 else []),
        ]
        value = phrases.say("ui", "list_comma").join(shown)
        parts.append(Flow(phrases.say("ui", "label_colon", label=label, value=value)))
    told = [phrases.say("ui", "label_colon", label=name, value=n) for name, n in story.copied_counts]
    for key, rows in (("copied", [Flow(line) for line in told]), ("disclosed", _stated(story, phrases))):
        if rows:
            parts += [
                Text(phrases.say("audit", "ui", key), style="dim"),
                *(Padding(r, (0, 0, 0, 2)) for r in rows),
            ]
    return section(phrases.say("audit", "ui", "code"), *parts)


def _stated(story: AuditStory, phrases: Phrases) -> list[RenderableType]:
    lines = [f"{place}: {source} ({names})" for place, source, names in story.disclosed[:_MOST_OTHERS]]
    return [bullets(lines)] if lines else []


def _file(view: CodeView, phrases: Phrases) -> list[RenderableType]:
    line = Flow(phrases.say("ui", "label_colon", label=view.file, value=view.level_name))
    line.stylize("bold", 0, len(view.file))
    parts: list[RenderableType] = [line, Flow(view.shows), Padding(facts(view.facts), (0, 0, 0, 2))]
    if view.names is not None:
        parts.append(Padding(Flow(view.names.text), (0, 0, 0, 2)))
        parts.append(
            Padding(bullets(f"{new} ← {old} ({n})" for new, old, n in view.names.rows[:6]), (0, 0, 0, 2))
        )
    return parts


def _claims(story: AuditStory, phrases: Phrases) -> RenderableType:
    head = [phrases.say("audit", "ui", key) for key in ("subject", "said", "place")]
    parts: list[RenderableType] = [table(head, story.claims[:_MOST_CLAIMS])]
    if (more := len(story.claims) - _MOST_CLAIMS) > 0:
        parts.append(Text(phrases.say("ui", "more", count=more)))
    return section(phrases.say("audit", "ui", "claims"), *parts)


def _duties(story: AuditStory, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    if story.parents:
        head = [
            phrases.say("ui", "name"),
            *(phrases.say("audit", "ui", k) for k in ("why_parent", "licences")),
        ]
        parts += [table(head, story.parents), Text("")]
    else:
        parts += [Flow(phrases.say("audit", "ui", "parents_none")), Text("")]
    for key in ("owed", "open", "satisfied"):
        rows: Sequence[RuleRow] = getattr(story, key)
        if rows:
            parts += [
                Text(f"{phrases.say('audit', 'ui', f'duties_{key}')} ({counted(rows)})", style="dim"),
                _rules(rows, phrases),
                Text(""),
            ]
    idle = idle_entries(story)
    if idle:
        label = phrases.say("audit", "ui", "duties_idle", count=counted(story.idle))
        value = phrases.say("ui", "list_comma").join(idle)
        parts.append(Flow(phrases.say("ui", "label_colon", label=label, value=value)))
    return section(phrases.say("audit", "ui", "duties"), *parts)


def idle_entries(story: AuditStory) -> list[str]:
    """Return the rules that do not apply, each once; one that holds for another parent with the parent it spares."""
    told = {i for row in (*story.owed, *story.open, *story.satisfied) for i in row.id.split(", ")}
    entries: dict[str, None] = {}
    for row in story.idle:
        for ident in row.id.split(", "):
            entries[f"{ident} ({row.parent})" if ident in told and row.parent else ident] = None
    return list(entries)


def _rules(rows: Sequence[RuleRow], phrases: Phrases) -> RenderableType:
    head = [
        phrases.say("audit", "ui", "rule"),
        phrases.say("ui", "finding"),
        phrases.say("audit", "ui", "place"),
    ]
    cells: list[tuple[str | Text, ...]] = []
    for row in rows:
        found = Flow(row.reason)
        if row.clause != MISSING:
            found.append(f"\n{row.clause}", style="dim")
        cells.append((Text(f"{row.id} {row.status_name}"), found, row.place))
    return table(head, cells)


def _left(story: AuditStory, phrases: Phrases) -> RenderableType:
    heading = phrases.say("audit", "ui", "left")
    if not story.left:
        return section(heading, Flow(phrases.say("audit", "ui", "left_none")))
    rows = [(row.reason, str(row.count) if row.count else "", row.files) for row in story.left]
    head = [phrases.say("ui", "reason"), phrases.say("ui", "files"), phrases.say("audit", "ui", "place")]
    return section(heading, table(head, rows))
