"""Markdown for pull requests and tickets: the same answer, without drawings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from filiation.evidence import Report
from filiation.report import numbers
from filiation.report.answers import Answer
from filiation.report.custody import Custody
from filiation.report.figures import Figures
from filiation.report.groups import KindGroup
from filiation.report.mapping import path_text, summary_by_component
from filiation.report.story import Story, paired, tell
from filiation.report.sums import Sum, lines
from filiation.report.wording import Phrases

NAME = "markdown"
SUFFIX = ".md"

_SPECIAL = re.compile(r"([\\`*_\[\]#|<>~@&])")
_POWER = re.compile(r"10\^-([\d,]+)")


def render(report: Report, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the report as GitHub-flavoured markdown. Text from the models' own files is escaped."""
    story = tell(report, phrases)

    def say(key: str) -> str:
        return phrases.say("ui", key)

    blocks: list[str] = [f"# {safe(story.title)}"]
    for answer in story.answers:
        blocks += _answer(answer, phrases)
    blocks += [f"## {say('models')}", *_models(story)]
    blocks += [f"## {say('evidence')}"] if story.groups or story.likeness else []
    for total in story.sums:
        blocks += _sum(total, story, phrases)
    blocks += [safe(say("log10_e_plain")), safe(say("log10_e_sum"))] if story.sums else []
    blocks += [_group(group, story, phrases) for group in story.groups]
    blocks += _likeness(story, phrases)
    blocks += _maps(story, phrases)
    blocks += _happened(story, phrases)
    blocks += [f"## {say('untested')}", *_untested(story, phrases)]
    blocks += [f"## {say('limits')}", _items(story.limits) or say("no_limits")]
    blocks += [f"### {safe(say('validation'))}", safe(story.validation or say("not_validated"))]
    blocks += _reproduce(story, phrases)
    return "\n\n".join(block for block in blocks if block) + "\n"


def safe(text: str) -> str:
    """Escape everything that markdown or HTML would read as markup, a link or a mention; raise powers of ten."""
    escaped = _SPECIAL.sub(_escaped, numbers.clean(text).replace("10^-", "\x00"))
    return re.sub(r"\x00([\d,]+)", r"10<sup>−\1</sup>", escaped).replace("\x00", "10^\\-")


