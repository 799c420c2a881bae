"""References that lead nowhere, or elsewhere: ``auto_map``, ``_name_or_path``, classes, modules that are not there.

A repository that was renamed and forgotten in one place still names what it was.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from filiation.errors import InputError
from filiation.evidence import Place
from filiation.repository.model import Repository
from filiation.traces.compiled import parsed
from filiation.traces.documents import load
from filiation.traces.model import Trace
from filiation.traces.public import public

_CONFIGS = (
    "config.json",
    "tokenizer_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
)
_MOST_MODULES = 500
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_RELATIVE = re.compile(rb"\bfrom[ \t]*(?:\\\r?\n[ \t]*)?\.")
_CLASS_KEYS = ("tokenizer_class", "processor_class", "image_processor_type", "feature_extractor_type")


@dataclass(frozen=True, slots=True)
class Target:
    """What a reference names: another repository (or None), a module as a path, a class."""

    written: str
    repository: str | None
    module: str
    name: str


def traces(
    suspect: Repository, references: Mapping[int, Repository], skipped: list[tuple[str, str]]
) -> Iterator[Trace]:
    """Yield what the suspect refers to and does not hold, with the reference that does or that names it too.

    Imports are looked at in repositories of at most 500 Python files: a model's has a few.
    """
    index = {number: _Names.of(reference) for number, reference in references.items()}
    for path in _CONFIGS:
        document = load(suspect, path)
        if document is not None:
            yield from _of_config(suspect, path, document, index)
    if len(suspect.ending(".py")) <= _MOST_MODULES:
        yield from _missing_imports(suspect, index)
    else:
        skipped.append(("", "much_code"))


@dataclass(frozen=True)
class _Names:
    """What a reference calls its own: its names, modules and classes."""

    own: frozenset[str]
    modules: frozenset[str]
    classes: frozenset[str]
    files: frozenset[str]

    @classmethod
    def of(cls, repository: Repository) -> _Names:
        own, modules, classes = {_plain(repository.name)}, set[str](), set[str]()
        for path in _CONFIGS:
            document = load(repository, path) or {}
            if isinstance(document.get("_name_or_path"), str):
                own.add(_plain(document["_name_or_path"]))
            for _, target in _auto_map(document):
                modules.add(target.module)
                classes.add(target.name)
            classes |= {value for _, value in _classes(document)}
        return cls(frozenset(own), frozenset(modules), frozenset(classes), frozenset(repository.files))

    def module(self, path: str) -> str | None:
        """Return whether the reference holds a module (``file``) or names it (``name``)."""
        return "file" if path in self.files else ("name" if path in self.modules else None)


def _of_config(
    suspect: Repository, path: str, document: Mapping[str, Any], index: Mapping[int, _Names]
) -> Iterator[Trace]:
    place = Place(file=path, digest=suspect.files[path].sha256)
    missing: set[str] = set()
    for key, target in _auto_map(document):
        if target.repository is not None:
            yield from _foreign(suspect, place, key, target.repository, index)
        elif _is_absent(suspect, target.module):
            missing.add(target.name)
            held = {
                n: where for n, names in index.items() if (where := names.module(target.module)) is not None
            }
            yield from _dangling(place, key, target.written, "module", target.module, held)
        elif _lacks_class(suspect, target):
            held = {n: "name" for n, names in index.items() if target.name in names.classes}
            yield from _dangling(place, key, target.written, "class", target.name, held)
    for key, name in _classes(document):
        if name in missing or (not public().has_class(name) and _defines(suspect, name) is False):
            held = {n: "name" for n, names in index.items() if name in names.classes}
            yield from _dangling(place, key, name, "class", name, held)
    named = document.get("_name_or_path")
    if isinstance(named, str) and named and not named.startswith((".", "/", "~")):
        yield from _foreign(suspect, place, "_name_or_path", named, index)


def _dangling(
    place: Place, key: str, written: str, what: str, missing: str, held: Mapping[int, str]
) -> Iterator[Trace]:
    """One trace for every reference that holds or names what is missing, or one without any."""
    numbers = {"key": key, "target": written, "missing": what, "name": missing}
    if not held:
        yield Trace("dangling_reference", place, "shows.dangling_reference", numbers)
    for number, where in sorted(held.items()):
        yield Trace(
            "dangling_reference",
            place,
            "shows.dangling_in_reference",
            {**numbers, "reference_has": where},
            number,
            ("cannot_show.common_source",),
        )


def _foreign(
    suspect: Repository, place: Place, key: str, written: str, index: Mapping[int, _Names]
) -> Iterator[Trace]:
    """A name of another model: traced where it is a reference's, or simply not the suspect's own."""
    plain = _plain(written)
    if plain == _plain(suspect.name):
        return
    held = [number for number, names in index.items() if plain in names.own]
    for number in held or [None]:
        shows = "shows.foreign_reference" if number is None else "shows.names_the_reference"
        yield Trace("foreign_reference", place, shows, {"key": key, "target": written}, number)


def _auto_map(document: Mapping[str, Any]) -> Iterator[tuple[str, Target]]:
    entries: Any = document.get("auto_map")
    if not isinstance(entries, dict):
        return
    for key, value in sorted(cast("dict[str, Any]", entries).items()):
        for written in cast("list[Any]", value) if isinstance(value, list) else [value]:
            target = _target(written) if isinstance(written, str) else None
            if target is not None:
                yield f"auto_map.{key}", target


def _target(written: str) -> Target | None:
    repository, mark, dotted = written.rpartition("--")
    if len(written) > 300 or not _DOTTED.fullmatch(dotted):
        return None
    module, _, name = dotted.rpartition(".")
    return Target(written, repository if mark else None, module.replace(".", "/") + ".py", name)


def _classes(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    listed: Any = document.get("architectures")
    for name in cast("list[Any]", listed) if isinstance(listed, list) else []:
        if isinstance(name, str):
            yield "architectures", name
    for key in _CLASS_KEYS:
        value: Any = document.get(key)
        if isinstance(value, str):
            yield key, value


def _is_absent(repository: Repository, path: str) -> bool:
    """Whether a file is known not to be there; a listing that is not complete does not say so by itself."""
    if path in repository.files:
        return False
    return ("", "listing_incomplete") not in repository.notes or (path, "absent") in repository.notes


def _lacks_class(repository: Repository, target: Target) -> bool:
    """Whether a module that is there defines no class of this name, and imports none."""
    if target.module not in repository.files:
        return False
    names = _bound(repository, target.module)
    return names is not None and target.name not in names


def _defines(repository: Repository, name: str) -> bool | None:
    """Whether some Python file binds this name; None where that cannot be told."""
    if ("", "listing_incomplete") in repository.notes:
        return None
    for path in (p for p in sorted(repository.files) if p.endswith(".py")):
        names = _bound(repository, path)
        if names is None:
            return None
        if name in names:
            return True
    return False


def _bound(repository: Repository, path: str) -> frozenset[str] | None:
    """Return the names that a module binds at its top level; None where it cannot be read or imports ``*``."""
    tree = parsed(repository, path)
    if tree is None:
        return None
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = {alias.asname or alias.name for alias in node.names}
            if "*" in names:
                return None
            found |= names
        elif isinstance(node, ast.Assign):
            found |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return frozenset(found)


def _missing_imports(suspect: Repository, index: Mapping[int, _Names]) -> Iterator[Trace]:
    """Relative imports of modules that are not there."""
    folders = {path[:at] for path in suspect.files for at, c in enumerate(path) if c == "/"}
    for path in suspect.ending(".py"):
        tree = parsed(suspect, path) if _imports_beside(suspect, path) else None
        if tree is None:
            continue
        folder = path.rpartition("/")[0]
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.level or node.module is None:
                continue
            up = folder.split("/") if folder else []
            if node.level - 1 > len(up):
                continue  # it leads out of the repository: part of a package that was not taken along
            base = up[: len(up) - (node.level - 1)]
            module = "/".join([*base, *node.module.split(".")])
            is_there = f"{module}.py" in suspect.files or module in folders
            if not is_there and _is_absent(suspect, f"{module}.py"):
                held = {n: where for n, names in index.items() if (where := names.module(f"{module}.py"))}
                place = Place(file=path, line=node.lineno, digest=suspect.files[path].sha256)
                yield from _dangling(place, "import", node.module, "module", f"{module}.py", held)


def _imports_beside(suspect: Repository, path: str) -> bool:
    """Return whether a file has a relative import at all; a syntax tree costs a thousand times as much to make."""
    try:
        return suspect.readable(path) and _RELATIVE.search(suspect.data(path)) is not None
    except InputError:
        return False


def _plain(name: str) -> str:
    """Return a model's name without its owner, letters and digits only."""
    return "".join(c for c in name.rstrip("/").rpartition("/")[2].lower() if c.isalnum())
