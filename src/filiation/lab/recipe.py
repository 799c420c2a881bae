"""Breeding recipes: a directed graph of models, written in TOML.

A recipe names shapes and schedules once, then lists models. Each has a maker, a kind (what it is, the word that
``expected.toml`` knows), parents and parameters. ``each`` repeats an entry over the values of one or more fields,
side by side; ``{field}`` in a name or a parent is filled in.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

from filiation.errors import NotFoundError, UsageError

MAKERS = ("train", "derive", "launder", "frame", "recode")
#: Raised when what a maker does changes: models made by another version are then made anew. An edit that changes
#: nothing of what is made needs none, which is why the source itself is not hashed.
VERSIONS: Mapping[str, int] = {"train": 1, "derive": 1, "launder": 1, "frame": 1, "recode": 1}
SHIPPED = ("smoke", "standard", "large")
#: What an entry may say beside name, maker, kind, parents and how.
FIELDS = frozenset(
    {"shape", "schedule", "but", "seed", "order", "domain", "data", "rank", "at_least", "frozen", "with"}
)
_ENTRY = FIELDS | {"name", "maker", "kind", "parents", "how", "suspect", "candidate"}
_TOP = {"name", "about", "text", "shapes", "schedules", "model", "pair"}
_PAIR = {"suspect": str, "candidate": str, "kind": str, "steps": int, "quiet": bool}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Node:
    """One model of a recipe.

    Attributes:
        maker: one of :data:`MAKERS`.
        kind: what the model is, as ``expected.toml`` calls it.
        parents: models it is made from, by name; the first gives the body.
        how: the function of the maker, where it has several.
        settings: everything else, with shape and schedule resolved.
    """

    name: str
    maker: str
    kind: str
    parents: tuple[str, ...]
    how: str
    settings: Mapping[str, Any]

    def key(self, text_digest: str, parents: Sequence[str]) -> str:
        """Return what the model's content depends on, as a sha256: itself, the text, its parents' digests."""
        fixed = {
            "maker": self.maker,
            "version": VERSIONS[self.maker],
            "how": self.how,
            "settings": self.settings,
            "text": text_digest,
            "parents": list(parents),
        }
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Planned:
    """A pair to measure beyond those that kinship gives.

    Attributes:
        steps: how long both were trained, for models of one draw of initial weights.
        quiet: the pair shares nothing; both were made alike in a way that must not be taken for kinship.
    """

    suspect: str
    candidate: str
    kind: str
    steps: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Breeding:
    """A recipe: its name, what it is for, the text it trains on and its models, parents first.

    Attributes:
        source: the file it was read from, or its name among those that are shipped; empty where it was only parsed.
    """

    name: str
    about: str
    vocab: int
    context: int
    nodes: tuple[Node, ...]
    pairs: tuple[Planned, ...] = ()
    source: str = ""

    def node(self, name: str) -> Node:
        """Return one model by name."""
        return next(node for node in self.nodes if node.name == name)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return all models that a model was made from, nearest first, each once."""
        found: dict[str, None] = {}
        waiting = list(self.node(name).parents)
        while waiting:
            parent = waiting.pop(0)
            found.setdefault(parent)
            waiting += self.node(parent).parents
        return tuple(found)


def load_recipe(where: str) -> Breeding:
    """Read a shipped recipe by name, or a TOML file.

    Raises:
        NotFoundError: neither. UsageError: the recipe does not hold together; the message names the model.
    """
    if where not in SHIPPED and not Path(where).is_file():
        raise NotFoundError(
            f"There is no recipe {where}.",
            file=where,
            reason=f"It is neither a file nor one of {', '.join(SHIPPED)}.",
            next_step="Name a TOML file or a shipped recipe.",
        )
    shipped = resources.files("filiation.lab") / "recipes" / f"{where}.toml"
    try:
        text = (shipped if where in SHIPPED else Path(where)).read_text(encoding="utf-8")
        return replace(parse_recipe(tomllib.loads(text)), source=where)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            "The recipe is not TOML.", file=where, reason=str(error), next_step="Correct the file."
        ) from error
    except UsageError as error:
        error.file = where
        raise


def parse_recipe(data: Mapping[str, Any]) -> Breeding:
    """Build a recipe from parsed TOML.

    Raises:
        UsageError: it does not hold together; the message names the entry.
    """
    if unknown := data.keys() - _TOP:
        raise wrong("keys", f"there are unknown ones: {', '.join(sorted(unknown))}", entry=sorted(unknown)[0])
    shapes, schedules = _tables(data, "shapes"), _tables(data, "schedules")
    nodes: list[Node] = []
    for entry in _entries(data, "model"):
        for filled in _repeated(entry):
            nodes.append(_node(filled, shapes, schedules, {node.name for node in nodes}))
    if not nodes:
        raise UsageError("The recipe has no models.", next_step="Add at least one [[model]].")
    text = _tables(data, "text")
    return Breeding(
        str(data.get("name", "recipe")),
        str(data.get("about", "")),
        _size(text, "vocab", 1024),
        _size(text, "context", 128),
        tuple(nodes),
        tuple(_pair(filled) for entry in _entries(data, "pair") for filled in _repeated(entry)),
    )