def _escaped(match: re.Match[str]) -> str:
    found = match[1]
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "@\u200b"}.get(found, f"\\{found}")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(safe(cell) for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    return "\n".join(f"| {line} |" for line in lines)


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {safe(line)}" for line in lines)


def _facts(figures: Figures) -> str:
    return "\n".join(f"- {safe(label)}: {safe(value)}" for label, value in figures)


def _answer(answer: Answer, phrases: Phrases) -> list[str]:
    happened = phrases.say("ui", "list_semicolon").join(answer.happened)
    return [
        f"**{safe(answer.name)}**",
        safe(answer.sentence),
        safe(answer.means),
        f"{safe(phrases.say('ui', 'happened'))}: **{safe(happened)}**" if happened else "",
        _facts(answer.facts),
        f"> {safe(answer.bound_meaning)}" if answer.bound_meaning else "",
        _items(answer.notes),
    ]


def _models(story: Story) -> list[str]:
    return [
        block
        for model in (story.suspect, *story.candidates)
        for block in (f"### {safe(model.heading)}", _facts(model.facts))
    ]


def _sum(total: Sum, story: Story, phrases: Phrases) -> list[str]:
    """The rows of one component, and how they make its combined evidence."""
    head = [phrases.say("ui", key) for key in ("test", "finding", "log10_e")]
    comma = phrases.say("ui", "list_semicolon")
    rows = [
        (row.name, comma.join(row.found) + (f" ({row.each})" if row.each else ""), row.figure)
        for row in total.rows
    ]
    aside = [
        (row.name, comma.join(filter(None, (*row.found, row.each, row.shows))), row.figure)
        for row in total.aside
    ]
    name = _of(phrases.name("component", total.component), total.candidate, story)
    several = len(story.sums) > 1
    return [
        f"### {safe(name)}" if several else "",
        _table(head, rows),
        _items(lines(phrases, total, story.sums)),
        f"#### {safe(phrases.say('ui', 'aside'))}" if aside else "",
        _table(head, aside) if aside else "",
    ]


def _group(group: KindGroup, story: Story, phrases: Phrases) -> str:
    head = [phrases.say("ui", key) for key in ("test", "finding", "log10_e")]
    rows = [
        (
            test.name if test.view is None else f"{test.name} ({test.view})",
            test.plain if test.each is None else f"{test.plain} ({test.each})",
            test.bans,
        )
        for test in group.tests
    ]
    return f"### {safe(_of(group.name, group.candidate, story))}\n\n{_table(head, rows)}"


def _of(name: str, candidate: int, story: Story) -> str:
    """Return a name with the candidate it speaks of, where there are several."""
    several = len(story.candidates) > 1 and candidate < len(story.candidates)
    return f"{name} · {story.candidates[candidate].name}" if several else name


def _name(candidate: int, story: Story) -> str | None:
    names = _names(story)
    return names[candidate] if candidate < len(names) else None


def _names(story: Story) -> tuple[str, ...]:
    return tuple(c.name for c in story.candidates) if len(story.candidates) > 1 else ()


def _likeness(story: Story, phrases: Phrases) -> list[str]:
    if not story.likeness:
        return []
    head = [phrases.say("ui", key) for key in ("test", "finding", "background")]
    rows = [
        (
            _of(entry.name, entry.evidence.candidate, story),
            entry.plain,
            phrases.say("ui", "list_semicolon").join(filter(None, (entry.background, entry.here))),
        )
        for entry in story.likeness
    ]
    note = safe(phrases.say("ui", "likeness_other_models"))
    return [f"### {safe(phrases.say('ui', 'likeness'))}", note, _table(head, rows)]


def _maps(story: Story, phrases: Phrases) -> list[str]:
    blocks: list[str] = []
    if story.maps:
        blocks += [
            f"## {safe(phrases.say('ui', 'layer_map'))}",
            _items(
                path_text(m, phrases, _name(m.candidate, story), found=paired(story, m.candidate))
                for m in story.maps
                if m.chosen
            ),
        ]
    if story.inheritance:
        summaries = summary_by_component(story.inheritance, phrases, _names(story))
        blocks += [f"## {safe(phrases.say('ui', 'inheritance'))}", _items(summaries)]
    return blocks


def _happened(story: Story, phrases: Phrases) -> list[str]:
    blocks = [f"## {safe(phrases.say('ui', 'happened'))}"]
    steps = [(answer, step) for answer in story.answers for step in answer.steps]
    for answer, step in steps:
        figures = phrases.say("ui", "list_semicolon").join(
            f"{label} {value}" for label, value in step.figures
        )
        blocks.append(
            f"**{safe(_of(step.name, answer.verdict.candidate, story))}** · {safe(step.text)}"
            + (f" ({safe(figures)})" if figures else "")
        )
    told = "happened_text" if steps else "nothing_happened"
    return [blocks[0], safe(phrases.say("ui", told)), *blocks[1:]]


def _untested(story: Story, phrases: Phrases) -> list[str]:
    if not story.untested:
        return [safe(phrases.say("ui", "all_tested"))]
    head = [phrases.say("ui", key) for key in ("test", "where", "reason")]
    rows = [(_of(entry.name, entry.candidate, story), entry.where, entry.reason) for entry in story.untested]
    return [_table(head, rows)]


def _reproduce(story: Story, phrases: Phrases) -> list[str]:
    versions = ", ".join(f"{name} {value}" for name, value in story.versions)
    return [
        f"## {safe(phrases.say('ui', 'reproduce'))}",
        f"```console\n{story.command}\n```",  # quoted so that it holds no backtick
        _facts(
            (
                (phrases.say("ui", "bytes_read"), story.bytes_read),
                (phrases.say("ui", "seeds"), story.seeds),
                (phrases.say("ui", "versions"), versions),
            )
        ),
    ]
