"""``filiation verify``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filiation.cli.options import STDOUT, JsonCommand, json_option, language_option
from filiation.cli.output import Sink

if TYPE_CHECKING:
    from filiation.report.difference import Change, Difference
    from filiation.report.shapes import Command
    from filiation.report.wording import Phrases

_MOST_LINES = 20


@click.command(name="verify", cls=JsonCommand)
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--suspect", metavar="L", help="Where the suspect is now, if not where the report says.")
@click.option(
    "--candidate", "candidates", metavar="L", multiple=True, help="Where each candidate is now, in order."
)
@click.option("--base", metavar="L", help="Where the adapter's base is now.")
@json_option
@language_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit code tells (0 holds, 1 does not).")
def command(
    report: Path,
    suspect: str | None,
    candidates: tuple[str, ...],
    base: str | None,
    json_to: str | None,
    lang: str,
    quiet: bool,
) -> int:
    """Compute a stored REPORT again and say whether it still holds (exit 0) or not (exit 1).

    Every key that computing determines is compared: verdict, evidence, maps, models, limits. What cannot be checked
    that way (the error rates under "validation", the version that wrote it) is said.

    \b
    Example:
      filiation verify report.json --suspect ./child --candidate ./base
    """
    from filiation.cli.progress import progress
    from filiation.comparison import compare_models
    from filiation.evidence import to_json
    from filiation.report.difference import difference
    from filiation.report.reading import as_report, read_command, read_document
    from filiation.report.wording import phrases
    from filiation.report.writing import check_writable, write

    sink = Sink(quiet=quiet, machine=json_to == STDOUT)
    if json_to not in (None, STDOUT):
        check_writable(Path(str(json_to)))
    stored = read_document(report)
    command = read_command(as_report(stored, report), report)
    asked = _relocated(command, suspect, candidates, base)
    pinned = _pinned(asked, command, stored)
    with progress(sink) as tell:
        report_now = compare_models(**pinned, progress=tell)
    again = _as_asked(json.loads(to_json(report_now)), asked, pinned, stored)
    found = difference(stored, again, moved=_moved(command, asked))
    text = json.dumps(_as_json(found, stored, again), sort_keys=True, ensure_ascii=False, indent=2)
    if json_to == STDOUT:
        sink.data(text)
    elif json_to is not None:
        write(Path(json_to), text + "\n")
    if json_to != STDOUT and not quiet:
        sink.data("\n".join(_lines(found, stored, phrases(lang))))
    return 0 if found.holds else 1


def _relocated(
    command: Command, suspect: str | None, candidates: Sequence[str], base: str | None
) -> dict[str, Any]:
    """Return the arguments of the comparison that made the report, with the locators of now."""
    from filiation.errors import UsageError

    if candidates and len(candidates) != len(command.candidates):
        raise UsageError(
            f"The report has {len(command.candidates)} candidates, {len(candidates)} were given.",
            next_step="Give --candidate once for each, in the report's order.",
        )
    return {
        "suspect": suspect or command.suspect,
        "candidates": list(candidates) or command.candidates,
        "full": command.full,
        "budget": command.budget,
        "base": base or command.base,
    }


def _pinned(asked: Mapping[str, Any], command: Command, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with every hub id that names no revision pinned to the commit the report speaks of.

    A branch may have moved on since: the report is about the commit that it recorded. What the caller says lies
    elsewhere now is taken as it is.
    """
    models = stored.get("models") or {}
    candidates = [
        _at_commit(now, (models.get("candidates") or [{}])[n].get("revision")) if now == then else now
        for n, (now, then) in enumerate(zip(asked["candidates"], command.candidates, strict=True))
    ]
    suspect = asked["suspect"]
    # A suspect that is an adapter has a revision of its own; its base is not pinned in the report.
    if suspect == command.suspect:
        suspect = _at_commit(suspect, (models.get("suspect") or {}).get("revision"))
    return {**asked, "suspect": suspect, "candidates": candidates}


def _at_commit(locator: str, revision: object) -> str:
    """Return a hub locator at a commit; anything else, and one that names a revision already, as it is."""
    from filiation.checkpoint.sources import hub_locator
    from filiation.errors import UsageError

    if not isinstance(revision, str) or not revision or Path(locator).exists():
        return locator
    if not hub_locator.recognises(locator) or not re.fullmatch("[0-9a-f]{40}", revision):
        return locator
    try:
        named = hub_locator.parse(locator)
    except UsageError:
        return locator  # opening it says what is wrong
    if named.revision is not None:
        return locator
    return f"hf://{named.repo}@{revision}" + (f"/{named.path}" if named.path else "")


