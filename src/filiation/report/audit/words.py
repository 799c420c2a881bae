"""Small pieces of wording that every part of an audit's report uses: places, keys of the wings, names of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from filiation.evidence import Place
from filiation.report.numbers import MISSING, clean, figure
from filiation.report.sentences import sentence
from filiation.report.wording import Phrases

_MOST = 12
_LONG = 200


def place(phrases: Phrases, where: Place | None) -> str:
    """Return a place as file and line."""
    if where is None or where.file is None:
        return MISSING
    file = clean(where.file)
    return file if where.line is None else f"{file}:{where.line}"


def worded(phrases: Phrases, key: str, /, **values: object) -> str:
    """Return the phrase at a dotted key (``shows.same_file``), filled; the key itself where there is none.

    A sentence that begins with a file's name keeps that name's first letter.
    """
    filled = {name: shown(phrases, value) for name, value in values.items()}
    phrase = phrases.find(*key.split("."))
    return phrases.fill(sentence(phrase), **filled) if phrase is not None else sentence(key.replace("_", " "))


def shown(phrases: Phrases, value: Any) -> str:
    """Return a value of any kind as it stands in a sentence: a map as arrows, a list with commas, cut when long."""
    comma = phrases.say("ui", "list_comma")
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        if "token" in table:
            return f"{clean(table['token'])} ({table.get('id')})"
        if "key" in table:
            return f"{clean(table['key'])} = {shown(phrases, table.get('value'))}"
        return _cut(phrases, [f"{clean(k)} → {shown(phrases, v)}" for k, v in table.items()], comma)
    if isinstance(value, list | tuple):
        return _cut(phrases, [shown(phrases, v) for v in cast("Sequence[Any]", value)], comma)
    if isinstance(value, bool):
        return phrases.say("ui", "yes" if value else "no")
    if isinstance(value, str):
        return clean(value)[:_LONG] or MISSING
    return figure(value)


def _cut(phrases: Phrases, parts: list[str], comma: str) -> str:
    left = len(parts) - _MOST
    listed = comma.join(parts[:_MOST])
    return (listed or MISSING) if left <= 0 else listed + comma + phrases.say("ui", "more", count=left)


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share of 1 as per cent; only all is 100 and only nothing is 0."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}%}" if 0 < value < 1 else f"{value:.0%}"
    if value < 1 and text.startswith("100"):
        text = f">{1 - 10.0 ** -(digits + 2):.{digits}%}"
    return text.replace("%", "\u00a0%")


def release_name(repository: str | None, names: Mapping[str, str]) -> str:
    """Return what a reference is called: a repository by its name, a release of the corpus as it is."""
    return names.get(repository or "", clean(repository or MISSING))


def short_file(path: str | None) -> str:
    """Return a file's name without its folders, for sentences."""
    return clean((path or MISSING).rpartition("/")[2])
