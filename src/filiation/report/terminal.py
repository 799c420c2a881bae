"""The terminal: 80 columns, colours that are never the only carrier of a meaning, NO_COLOR honoured."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from filiation.evidence import Relation, Report
from filiation.report import numbers
from filiation.report.answers import Answer, step_name
from filiation.report.custody import Custody
from filiation.report.draw.bands import EDGES, band
from filiation.report.extras import LayerMap
from filiation.report.figures import Figures
from filiation.report.flow import Flow
from filiation.report.groups import KindGroup, strength
from filiation.report.mapping import path_text, summary_by_component
from filiation.report.story import Story, paired, tell
from filiation.report.sums import Sum, SumRow, lines
from filiation.report.wording import Phrases

NAME = "terminal"
SUFFIX = ".txt"
WIDTH, MIN_WIDTH, MAX_WIDTH = 80, 40, 100

_COLOURS = {
    "identical": "bold blue",
    "common_origin": "bold blue",
    "shared_parts": "bold blue",
    "shared_initialisation": "bold yellow",
    "suggestive": "bold yellow",
}
_SHADES, _PLAIN_SHADES = " ·░▒▓█", " .:+#@"
_MAX_MAP = 36
_MODEL_KEYS = (
    "name",
    "digest",
    "digest_headers",
    "same_files",
    "revision",
    "format",
    "family",
    "geometry",
    "read",
    "inferred",
)


def columns() -> int:
    """Return how wide text is that no terminal shows: 80 columns, or what ``COLUMNS`` says (40 to 100)."""
    given = os.environ.get("COLUMNS", "")
    return min(max(int(given), MIN_WIDTH), MAX_WIDTH) if given.isascii() and given.isdigit() else WIDTH


def render(
    report: Report, phrases: Phrases, custody: Custody | None = None, *, width: int | None = None
) -> str:
    """Return the report as plain text without colours, 80 columns wide unless ``width`` is given."""
    with io.StringIO() as file:
        show(report, phrases, Console(file=file, width=width or WIDTH, no_color=True, force_terminal=False))
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def on_screen(report: Report, phrases: Phrases) -> None:
    """Print to the terminal that standard output is: in colour, as wide as the window up to 100 columns."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    show(report, phrases, console)


def show(report: Report, phrases: Phrases, console: Console) -> None:
    """Print the report: the answer first, then what it rests on, what was not tested, and how to repeat it."""
    story = tell(report, phrases)
    console.print()
    for answer in story.answers:
        console.print(_answer(answer, phrases))
    console.print(_models(story, phrases))
    console.print(_evidence(story, phrases))
    console.print(_maps(story, phrases, console))
    console.print(_happened(story, phrases))
    console.print(_open_ends(story, phrases))
    console.print(_heading(phrases.say("ui", "reproduce")))
    console.print(Text(f"  {story.command}"), soft_wrap=True)  # one line, so that it can be copied
    console.print(Padding(facts(_circumstances(story, phrases)), (0, 0, 1, 2)))


def one_line(report: Report, phrases: Phrases) -> Text:
    """Return the verdict as one line: relation, strength, derivation."""
    verdict = report.verdict
    relation = str(verdict.relation)
    line = Text(phrases.name("relation", relation), style=_COLOURS.get(relation, "bold"))
    if verdict.log10_e is not None and verdict.relation is not Relation.NONE_FOUND:
        line.append(
            f"  {phrases.say('ui', 'log10_e_ascii')} {numbers.bans(verdict.log10_e)}", style="not bold"
        )
    happened = ", ".join(
        dict.fromkeys(step_name(phrases, step.kind, step.numbers) for step in verdict.derivation)
    )
    return line.append(f"  {numbers.clean(happened)}" if happened else "", style="not bold")


def _heading(words: str) -> Text:
    return Text(words, style="bold")


def section(words: str, *content: RenderableType) -> RenderableType:
    """Return a heading with its content indented below it."""
    return Group(_heading(words), *(Padding(c, (0, 0, 0, 2)) for c in content), Text(""))


def _plain(*lines: str) -> Text:
    return Flow("\n".join(line for line in lines if line))


