"""``filiation verify``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filiation.cli.options import STDOUT, JsonCommand, json_option, language_option
from filiation.cli.output import Sink
from filiation.cli.verify_audit import Now
from filiation.cli.verifying import as_json, at_commit, lines

if TYPE_CHECKING:
    from filiation.auditing.walk import Progress
    from filiation.cli.verify_audit import Checked
    from filiation.report.difference import Difference
    from filiation.report.shapes import Command
    from filiation.report.wording import Phrases


@click.command(name="verify", cls=JsonCommand)
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--suspect", metavar="L", help="Where the suspect is now, if not where the report says.")
@click.option(
    "--candidate",
    "--against",
    "candidates",
    metavar="L",
    multiple=True,
    help="Where each candidate, or each --against of an audit, is now, in order.",
)
@click.option("--base", metavar="L", help="Where the adapter's base is now.")
@click.option(
    "--evidence",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="REPORT.json",
    help="Where a comparison is now that an audit was given as evidence. Repeatable.",
)
@json_option
@language_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing; the exit code tells (0 holds, 1 does not).")
def command(
    report: Path,
    suspect: str | None,
    candidates: tuple[str, ...],
    base: str | None,
    evidence: tuple[Path, ...],
    json_to: str | None,
    lang: str,
    quiet: bool,
) -> int:
    """Compute a stored REPORT of compare or audit again and say whether it still holds (exit 0) or not (exit 1).

    Every key that computing determines is compared: verdict, evidence, maps, rules, models, limits. What cannot be
    checked that way (the version that wrote it, the error rates of a comparison, bytes that were listed and not read)
    is said.

    \b
    Example:
      filiation verify report.json --suspect ./child --candidate ./base
      filiation verify audit.json --suspect ./model --candidate ./other
    """
    from filiation.cli.progress import progress
    from filiation.evidence import AUDIT_SCHEMA, SCHEMA
    from filiation.report.reading import read_document
    from filiation.report.wording import phrases
    from filiation.report.writing import check_writable, write

    sink = Sink(quiet=quiet, machine=json_to == STDOUT)
    if json_to not in (None, STDOUT):
        check_writable(Path(str(json_to)))
    stored = read_document(report, (SCHEMA, AUDIT_SCHEMA))
    _check_options(stored["schema"] == AUDIT_SCHEMA, base, evidence)
    with progress(sink) as tell:
        if stored["schema"] == AUDIT_SCHEMA:
            outcome = _audit(stored, report, Now(suspect, candidates, evidence), tell)
        else:
            outcome = _comparison(stored, report, Where(suspect, candidates, base), tell)
    text = json.dumps(outcome.as_json(), sort_keys=True, ensure_ascii=False, indent=2)
    if json_to == STDOUT:
        sink.data(text)
    elif json_to is not None:
        write(Path(json_to), text + "\n")
    if json_to != STDOUT and not quiet:
        sink.data("\n".join(outcome.lines(phrases(lang))))
    return 0 if outcome.found.holds else 1


def _check_options(audit: bool, base: str | None, evidence: Sequence[Path]) -> None:
    from filiation.errors import UsageError

    if audit and base is not None:
        raise UsageError(
            "The report is that of an audit, which has no --base.", next_step="Leave --base out."
        )
    if evidence and not audit:
        raise UsageError(
            "The report is that of a comparison, which takes no evidence.", next_step="Leave --evidence out."
        )


def _audit(stored: dict[str, Any], path: Path, now: Now, tell: Progress | None) -> Checked:
    from filiation.cli.verify_audit import check
    from filiation.report.reading import as_audit

    return check(stored, as_audit(stored, path), path, now, tell)


@dataclass(frozen=True)
class Where:
    """Where the models of a comparison are now, where that is not where the report says."""

    suspect: str | None
    candidates: tuple[str, ...]
    base: str | None


@dataclass(frozen=True)
class Compared:
    """The outcome for a comparison: the stored report, the one made again, and what differs."""

    stored: dict[str, Any]
    again: dict[str, Any]
    found: Difference

    def as_json(self) -> dict[str, Any]:
        """Return the outcome as plain JSON types."""

        def relation(document: Mapping[str, Any]) -> Any:
            return (document.get("verdict") or {}).get("relation")

        return as_json(self.found, relation={"old": relation(self.stored), "new": relation(self.again)})

    def lines(self, phrases: Phrases) -> list[str]:
        """Return the outcome in words."""
        not_checked = _not_checked(self.found, self.stored, phrases)
        return lines(self.found, not_checked, phrases, _words(self.found, phrases))


def _comparison(stored: dict[str, Any], path: Path, now: Where, tell: Progress | None) -> Compared:
    from filiation.comparison import compare_models
    from filiation.evidence import to_json
    from filiation.report.difference import difference
    from filiation.report.reading import as_report, read_command

    command = read_command(as_report(stored, path), path)
    asked = _relocated(command, now.suspect, now.candidates, now.base)
    pinned = _pinned(asked, command, stored)
    report_now = compare_models(**pinned, progress=tell)
    again = _as_asked(json.loads(to_json(report_now)), asked, pinned, stored)
    return Compared(stored, again, difference(stored, again, moved=_moved(command, asked)))


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
        "seed": command.seed,
    }


def _pinned(asked: Mapping[str, Any], command: Command, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with every hub id that names no revision pinned to the commit the report speaks of.

    A branch may have moved on since: the report is about the commit that it recorded. What the caller says lies
    elsewhere now is taken as it is.
    """
    models = stored.get("models") or {}
    candidates = [
        at_commit(now, (models.get("candidates") or [{}])[n].get("revision")) if now == then else now
        for n, (now, then) in enumerate(zip(asked["candidates"], command.candidates, strict=True))
    ]
    suspect = asked["suspect"]
    # A suspect that is an adapter has a revision of its own; its base is not pinned in the report.
    if suspect == command.suspect:
        suspect = at_commit(suspect, (models.get("suspect") or {}).get("revision"))
    return {**asked, "suspect": suspect, "candidates": candidates}


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


def _words(found: Difference, phrases: Phrases) -> dict[str, str]:
    keys = ("holds", "differs", "inputs_differ")
    rounded = phrases.say("verify", "holds_rounded", count=len(found.rounding))
    return {"holds_rounded": rounded, **{key: phrases.say("verify", key) for key in keys}}


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