def _tables(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = data.get(key, {})
    if not isinstance(found, dict):
        raise wrong(f"[{key}]", "it must be a table", entry=f"[{key}]")
    return cast("dict[str, Any]", found)


def _entries(data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = data.get(key, [])
    if not isinstance(found, list) or {type(entry) for entry in cast("list[Any]", found)} - {dict}:
        raise wrong(f"[[{key}]]", "it must be a table in two pairs of brackets", entry=f"[[{key}]]")
    return cast("list[dict[str, Any]]", found)


def _size(text: Mapping[str, Any], key: str, usual: int) -> int:
    if not isinstance(value := text.get(key, usual), int):
        raise wrong("[text]", f"{key} is {value!r}, no whole number", entry="[text]")
    return value


def _pair(filled: Mapping[str, Any]) -> Planned:
    name = f"pair {filled.get('suspect')} / {filled.get('candidate')}"
    if unknown := filled.keys() - _PAIR.keys():
        raise wrong(name, f"it has unknown fields: {', '.join(sorted(unknown))}", entry="[[pair]]")
    for field, kind in _PAIR.items():
        needed = field in ("suspect", "candidate", "kind")
        if (needed or field in filled) and not isinstance(filled.get(field), kind):
            raise wrong(name, f"`{field}` must be a {kind.__name__}", entry="[[pair]]")
    return Planned(**filled)


def _repeated(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    given: object = entry.get("each", {})
    plain = {key: value for key, value in entry.items() if key != "each"}
    if not given:
        yield plain
        return
    name = str(entry.get("name"))
    each = cast("dict[str, Any]", given) if isinstance(given, dict) else dict[str, Any]()
    if not each or not all(isinstance(values, list) for values in each.values()):
        raise wrong(name, "`each` must give a list for each field")
    counts = {len(values) for values in each.values()}
    if len(counts) != 1:
        raise wrong(name, "the lists of `each` differ in length")
    for place in range(counts.pop()):
        fields = {key: values[place] for key, values in each.items()}
        try:
            filled = _filled(plain, fields)
        except (KeyError, IndexError, ValueError) as error:
            raise wrong(name, f"what stands in braces is no field of `each`: {error}") from error
        # A field that only filled others in is none of the model's own.
        yield {**filled, **{key: value for key, value in fields.items() if key in _ENTRY}}


def _filled(value: Any, fields: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        # A field on its own keeps its type: "{steps}" becomes a number.
        alone = value[1:-1] if value.startswith("{") and value.endswith("}") else ""
        return fields[alone] if alone in fields else value.format_map(fields)
    if isinstance(value, list):
        return [_filled(item, fields) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _filled(item, fields) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _node(
    entry: Mapping[str, Any], shapes: Mapping[str, Any], schedules: Mapping[str, Any], known: set[str]
) -> Node:
    settings = dict(entry)
    name, maker = str(settings.pop("name", "")), str(settings.pop("maker", ""))
    parents, how = settings.pop("parents", []), str(settings.pop("how", ""))
    kind = str(settings.pop("kind", how))
    if not _NAME.fullmatch(name):
        # A model's name is its folder's: nothing may be written, or cleared away, outside the zoo.
        raise wrong(
            name, "its name must begin with a letter or digit; then also dots, dashes and underscores"
        )
    if name in known or name == "zoo.json":
        raise wrong(name, "a model needs a name that no other has")
    if maker not in MAKERS:
        raise wrong(name, f"its maker must be one of {', '.join(MAKERS)}, not {maker!r}")
    if not isinstance(parents, list):
        raise wrong(name, f"`parents` must be a list of names, not {parents!r}")
    named = [str(parent) for parent in cast("list[Any]", parents)]
    if unknown := settings.keys() - FIELDS:
        raise wrong(name, f"it has unknown fields: {', '.join(sorted(unknown))}")
    if missing := [parent for parent in named if parent not in known]:
        raise wrong(name, f"its parents {', '.join(missing)} are not listed before it")
    for field, table in (("shape", shapes), ("schedule", schedules)):
        if field in settings:
            if not isinstance(settings[field], str) or settings[field] not in table:
                raise wrong(name, f"there is no {field} {settings[field]!r}")
            settings[field] = _tables(table, settings[field])
    return Node(name, maker, kind, tuple(named), how, settings)


def wrong(name: str, reason: str, file: str = "", entry: str = "model") -> UsageError:
    """Return the error of an entry of a recipe: what is wrong with it, in which file."""
    model = entry == "model"
    return UsageError(
        f"The model {name!r} of the recipe cannot be made."
        if model
        else f"The recipe's {name} cannot be used.",
        file=file or None,
        reason=reason,
        next_step="Correct its [[model]] entry." if model else f"Correct its entry {entry}.",
    )