def facts(figures: Figures) -> Table:
    """Return labels and values in two columns."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", max_width=30)
    table.add_column(overflow="fold")
    for label, value in figures:
        table.add_row(Flow(label), Flow(value))
    return table


def table(head: Sequence[str], rows: Iterable[Sequence[str | Text]], right: int = 0) -> Table:
    """A table whose last ``right`` columns are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1), header_style="dim")
    for n, words in enumerate(head):
        number = n >= len(head) - right
        side = "right" if number else "left"
        table.add_column(
            Text(words), justify=side, overflow="fold", no_wrap=number, max_width=26 if n == 0 else None
        )
    for row in rows:
        table.add_row(*(Flow(cell) if isinstance(cell, str) else cell for cell in row))
    return table


def bullets(lines: Iterable[str]) -> Table:
    """Return a list."""
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(Text("-"), Flow(line))
    return table


def _answer(answer: Answer, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = [
        Text(answer.name, style=_COLOURS.get(answer.relation, "bold")),
        _plain(answer.sentence, answer.means),
        Text(""),
    ]
    happened = phrases.say("ui", "list_semicolon").join(answer.happened)
    known = (*answer.facts, *(((phrases.say("ui", "happened_short"), happened),) if happened else ()))
    if known:
        parts += [facts(known), Text("")]
    if answer.bound_meaning:
        parts += [Flow(answer.bound_meaning, style="italic"), Text("")]
    if answer.notes:
        parts += [bullets(answer.notes), Text("")]
    return Group(*parts)


def _models(story: Story, phrases: Phrases) -> RenderableType:
    wanted = {phrases.say("ui", key) for key in _MODEL_KEYS}
    sections = [
        section(
            model.heading,
            facts(tuple((k, v) for k, v in model.facts if k in wanted and v != numbers.MISSING)),
        )
        for model in (story.suspect, *story.candidates)
    ]
    if story.architecture is not None and any(story.architecture.values()):
        rows = tuple(
            (phrases.say("ui", key), phrases.say("ui", "list_semicolon").join(v))
            for key, v in story.architecture.items()
            if v
        )
        sections.append(section(phrases.say("ui", "architecture"), facts(rows)))
    return Group(*sections)


def _evidence(story: Story, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    for total in story.sums:
        parts.append(_sum(total, story, phrases))
    rows = [row for group in story.groups for row in _other_rows(group, story)]
    if rows:
        head = [phrases.say("ui", "test"), phrases.say("ui", "finding")]
        parts.append(section(phrases.say("kind", "history", "name"), table(head, rows)))
    if story.sums:
        notes = ("log10_e_plain", "log10_e_sum", "rows_left")
        parts.append(
            Padding(Group(*(Flow(phrases.say("ui", note)) for note in notes), Text("")), (0, 0, 0, 2))
        )
    if story.likeness:
        head = [phrases.say("ui", "test"), phrases.say("ui", "finding"), phrases.say("ui", "background")]
        rows = [
            (
                _numbered(entry.name, entry.evidence.candidate, story),
                entry.plain,
                "\n".join(filter(None, (entry.background, entry.here))),
            )
            for entry in story.likeness
        ]
        note = Flow(phrases.say("ui", "likeness_other_models"))
        parts.append(section(phrases.say("ui", "likeness"), table(head, rows), Text(""), note))
    return Group(*parts)


def _numbered(name: str, candidate: int, story: Story) -> str:
    """Return a name with the number of the candidate it speaks of, where there are several."""
    return f"{name} [{candidate + 1}]" if len(story.candidates) > 1 else name


def _sum(total: Sum, story: Story, phrases: Phrases) -> RenderableType:
    """The rows of one component, and how they make its combined evidence."""
    words = phrases.say("ui", "evidence")
    if len({other.component for other in story.sums}) > 1:
        words = phrases.say(
            "ui", "label_colon", label=words, value=phrases.name("component", total.component)
        )
    head = [phrases.say("ui", "test"), phrases.say("ui", "finding"), phrases.say("ui", "log10_e_ascii")]
    counted = table(head, (_sum_row(row) for row in total.rows), right=1)
    below = [Flow(line) for line in lines(phrases, total, story.sums)]
    shown = section(_numbered(words, total.candidate, story), counted, Text(""), *below)
    if not total.aside:
        return shown
    aside = table(head, (_sum_row(row, aside=True) for row in total.aside), right=1)
    return Group(shown, section(_numbered(phrases.say("ui", "aside"), total.candidate, story), aside))


def _sum_row(row: SumRow, *, aside: bool = False) -> tuple[str | Text, ...]:
    """One kind of label; why it stands aside is said below what was found."""
    found = Flow("\n".join(row.found))
    if row.each:
        found.append(f"\n{row.each}", style="dim")
    if aside and row.shows:
        found.append(f"\n{row.shows}", style="italic")
    style = "bold" if strength(row.log10_e) == "strong" and not aside else ""
    return row.name, found, Text(row.figure, style=style)


def _other_rows(group: KindGroup, story: Story) -> Iterable[tuple[str | Text, ...]]:
    """What enters no sum: traces of training."""
    for test in group.without_sum:
        name = Text(_numbered(test.name, group.candidate, story))
        if test.view:
            name.append(f"\n{test.view}", style="dim")
        yield name, Flow(test.plain)


def _maps(story: Story, phrases: Phrases, console: Console) -> RenderableType:
    parts: list[RenderableType] = []
    drawn: list[RenderableType] = []
    for found in (m for m in story.maps if m.chosen):
        drawn.append(Flow(_path(found, story, phrases)))
        if found.log10_e and any(i != j for i, j in found.pairs) and len(found.candidate_layers) <= _MAX_MAP:
            drawn.append(_shaded(found, phrases, console))
    if drawn:
        parts.append(section(phrases.say("ui", "layer_map"), *drawn))
    if story.inheritance:
        summaries = summary_by_component(story.inheritance, phrases, _names(story))
        parts.append(section(phrases.say("ui", "inheritance"), _plain(*summaries)))
    return Group(*parts)


def _names(story: Story) -> tuple[str, ...]:
    """The candidates' names with their numbers, where there are several."""
    several = len(story.candidates) > 1
    return tuple(f"[{n}] {c.name}" for n, c in enumerate(story.candidates, 1)) if several else ()


def _path(drawn: LayerMap, story: Story, phrases: Phrases) -> str:
    name = _model_of(drawn.candidate, story)
    return path_text(drawn, phrases, name, found=paired(story, drawn.candidate))


def _model_of(candidate: int, story: Story) -> str | None:
    names = _names(story)
    return names[candidate] if candidate < len(names) else None


def _shaded(found: LayerMap, phrases: Phrases, console: Console) -> Text:
    """The map in characters; the darker, the more evidence. Its legend stands below it."""
    shades = _SHADES if "utf" in console.encoding.lower() else _PLAIN_SHADES
    lines = [
        f"{layer:>4} " + "".join("? " if v is None else shades[int(band(v)[1])] * 2 for v in line)
        for layer, line in zip(found.suspect_layers, found.log10_e, strict=False)
    ]
    legend = "  ".join(f"{shade} ≥{edge:g}" for shade, edge in zip(shades[1:], EDGES, strict=True))
    return Text("\n".join(["", *lines, "", f"     {phrases.say('ui', 'log10_e_ascii')}: {legend}"]))


def _happened(story: Story, phrases: Phrases) -> RenderableType:
    content: list[RenderableType] = []
    for told, step in ((answer, step) for answer in story.answers for step in answer.steps):
        model = _model_of(told.verdict.candidate, story)
        if model and step is told.steps[0]:
            content.append(Text(model, style="dim"))
        words = phrases.say("ui", "label_colon", label=step.name, value=step.text)
        line = Flow(words)
        line.stylize("bold", 0, len(step.name))
        content.append(line)
        if step.figures:
            content.append(Padding(facts(step.figures), (0, 0, 0, 2)))
    told = "happened_text" if content else "nothing_happened"
    return section(phrases.say("ui", "happened"), _plain(phrases.say("ui", told)), *content)


def _open_ends(story: Story, phrases: Phrases) -> RenderableType:
    parts: list[RenderableType] = []
    if story.untested:
        head = [phrases.say("ui", "test"), phrases.say("ui", "where"), phrases.say("ui", "reason")]
        rows = [
            (_numbered(entry.name, entry.candidate, story), entry.where, entry.reason)
            for entry in story.untested
        ]
        parts.append(section(phrases.say("ui", "untested"), table(head, rows)))
    parts.append(section(phrases.say("ui", "limits"), bullets(story.limits)))
    known = story.validation or phrases.say("ui", "not_validated")
    parts.append(section(phrases.say("ui", "validation"), Flow(known)))
    return Group(*parts)


def _circumstances(story: Story, phrases: Phrases) -> Figures:
    return (
        (phrases.say("ui", "bytes_read"), story.bytes_read),
        (phrases.say("ui", "versions"), ", ".join(f"{name} {value}" for name, value in story.versions)),
        (phrases.say("ui", "seeds"), story.seeds),
    )
