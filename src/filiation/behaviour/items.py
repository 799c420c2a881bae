"""Reads the questions that a caller brings: JSON Lines, a JSON list, or CSV, checked before anything is asked.

An item of *exclusive data*::

    {"question": "Which character is on slip 17?", "right": ["舟"], "wrong": ["般"]}

``right`` are answers that the owner's corpus gives, ``wrong`` answers that the owner's own model gives by mistake (they
may be left out). An item of *multiple choice*::

    {"question": "...", "options": ["Paris", "Rome", "Oslo", "Bern"], "answer": "Rome"}

In CSV the columns have these names and ``|`` separates several values.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filiation.behaviour.reading import normalised
from filiation.errors import InputError, NotFoundError

LARGEST = 32 * 1024 * 1024
MOST = 100_000
_NEXT = 'Write one item per line, for example {"question": "...", "right": ["..."], "wrong": ["..."]}.'


@dataclass(frozen=True, slots=True)
class Item:
    """A question with the owner's answers; both lists normalised and without common members."""

    question: str
    right: tuple[str, ...]
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A multiple-choice question; ``answer`` is the index of the right option."""

    question: str
    options: tuple[str, ...]
    answer: int


def read_items(path: str | Path) -> tuple[Item, ...]:
    """Return the items of exclusive data in a file.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is too large, not UTF-8, not JSON Lines, JSON or CSV, or an item is not as it should be.
    """
    return tuple(_item(str(path), n, row) for n, row in enumerate(_rows(Path(path)), 1))


def read_choices(path: str | Path) -> tuple[Choice, ...]:
    """Return the multiple-choice questions in a file; raises as :func:`read_items`."""
    return tuple(_choice(str(path), n, row) for n, row in enumerate(_rows(Path(path)), 1))


def _rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise _bad(str(path), f"It has {size:,} bytes; at most {LARGEST:,} are read.", "Cut the file.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotFoundError(
            "The items cannot be read.",
            file=str(path),
            reason=reason,
            next_step="Give the path of a file that exists.",
        ) from error
    except UnicodeDecodeError as error:
        raise _bad(str(path), "It is not UTF-8 text.", "Save it as UTF-8.") from error
    rows = _parsed(str(path), path.suffix.lower(), text)
    if not rows:
        raise _bad(str(path), "It holds no item.", _NEXT)
    if len(rows) > MOST:
        raise _bad(str(path), f"It holds {len(rows):,} items; at most {MOST:,} are read.", "Cut the file.")
    return rows


def _parsed(file: str, suffix: str, text: str) -> list[Mapping[str, Any]]:
    if suffix == ".csv":
        try:
            return [_split(row) for row in csv.DictReader(io.StringIO(text))]
        except csv.Error as error:
            raise _bad(
                file, f"It is no CSV: {error}", "Quote fields that hold commas or line breaks."
            ) from error
    values: list[Any] = []
    try:
        if text.lstrip().startswith("["):
            values = list(cast("list[Any]", json.loads(text)))
        else:
            values = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (json.JSONDecodeError, RecursionError) as error:
        raise _bad(file, f"It is neither JSON Lines nor a JSON list: {error}", _NEXT) from error
    if odd := next((n for n, value in enumerate(values, 1) if not isinstance(value, dict)), None):
        raise _bad(file, f"Item {odd} is not an object.", _NEXT)
    return values


def _split(row: Mapping[str, Any]) -> Mapping[str, Any]:
    lists = {"right", "wrong", "options"}
    return {
        key: [part for part in value.split("|") if part.strip()] if key in lists else value
        for key, value in row.items()
        if isinstance(value, str)
    }


def _item(file: str, number: int, row: Mapping[str, Any]) -> Item:
    question = _text(file, number, row, "question")
    right = _texts(file, number, row, "right")
    wrong = _texts(file, number, row, "wrong") if row.get("wrong") else ()
    if both := set(right) & set(wrong):
        raise _bad(
            file, f"Item {number} calls '{min(both)}' right and wrong.", "Keep it in one of the two lists."
        )
    return Item(question, right, wrong)


def _choice(file: str, number: int, row: Mapping[str, Any]) -> Choice:
    question = _text(file, number, row, "question")
    options = _texts(file, number, row, "options")
    answer = normalised(_text(file, number, row, "answer"))
    if len(options) < 2 or len(set(options)) < len(options) or len(options) > 26:
        raise _bad(file, f"Item {number} needs 2 to 26 different options.", "Correct its options.")
    if answer not in options:
        raise _bad(
            file, f"The answer of item {number} is none of its options.", "Write it as among the options."
        )
    own = cast("Sequence[str]", row["options"])
    return Choice(question, tuple(option.strip() for option in own), options.index(answer))


def _text(file: str, number: int, row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _bad(file, f"Item {number} has no text under '{key}'.", _NEXT)
    return value.strip()


def _texts(file: str, number: int, row: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value: Any = row.get(key)
    values: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []
    if not values or any(not isinstance(v, str) or not normalised(v) for v in values):
        raise _bad(file, f"Item {number} has no list of texts under '{key}'.", _NEXT)
    return tuple(normalised(v) for v in values)


def _bad(file: str, reason: str, next_step: str) -> InputError:
    return InputError("The items cannot be used.", file=file, reason=reason, next_step=next_step)
