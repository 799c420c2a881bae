"""Edits of a card's front matter that touch nothing but the keys they set."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

_PLAIN = re.compile(r"^[A-Za-z][A-Za-z0-9_./+-]*$")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n"})


def set_key(card: str, key: str, values: Sequence[str]) -> str:
    """Return the card with a top-level key set to a value, or to a list where there are several.

    A card without front matter gets one; a key that is there is replaced where it stands.
    """
    lines = card.splitlines()
    if not lines or lines[0].strip() != "---":
        return "\n".join(["---", *_entry(key, values), "---", "", *lines]) + "\n"
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if end is None:
        return "\n".join(["---", *_entry(key, values), "---", "", *lines[1:]]) + "\n"
    start, stop = _span(lines, key, end)
    return "\n".join([*lines[:start], *_entry(key, values), *lines[stop:]]) + "\n"


def _span(lines: Sequence[str], key: str, end: int) -> tuple[int, int]:
    """Return where a key's entry stands; where it is missing, the place before the end of the front matter."""
    for start in range(1, end):
        if re.match(rf"^{re.escape(key)}\s*:", lines[start]):
            stop = start + 1
            while stop < end and not re.match(r"^[^\s#-]", lines[stop]):
                stop += 1
            return start, stop
    return end, end


def _entry(key: str, values: Sequence[str]) -> list[str]:
    if len(values) == 1:
        return [f"{key}: {_scalar(values[0])}"]
    return [f"{key}:", *(f"- {_scalar(v)}" for v in values)]


def _scalar(value: str) -> str:
    """A value as YAML: plain where it cannot be read as anything else, else quoted as JSON, which YAML reads."""
    if _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
