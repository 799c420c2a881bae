"""Breeding recipes: a directed graph of models, written in TOML.

A recipe names shapes and schedules once, then lists models. Each has a maker, a kind (what it is, the word that
``expected.toml`` knows), parents and parameters. ``each`` repeats an entry over the values of one or more fields,
side by side; ``{field}`` in a name or a parent is filled in.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    """A recipe: its name, what it is for, the text it trains on and its models, parents first."""

    name: str
    about: str
    vocab: int
    context: int
    nodes: tuple[Node, ...]
    pairs: tuple[Planned, ...] = ()

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
    if where in SHIPPED:
        text = (resources.files("filiation.lab") / "recipes" / f"{where}.toml").read_text(encoding="utf-8")
    elif Path(where).is_file():
        text = Path(where).read_text(encoding="utf-8")
    else:
        raise NotFoundError(
            f"There is no recipe {where}.",
            file=where,
            reason=f"It is neither a file nor one of {', '.join(SHIPPED)}.",
            next_step="Name a TOML file or a shipped recipe.",
        )
    try:
        return parse_recipe(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            "The recipe is not TOML.", file=where, reason=str(error), next_step="Correct the file."
        ) from error


def parse_recipe(data: Mapping[str, Any]) -> Breeding:
    """Build a recipe from parsed TOML."""
    shapes, schedules = data.get("shapes", {}), data.get("schedules", {})
    nodes: list[Node] = []
    for entry in data.get("model", []):
        for filled in _repeated(entry):
            nodes.append(_node(filled, shapes, schedules, {node.name for node in nodes}))
    if not nodes:
        raise UsageError("The recipe has no models.", next_step="Add at least one [[model]].")
    text = data.get("text", {})
    return Breeding(
        str(data.get("name", "recipe")),
        str(data.get("about", "")),
        int(text.get("vocab", 1024)),
        int(text.get("context", 128)),
        tuple(nodes),
        tuple(Planned(**filled) for entry in data.get("pair", []) for filled in _repeated(entry)),
    )


def _repeated(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    each = cast("dict[str, list[Any]]", entry.get("each", {}))
    plain = {key: value for key, value in entry.items() if key != "each"}
    if not each:
        yield plain
        return
    counts = {len(values) for values in each.values()}
    if len(counts) != 1:
        raise _wrong(str(entry.get("name")), "the lists of `each` differ in length")
    for place in range(counts.pop()):
        fields = {key: values[place] for key, values in each.items()}
        filled = _filled(plain, fields)
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
    parents = tuple(settings.pop("parents", ()))
    how = str(settings.pop("how", ""))
    kind = str(settings.pop("kind", how))
    if not name or name in known:
        raise _wrong(name, "a model needs a name that no other has")
    if maker not in MAKERS:
        raise _wrong(name, f"its maker must be one of {', '.join(MAKERS)}, not {maker!r}")
    missing = [parent for parent in parents if parent not in known]
    if unknown := settings.keys() - FIELDS:
        raise _wrong(name, f"it has unknown fields: {', '.join(sorted(unknown))}")
    if missing:
        raise _wrong(name, f"its parents {', '.join(missing)} are not listed before it")
    for field, table in (("shape", shapes), ("schedule", schedules)):
        if field in settings:
            if settings[field] not in table:
                raise _wrong(name, f"there is no {field} {settings[field]!r}")
            settings[field] = dict(table[settings[field]])
    return Node(name, maker, kind, parents, how, settings)


def _wrong(name: str, reason: str) -> UsageError:
    return UsageError(
        f"The model {name!r} of the recipe cannot be made.",
        reason=reason,
        next_step="Correct its [[model]] entry.",
    )
