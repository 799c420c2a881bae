"""An audit's report as markdown, for pull requests and tickets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from filiation.auditing.records import AuditReport
from filiation.report.audit.story import AuditStory, RuleRow, counted, tell
from filiation.report.custody import Custody
from filiation.report.figures import Figures
from filiation.report.markdown import safe
from filiation.report.wording import Phrases

NAME = "markdown"
SUFFIX = ".md"


def render(report: AuditReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the report as GitHub-flavoured markdown. Text from the repositories is escaped."""
    story = tell(report, phrases)

    def say(key: str) -> str:
        return safe(phrases.find("audit", "ui", key) or phrases.say("ui", key))

    blocks = [
        f"# {safe(story.title)}",
        f"**{safe(story.answer.name)}**",
        safe(story.answer.sentence),
        _facts(story.answer.heads),
        safe(story.answer.means),
        f"> {safe(story.advice)}",
        f"## {say('duties')}",
        *_duties(story, phrases),
        f"## {say('examined')}",
        *_examined(story),
        f"## {say('findings')}",
        *_findings(story, phrases),
        f"## {say('alternatives')}",
        _items(story.alternatives),
        f"## {say('left')}",
        _left(story, phrases),
        f"## {say('limits')}",
        _items(story.limits),
        f"## {say('reproduce')}",
        "```console\n" + story.command.replace("`", "'") + "\n```",
        _facts(((phrases.say("ui", "versions"), ", ".join(f"{n} {v}" for n, v in story.versions)),)),
        *_custody(custody, phrases),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _custody(kept: Custody | None, phrases: Phrases) -> list[str]:
    """When, with what and from what the report was made; nothing for a report that has lost its custody."""
    if kept is None:
        return []
    inputs = [
        f"{i.role}: {i.name}{f'@{i.revision}' if i.revision else ''} ({len(i.files)}) {i.digest or ''}"
        for i in kept.inputs
    ]
    rows = (
        ("SHA-256", kept.report_sha256),
        ("UTC", f"{kept.started} – {kept.finished}"),
        (phrases.say("audit", "custody", "tool"), " ".join(kept.tool.values())),
        (phrases.say("ui", "host"), ", ".join(f"{k} {v}" for k, v in kept.host_class.items())),
        (phrases.say("ui", "versions"), ", ".join(f"{k} {v}" for k, v in kept.versions.items())),
        (phrases.say("ui", "lock"), kept.lock_sha256),
        (phrases.say("audit", "custody", "inputs"), phrases.say("ui", "list_semicolon").join(inputs)),
    )
    return [f"### {safe(phrases.say('ui', 'custody'))}", _facts(rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(safe(cell) for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    return "\n".join(f"| {line} |" for line in lines)


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"- {safe(line)}" for line in lines)


def _facts(figures: Figures) -> str:
    return "\n".join(f"- {safe(label)}: {safe(value)}" for label, value in figures)


def _duties(story: AuditStory, phrases: Phrases) -> list[str]:
    blocks: list[str] = []
    if story.parents:
        head = [
            phrases.say("ui", "name"),
            *(phrases.say("audit", "ui", k) for k in ("why_parent", "licences")),
        ]
        blocks.append(_table(head, story.parents))
    else:
        blocks.append(safe(phrases.say("audit", "ui", "parents_none")))
    for key in ("owed", "open", "satisfied"):
        rows: Sequence[RuleRow] = getattr(story, key)
        if rows:
            blocks.append(f"### {safe(phrases.say('audit', 'ui', f'duties_{key}'))} ({counted(rows)})")
            blocks.append(_rules(rows, phrases))
    if story.idle:
        idle = phrases.say("audit", "ui", "duties_idle", count=counted(story.idle))
        blocks += [f"### {safe(idle)}", _rules(story.idle, phrases)]
    return blocks


def _rules(rows: Sequence[RuleRow], phrases: Phrases) -> str:
    head = [phrases.say("audit", "ui", k) for k in ("rule", "status")] + [phrases.say("ui", "finding")]
    head += [phrases.say("audit", "ui", k) for k in ("clause", "place")]
    return _table(head, [(r.id, r.status_name, r.reason, r.clause, r.place) for r in rows])


def _examined(story: AuditStory) -> list[str]:
    blocks = [
        block
        for repository in (story.suspect, *story.references)
        for block in (f"### {safe(repository.heading)}", _facts(repository.facts))
    ]
    return [*blocks, _items(f"{name}: {fact}" for name, fact in story.corpus)]


def _findings(story: AuditStory, phrases: Phrases) -> list[str]:
    def say(key: str) -> str:
        return safe(phrases.say("audit", "ui", key))

    found = phrases.say("ui", "finding")
    blocks = [f"### {say('traces')}"]
    for group in story.traces:
        rows = [(r.kind, r.place, r.found + (f" ({r.details})" if r.details else "")) for r in group.rows]
        head = (phrases.say("ui", "test"), phrases.say("audit", "ui", "place"), found)
        blocks += [safe(group.heading), _table(head, rows)]
    blocks += [] if story.traces else [say("traces_none")]
    blocks.append(f"### {say('tokenizer')}")
    for view in story.tokenizers:
        blocks += [
            f"**{safe(view.reference)}**: {safe(view.relation_name)}. {safe(view.shows)}",
            _facts(view.facts),
        ]
    blocks += [] if story.tokenizers else [say("tokenizer_none")]
    if story.recognised:
        label = phrases.say("audit", "ui", "recognised")
        blocks.append(safe(phrases.say("ui", "label_colon", label=label, value=story.recognised)))
    blocks.append(f"### {say('code')}")
    for file in story.code:
        blocks += [f"**{safe(file.file)}**: {safe(file.level_name)}. {safe(file.shows)}", _facts(file.facts)]
        blocks += (
            [safe(file.names.text), _items(f"{a} ← {b} ({n})" for a, b, n in file.names.rows[:8])]
            if file.names
            else []
        )
    blocks += [] if story.code_examined else [say("code_none")]
    head = [phrases.say("audit", "ui", key) for key in ("place", "said", "status")]
    blocks += [say("copied"), _table(head, story.copied)] if story.copied else []
    blocks.append(f"### {say('claims')}")
    blocks.append(_table([phrases.say("audit", "ui", k) for k in ("subject", "said", "place")], story.claims))
    return blocks


def _left(story: AuditStory, phrases: Phrases) -> str:
    if not story.left:
        return safe(phrases.say("audit", "ui", "left_none"))
    head = [phrases.say("ui", "reason"), phrases.say("ui", "files"), phrases.say("audit", "ui", "place")]
    return _table(head, [(r.reason, str(r.count or ""), r.files) for r in story.left])
