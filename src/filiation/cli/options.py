"""Options that several commands share: sizes, languages, ``--json`` with or without a file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

LANGUAGES = ("en", "zh-CN")
STDOUT = "-"
_UNITS = {
    "": 1,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?", re.I)
F = TypeVar("F", bound=Callable[..., Any])


class Bytes(click.ParamType[int]):
    """A number of bytes: ``500MB``, ``1.5GiB``, ``1000000``. At least one."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        number = float(match[1]) * _UNITS[match[2].upper()] if match and match[2].upper() in _UNITS else 0.0
        if number < 1:
            self.fail(f"{value!r} is no number of bytes; write for example 500MB or 2GiB.", param, ctx)
        return int(number)


class JsonCommand(click.Command):
    """A command whose ``--json`` takes a file only when the next word ends in ``.json``.

    ``--json S C`` must not take the model S for the name of a file to write.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give ``--json`` its value before click splits options from arguments."""
        if (word := _meant_for_json(args)) is not None:
            raise click.UsageError(
                f"A JSON file must end in .json, and '{word}' does not; nor is there a model of that name.\n"
                f"Write --json {word}.json, or --json={word} to keep the name.",
                ctx,
            )
        return super().parse_args(ctx, with_json_value(args))


def with_json_value(args: list[str]) -> list[str]:
    """Return the words with every bare ``--json`` turned into ``--json=FILE`` or ``--json=-``."""
    words: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest]
        if word == "--json":
            takes = bool(rest) and _is_json_value(rest[0])
            word = f"--json={rest.pop(0) if takes else STDOUT}"
        words.append(word)
    return words


def _is_json_value(word: str) -> bool:
    return word == STDOUT or (word.endswith(".json") and not word.endswith(".index.json"))


def _meant_for_json(args: list[str]) -> str | None:
    """Return the word behind a bare ``--json`` that is neither its value nor a model, but a file still to be written.

    A hub id has one slash, and so has a file in a folder: there the folder decides.
    """
    options = args[: args.index("--")] if "--" in args else args
    for flag, word in pairwise(options):
        if flag != "--json" or word.startswith("-") or _is_json_value(word) or "://" in word:
            continue
        folder, _, name = word.rpartition("/")
        is_hub_id = folder not in ("", ".", "..") and "/" not in folder and not os.path.isdir(folder)
        if name and not os.path.exists(word) and not is_hub_id:
            return word
    return None


def json_option(function: F) -> F:
    """``--json [FILE]``."""
    return click.option(
        "--json",
        "json_to",
        metavar="[FILE.json]",
        help="Write canonical JSON to FILE.json; without a file, or with -, to standard output.",
    )(function)


def language_option(function: F) -> F:
    """``--lang``."""
    return click.option(
        "--lang",
        type=click.Choice(LANGUAGES),
        default="en",
        show_default=True,
        help="Language of the report.",
    )(function)


def quiet_option(function: F) -> F:
    """``--quiet``."""
    return click.option(
        "-q", "--quiet", is_flag=True, help="Print the answer in one word; no progress, no hints."
    )(function)


def file_option(flag: str, help_: str) -> Callable[[F], F]:
    """An option that names a file to write."""
    return click.option(flag, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help=help_)
