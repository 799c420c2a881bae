"""The one command that makes a report again, quoted for a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, cast

from filiation.evidence import Report, plain
from filiation.report.numbers import clean


def command_line(report: Report) -> str:
    """Return the one command that makes this report again, quoted for a shell."""
    command = cast("Mapping[str, Any]", plain(report.command))
    models = [str(m) for m in (command.get("suspect") or "", *(command.get("candidates") or ())) if m]
    options = ["--full"] if command.get("full") else []
    for option in ("budget", "base", "seed"):
        if command.get(option) is not None:
            value = str(command[option])
            options += [f"--{option}={value}"] if value.startswith("-") else [f"--{option}", value]
    # Behind -- a name that begins with a dash is no option.
    dashed = any(model.startswith("-") for model in models)
    words = [*options, "--", *models] if dashed else [*models, *options]
    head = ["filiation", str(command.get("name") or "compare")]
    return " ".join(quoted(word) for word in (*head, *words) if word)


def quoted(word: str) -> str:
    """Quote a word for a shell.

    What cannot be printed, or would end a block of code, is written in the form ``$'...'`` of bash and zsh.
    """
    if clean(word) == word and word.isprintable() and "`" not in word:
        return shlex.quote(word)
    backslashed = re.sub(r"([\\'])", r"\\\1", word)
    return "$'" + "".join(c if c.isprintable() and c != "`" else _escaped(c) for c in backslashed) + "'"


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
