"""What the verification of every kind of report has in common: locators of now, and how differences are told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from filiation.report.difference import Change, Difference
    from filiation.report.wording import Phrases

_MOST_LINES = 20


def at_commit(locator: str, revision: object) -> str:
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


def as_json(found: Difference, **answers: Any) -> dict[str, Any]:
    """Return the outcome as plain JSON types; ``answers`` are what the report said and says, by name."""
    changes = {key: [asdict(change) for change in listed] for key, listed in _kinds(found).items()}
    return {"holds": found.holds, **answers, **changes, "not_checked": list(found.unchecked)}


def _kinds(found: Difference) -> dict[str, tuple[Change, ...]]:
    return {
        "inputs": found.inputs,
        "findings": found.findings,
        "rounding": found.rounding,
        "circumstances": found.circumstances,
    }


def lines(
    found: Difference, not_checked: Sequence[str], phrases: Phrases, words: Mapping[str, str]
) -> list[str]:
    """Return the outcome in words, what differs, what was not checked, and what differs without meaning anything.

    Args:
        found: what differs.
        not_checked: sentences on what computing cannot confirm.
        phrases: the language.
        words: the sentences that begin the answer: ``holds``, ``holds_rounded``, ``differs``, ``inputs_differ``.
    """
    said: list[str] = []
    if found.inputs:
        said.append(words["inputs_differ"])
    elif found.findings:
        said.append(words["differs"])
    else:
        said.append(words["holds_rounded" if found.rounding else "holds"])
    said += listed(
        found.inputs or found.findings, phrases
    )  # other inputs have other findings: nothing to list
    said += not_checked
    told = [c for c in found.circumstances if (c.record, c.field) != ("tool", "version")]
    if told and not found.inputs:
        said.append(phrases.say("verify", "circumstances"))
        said += listed(told, phrases)
    return said


def listed(changes: Sequence[Change], phrases: Phrases) -> list[str]:
    """Return the changes, one a line, the first twenty of them."""
    said = [f"  {_change(change, phrases)}" for change in changes[:_MOST_LINES]]
    if len(changes) > _MOST_LINES:
        said.append(f"  {phrases.say('ui', 'more', count=len(changes) - _MOST_LINES)}")
    return said


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
