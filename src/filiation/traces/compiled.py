"""Compiled leftovers: what a .pyc in a repository says of the source it was made from. Nothing of it is executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from filiation.errors import InputError
from filiation.evidence import Place
from filiation.repository.model import Repository
from filiation.traces.marshal import Code, MarshalError, layout_of, read
from filiation.traces.model import Trace

_MOST_CODE = 20_000
_MOST_SHOWN = 40
_LARGEST_SOURCE = 4 << 20
_LARGEST_COMPILED = 16 << 20
_MOST_STATEMENTS = 40_000  # by ends of lines and semicolons: more is data that a program wrote
_MADE_UP = ("<module>", "<lambda>", "<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a .pyc tells.

    Attributes:
        python: version of Python that made it.
        built_from: path of the source on the machine where it was made.
        definitions: names of the functions and classes in it, in order.
        strings: its string constants.
        source_time: when its source was last changed (ISO 8601, UTC), where it says so.
        source_size: bytes of the source, where it says so.
    """

    python: str
    built_from: str
    definitions: tuple[str, ...]
    strings: tuple[str, ...]
    source_time: str | None = None
    source_size: int | None = None


def parse(data: bytes) -> Compiled:
    """Read a .pyc of Python 3.7 or later.

    Raises:
        MarshalError: it is none, damaged, or larger than is believed.
    """
    if len(data) < 16 or data[2:4] != b"\r\n" or len(data) > _LARGEST_COMPILED:
        raise MarshalError("it is no .pyc of a size that is read")
    known = layout_of(int.from_bytes(data[:2], "little"))
    if known is None:
        raise MarshalError("it is of a Python that is not known")
    layout, version = known
    module = read(data[16:], layout)
    if not isinstance(module, Code):
        raise MarshalError("it holds no code")
    codes = list(_codes(module))
    timed = not data[4] & 1  # else a hash of the source stands in the place of time and size
    return Compiled(
        python=version,
        built_from=module.filename,
        definitions=tuple(dict.fromkeys(c.name for c in codes if c.name not in _MADE_UP)),
        strings=tuple(dict.fromkeys(text for c in codes for text in _texts(c.consts))),
        source_time=_time(int.from_bytes(data[8:12], "little")) if timed else None,
        source_size=int.from_bytes(data[12:16], "little") if timed else None,
    )


def _codes(module: Code) -> Iterator[Code]:
    """Yield every code object once, however often it is referred to."""
    seen: set[int] = set()
    pending: list[Any] = [module]
    while pending and len(seen) < _MOST_CODE:
        item = pending.pop()
        if isinstance(item, Code) and id(item) not in seen:
            seen.add(id(item))
            yield item
            if isinstance(item.consts, tuple):
                pending += reversed([c for c in item.consts if isinstance(c, Code)])  # pyright: ignore[reportUnknownVariableType]


def _texts(consts: Any) -> Iterator[str]:
    if isinstance(consts, tuple):
        for value in consts:  # pyright: ignore[reportUnknownVariableType]
            if isinstance(value, str):
                yield value


def _time(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else None


def traces(
    suspect: Repository, references: Mapping[int, Repository], skipped: list[tuple[str, str]]
) -> Iterator[Trace]:
    """Yield one trace for every .pyc of the suspect, and one for every reference that shares definitions with it.

    What counts is a definition that the reference's source has and no source file of the suspect.
    """
    paths = suspect.ending(".pyc")
    if not paths:
        return
    own = definitions(suspect)
    theirs = {number: definitions(reference) for number, reference in references.items()}
    for path in paths:
        try:
            found = parse(suspect.data(path))
        except (MarshalError, InputError):
            skipped.append((path, "compiled_unreadable"))
            continue
        place = Place(file=path, digest=suspect.files[path].sha256)
        numbers: dict[str, Any] = {
            "python": found.python,
            "built_from": found.built_from,
            "definitions": len(found.definitions),
            "source_time": found.source_time,
            "source_in_repository": _has_source(suspect, path),
        }
        yield Trace("compiled_leftover", place, "shows.compiled_leftover", numbers)
        for number, names in theirs.items():
            shared = [
                name for name in found.definitions if name in names and name not in own and _telling(name)
            ]
            if shared:
                more = {**numbers, "only_in_reference": shared[:_MOST_SHOWN], "count": len(shared)}
                yield Trace(
                    "compiled_leftover",
                    place,
                    "shows.compiled_shares",
                    more,
                    number,
                    ("cannot_show.common_source",),
                )


def definitions(repository: Repository) -> frozenset[str]:
    """Return the names of every class and function in a repository's Python files; broken files are left out."""
    found: set[str] = set()
    for path in repository.ending(".py"):
        if (repository.files[path].size or 0) > _LARGEST_SOURCE:
            continue
        tree = parsed(repository, path)
        if tree is not None:
            found |= {
                node.name
                for node in ast.walk(tree)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            }
    return frozenset(found)


def parsed(repository: Repository, path: str) -> ast.Module | None:
    """Return a Python file's syntax tree, None where it has none or is too long to be somebody's writing."""
    if not repository.readable(path) or (repository.files[path].size or 0) > _LARGEST_SOURCE:
        return None
    try:
        data = repository.data(path)
        if data.count(b"\n") + data.count(b";") > _MOST_STATEMENTS:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError, InputError):
        return None


def _telling(name: str) -> bool:
    return len(name) > 3 and not (name.startswith("__") and name.endswith("__")) and name != "forward"


def _has_source(repository: Repository, path: str) -> bool:
    folder, _, file = path.rpartition("/")
    stem = file.partition(".")[0]
    parent = folder.removesuffix("__pycache__").rstrip("/")
    return any(f"{place}/{stem}.py".lstrip("/") in repository.files for place in {folder, parent})
