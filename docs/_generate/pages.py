"""Generated parts of a page stand between `<!-- generated: NAME -->` and `<!-- end: NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def part(text: str, name: str) -> str:
    """Return the generated part of a page.

    Raises:
        KeyError: the page has no such part.
    """
    found = _pattern(name).search(text)
    if found is None:
        raise KeyError(f"no part '{name}': write <!-- generated: {name} --> and <!-- end: {name} -->")
    return found[2]


def with_part(text: str, name: str, content: str) -> str:
    """Return the page with this part replaced."""
    part(text, name)
    return _pattern(name).sub(lambda m: f"{m[1]}\n{content.strip()}\n{m[3]}", text)


def _pattern(name: str) -> re.Pattern[str]:
    word = re.escape(name)
    return re.compile(rf"(<!-- generated: {word} -->)\n(.*?)(<!-- end: {word} -->)", re.S)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a markdown table."""
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def code(words: Iterable[str]) -> str:
    """Return words as code, separated by commas."""
    return ", ".join(f"`{w}`" for w in words)
