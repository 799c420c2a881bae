"""A repository of which only facts are known: the identities of some files, the parsed contents of others.

A repository that was taken down, or may not be passed on, is examined through what was read in it. The facts file is
JSON, marked by its key ``filiation_facts``::

    {"filiation_facts": 1,
     "name": "Llama3-V", "source": "where the facts were read",
     "files": {"tokenizer.json": {"git_id": "...", "size": 123, "sha256": "..."}},
     "contents": {"config.json": {...}},       a JSON file as it parses; its bytes and digests are not known
     "absent": ["modeling_minicpmv.py"],       files that are known not to be there
     "complete": false,                        whether the two lists name every file
     "commits": [{"id": "...", "authored": "...", "committed": "...", "subject": "...", "paths": []}]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from filiation.errors import InputError
from filiation.repository.model import Commit, Repository, RepositoryFile

MARK = "filiation_facts"
_HEX = {"git_id": re.compile(r"[0-9a-f]{40}"), "sha256": re.compile(r"[0-9a-f]{64}")}
_MOST = 100_000


def is_facts(data: bytes) -> bool:
    """Tell from its beginning whether a file is a facts file."""
    return f'"{MARK}"'.encode() in data[:256]


def open_facts(data: bytes, locator: str) -> Repository:
    """Return the repository that a facts file describes.

    Raises:
        InputError: it is no facts file, or what it says cannot be.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _broken(locator, f"It is not valid JSON: {error}") from error
    if not isinstance(document, dict) or cast("dict[str, Any]", document).get(MARK) != 1:
        raise _broken(locator, f"It does not say '{MARK}': 1.")
    facts = cast("dict[str, Any]", document)
    contents = {
        path: json.dumps(value, ensure_ascii=False, indent=2).encode()
        for path, value in _table(facts, "contents", locator).items()
    }
    files = {path: _file(path, entry, locator) for path, entry in _table(facts, "files", locator).items()}
    files |= {path: RepositoryFile(path, None) for path in contents}
    absent = [(str(path), "absent") for path in _list(facts, "absent", locator)]
    partial = [] if facts.get("complete") is True else [("", "listing_incomplete")]
    return Repository(
        locator=locator,
        name=str(facts.get("name") or "facts"),
        files=dict(sorted(files.items())),
        read=contents.__getitem__,
        revision=None if facts.get("revision") is None else str(facts["revision"]),
        commits=tuple(_commit(entry, locator) for entry in _list(facts, "commits", locator)),
        notes=(("", "facts"), *partial, *absent),
    )


def _file(path: str, entry: Any, locator: str) -> RepositoryFile:
    if not isinstance(entry, dict):
        raise _broken(locator, f"What it says of {path} is not a table.")
    known = cast("dict[str, Any]", entry)
    for key, form in _HEX.items():
        if known.get(key) is not None and not form.fullmatch(str(known[key])):
            raise _broken(locator, f"The {key} of {path} is none.")
    size = known.get("size")
    if size is not None and (type(size) is not int or size < 0):
        raise _broken(locator, f"The size of {path} is none.")
    return RepositoryFile(path, size, known.get("git_id"), known.get("sha256"), "facts")


def _commit(entry: Any, locator: str) -> Commit:
    try:
        known = cast("Mapping[str, Any]", entry)
        texts = [str(known[key]) for key in ("id", "authored", "committed", "subject")]
        return Commit(*texts, paths=tuple(str(path) for path in known.get("paths", ())))
    except (KeyError, TypeError, AttributeError) as error:
        raise _broken(locator, "A commit lacks its id, one of its times, or its subject.") from error


def _table(facts: Mapping[str, Any], key: str, locator: str) -> dict[str, Any]:
    value = facts.get(key, {})
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) > _MOST:
        raise _broken(locator, f"Its '{key}' is not a table of files.")
    return cast("dict[str, Any]", value)


def _list(facts: Mapping[str, Any], key: str, locator: str) -> list[Any]:
    value = facts.get(key, [])
    if not isinstance(value, list) or len(cast("list[Any]", value)) > _MOST:
        raise _broken(locator, f"Its '{key}' is not a list.")
    return cast("list[Any]", value)


def _broken(locator: str, reason: str) -> InputError:
    return InputError(
        "The facts file cannot be used.",
        file=locator,
        reason=reason,
        next_step="See the description of facts files in the documentation.",
    )
