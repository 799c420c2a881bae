"""Policy files: one table of a TOML file, and what is said of a file that is no policy."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filiation.errors import NotFoundError, UsageError


@dataclass(frozen=True)
class PolicyTable:
    """One table of a policy file.

    Attributes:
        path: of the file, for errors.
        example: what a policy of this kind looks like, for errors.
        keys: what the table says.
    """

    path: Path
    example: str
    keys: dict[str, Any]

    def names(self, key: str, known: Sequence[str], kind: str) -> Iterator[str]:
        """Yield the names listed under a key, with dashes for underscores.

        Raises:
            UsageError: it is no list, or names something that is not ``known``; ``kind`` says what is listed.
        """
        value = self.keys.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(f"'{key}' must be a list of {kind}s.")
        for entry in cast("list[Any]", value):
            name = str(entry).replace("_", "-")
            if name not in known:
                raise self.wrong(f"There is no {kind} '{entry}' for '{key}'; there are {', '.join(known)}.")
            yield name

    def wrong(self, reason: str) -> UsageError:
        """Return the error that says why this is no policy."""
        return _wrong(self.path, reason, self.example)


def read_table(path: Path, name: str, keys: Collection[str], example: str) -> PolicyTable:
    """Read one table of a TOML file.

    Args:
        path: of the file.
        name: of the table; other tables may stand beside it.
        keys: those that the table may have.
        example: what such a policy looks like, for errors.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no TOML, has no such table, or the table has another key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFoundError(
            "The policy could not be read.",
            file=str(path),
            reason=error.strerror,
            next_step="Check the path.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(path, str(error), example) from error
    table = tables.get(name)
    if not isinstance(table, dict):
        raise _wrong(path, f"It has no table [{name}].", example)
    found = PolicyTable(path, example, cast("dict[str, Any]", table))
    unknown = sorted(set(found.keys) - set(keys))
    if unknown:
        raise found.wrong(f"A policy has no key '{unknown[0]}'.")
    return found


def _wrong(path: Path, reason: str, example: str) -> UsageError:
    return UsageError(
        "The policy is not one.", file=str(path), reason=reason, next_step=f"Write for example:  {example}"
    )