def _as_asked(
    again: dict[str, Any], asked: Mapping[str, Any], pinned: Mapping[str, Any], stored: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the new report with the locators that were asked for in place of the pinned ones."""
    old, new = stored["models"], again["models"]
    if pinned["suspect"] != asked["suspect"]:
        again["command"]["suspect"] = asked["suspect"]
        new["suspect"]["locator"] = old["suspect"]["locator"]
    for n, locator in enumerate(asked["candidates"]):
        if pinned["candidates"][n] != locator:
            again["command"]["candidates"][n] = locator
            new["candidates"][n]["locator"] = old["candidates"][n]["locator"]
    return again


def _moved(command: Command, asked: Mapping[str, Any]) -> frozenset[str]:
    """Return which models are not where the report says."""
    candidates = zip(asked["candidates"], command.candidates, strict=True)
    moved = {f"candidates[{n}]" for n, (now, then) in enumerate(candidates) if now != then}
    moved |= {"suspect"} if asked["suspect"] != command.suspect else set()
    # What an adapter is merged into is part of the suspect, and of its name.
    return frozenset(moved | ({"base", "suspect"} if asked["base"] != command.base else set()))


def _as_json(found: Difference, stored: Mapping[str, Any], again: Mapping[str, Any]) -> dict[str, Any]:
    def relation(document: Mapping[str, Any]) -> Any:
        return (document.get("verdict") or {}).get("relation")

    return {
        "holds": found.holds,
        "relation": {"old": relation(stored), "new": relation(again)},
        **{key: [asdict(change) for change in changes] for key, changes in _kinds(found).items()},
        "not_checked": list(found.unchecked),
    }


def _kinds(found: Difference) -> dict[str, tuple[Change, ...]]:
    return {
        "inputs": found.inputs,
        "findings": found.findings,
        "rounding": found.rounding,
        "circumstances": found.circumstances,
    }


def _lines(found: Difference, stored: Mapping[str, Any], phrases: Phrases) -> list[str]:
    """Return the outcome in words, what differs, what was not checked, and what differs without meaning anything."""
    lines: list[str] = []
    if found.inputs:
        lines.append(phrases.say("verify", "inputs_differ"))
    elif found.findings:
        lines.append(phrases.say("verify", "differs"))
    elif found.rounding:
        lines.append(phrases.say("verify", "holds_rounded", count=len(found.rounding)))
    else:
        lines.append(phrases.say("verify", "holds"))
    changes = found.inputs or found.findings  # other models have other findings: nothing to list
    lines += _listed(changes, phrases)
    lines += _not_checked(found, stored, phrases)
    told = [c for c in found.circumstances if (c.record, c.field) != ("tool", "version")]
    if told and not found.inputs:
        lines.append(phrases.say("verify", "circumstances"))
        lines += _listed(told, phrases)
    return lines


def _not_checked(found: Difference, stored: Mapping[str, Any], phrases: Phrases) -> list[str]:
    """Say which keys of the report computing cannot confirm, so that nobody takes silence for a check."""
    from filiation._version import __version__
    from filiation.report.numbers import clean

    old = clean((stored.get("tool") or {}).get("version"))
    lines: list[str] = []
    if "tool.version" in found.unchecked:
        lines.append(phrases.say("verify", "version_differs", old=old, new=__version__))
    key = "validation_same" if "tool.version" not in found.unchecked else "validation_other"
    if any(change.record == "validation" for change in found.findings):
        key = "validation_other"
    return [*lines, phrases.say("verify", key, old=old, new=__version__)]


def _listed(changes: Sequence[Change], phrases: Phrases) -> list[str]:
    lines = [f"  {_change(change, phrases)}" for change in changes[:_MOST_LINES]]
    if len(changes) > _MOST_LINES:
        lines.append(f"  {phrases.say('ui', 'more', count=len(changes) - _MOST_LINES)}")
    return lines


def _change(change: Change, phrases: Phrases) -> str:
    from filiation.report.numbers import clean

    record = clean(change.record)
    if not change.field and change.new is None:
        return phrases.say("verify", "missing", id=record)
    if not change.field and change.old is None:
        return phrases.say("verify", "new", id=record)
    old, new = (clean(json.dumps(value, ensure_ascii=False))[:80] for value in (change.old, change.new))
    if not change.field:
        return phrases.say("verify", "record", id=record, old=old, new=new)
    return phrases.say("verify", "field", id=record, field=clean(change.field), old=old, new=new)
