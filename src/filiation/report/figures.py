"""Numbers of any kind as labels and text: those of a derivation, of settings, of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from filiation.evidence import plain
from filiation.report.numbers import MISSING, clean, figure, ranges
from filiation.report.sentences import role_name
from filiation.report.wording import Phrases

_MAX_LIST = 12
#: Numbers whose values are roles, and those whose values are components.
_ROLES, _COMPONENTS = frozenset({"roles", "inherited_roles", "foreign_roles"}), frozenset({"components"})
#: What says where an entry of a list is, before what it says.
_PLACES = ("layer", "expert", "part")
Figures = tuple[tuple[str, str], ...]


def figures(phrases: Phrases, numbers: Mapping[str, Any], kind: str = "") -> Figures:
    """Return numbers of any kind as label and text; long lists are cut, with the count of what is left.

    ``kind``: of the derivation they belong to, in which some numbers have a label of their own.
    """
    record = cast("Mapping[str, Any]", plain(numbers))
    turned = bool(record.get("reversed"))
    return tuple(
        (clean(_label(phrases, kind, k, turned=turned)), _named(phrases, k, v))
        for k, v in phrases.ordered("number", record)
        if k != "reversed"  # the step's name says so
    )


def _label(phrases: Phrases, kind: str, key: str, *, turned: bool) -> str:
    """Return a number's label: what is told from the suspect to the candidate speaks of the other model."""
    tries = [f"{kind}_{key}_reversed", f"{key}_reversed"] if turned else []
    found = (phrases.find("number", name) for name in (*tries, f"{kind}_{key}"))
    return next((label for label in found if label), None) or phrases.name("number", key)


def _named(phrases: Phrases, key: str, value: Any) -> str:
    """Return a number's value; roles and components are called what they are called elsewhere."""
    if not isinstance(value, list) or key not in _ROLES | _COMPONENTS:
        return value_text(phrases, value)
    names = [str(name) for name in cast("list[Any]", value)]
    words = [role_name(phrases, n) if key in _ROLES else phrases.name("component", n) for n in names]
    return _cut(phrases, words)


def value_text(phrases: Phrases, value: Any) -> str:
    """Return a value of any kind in words: numbers, runs of layers, lists, mappings."""
    if isinstance(value, Mapping):
        known = cast("Mapping[str, Any]", value)
        places = [(key, known[key]) for key in _PLACES if key in known]
        rest = phrases.ordered("number", {k: v for k, v in known.items() if k not in _PLACES})
        parts = [_entry(phrases, k, v) for k, v in (*places, *rest)]
        by_layer = any(key.isdigit() for key in known)
        return _cut(phrases, parts, "list_semicolon" if by_layer else "list_comma")
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
    """One entry of a mapping: a layer or a known number by its name, a renaming as an arrow, else by its key."""
    text = value_text(phrases, value)
    if key.isdigit():
        return phrases.say(
            "ui", "label_colon", label=phrases.say("where", "label_layer", layer=key), value=text
        )
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
