"""Numbers of any kind as labels and text: those of a derivation, of settings, of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from filiation.evidence import plain
from filiation.report.numbers import MISSING, clean, figure, ranges
from filiation.report.wording import Phrases

_MAX_LIST = 12
Figures = tuple[tuple[str, str], ...]


def figures(phrases: Phrases, numbers: Mapping[str, Any]) -> Figures:
    """Return numbers of any kind as label and text; long lists are cut, with the count of what is left."""
    record = cast("Mapping[str, Any]", plain(numbers))
    return tuple(
        (clean(phrases.name("number", k)), value_text(phrases, v))
        for k, v in phrases.ordered("number", record)
    )


def value_text(phrases: Phrases, value: Any) -> str:
    """Return a value of any kind in words: numbers, runs of layers, lists, mappings."""
    if isinstance(value, Mapping):
        items = phrases.ordered("number", cast("Mapping[str, Any]", value))
        parts = [_entry(phrases, k, v) for k, v in items]
        return _cut(phrases, parts)
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        if entries and all(isinstance(e, int) and not isinstance(e, bool) for e in entries):
            whole = cast("list[int]", entries)
            if whole == sorted(set(whole)):
                return _cut(phrases, ranges(whole).split(", "))
        mark = "list_semicolon" if any(isinstance(e, Mapping) for e in entries) else "list_comma"
        return _cut(phrases, [value_text(phrases, e) for e in entries], mark)
    if isinstance(value, bool):
        return phrases.say("ui", "yes" if value else "no")
    if isinstance(value, str):
        return phrases.find("value", value) or phrases.find("derivation", value, "name") or clean(value)
    return figure(value)


def _entry(phrases: Phrases, key: str, value: Any) -> str:
    """One entry of a mapping: a known number by its name, a renaming as an arrow, anything else by its key."""
    text = value_text(phrases, value)
    if known := phrases.find("number", key) or phrases.find("value", key) or phrases.find("geometry", key):
        return f"{known} {text}"
    return f"{clean(key)} → {text}" if isinstance(value, str) else f"{clean(key)}: {text}"


def _cut(phrases: Phrases, parts: list[str], mark: str = "list_comma") -> str:
    if not parts:
        return MISSING
    comma = phrases.say("ui", mark)
    shown = comma.join(parts[:_MAX_LIST])
    more = len(parts) - _MAX_LIST
    return shown if more <= 0 else shown + comma + phrases.say("ui", "more", count=more)
