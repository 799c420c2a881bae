"""The tables of model families. To add one, add a module here that defines ``FAMILIES``; nothing else changes."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from functools import cache

from filiation.anatomy.tables import Family

_FIRST = ("llama", "bert", "gpt2", "vision")
"""Where two tables explain a checkpoint equally well and no config decides, the plainer one is listed first."""


@cache
def families() -> tuple[Family, ...]:
    """Return every table, the plainest first."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    ordered = [*_FIRST, *(name for name in modules if name not in _FIRST)]
    tables = [importlib.import_module(f"{__name__}.{name}").FAMILIES for name in ordered]
    return tuple(family for table in tables for family in table)


def family(name: str) -> Family:
    """Return the table called ``name``.

    Raises:
        KeyError: there is no such table.
    """
    for candidate in families():
        if candidate.name == name:
            return candidate
    raise KeyError(name)


_ENDING = re.compile(r"(For[A-Z]|LMHead|Model$).*")


def base_of(architecture: str) -> str:
    """Return what an architecture is a model of, squashed: ``gptneox`` of ``GPTNeoXForCausalLM``."""
    return squashed(_ENDING.sub("", architecture))


def squashed(model_type: str) -> str:
    """Return a model type as :func:`base_of` writes it."""
    return model_type.replace("_", "").replace("-", "").lower()


def of_type(model_type: object) -> tuple[Family, ...]:
    """Return the tables of a model type: of its towers, where it has several."""
    return tuple(family for family in families() if model_type in family.model_types)


def of_architecture(word: str) -> tuple[Family, ...]:
    """Return the tables of a class of models, as ``architectures`` lists them."""
    base = base_of(word)
    return tuple(
        family
        for family in families()
        if word in family.architectures or base in {squashed(kind) for kind in family.model_types}
    )


def wrapped_by(types: Iterable[str]) -> tuple[str, ...] | None:
    """Return the components whose settings a model of these types nests in maps of their own.

    None where no table knows any of the types, so that nobody can say.

    Args:
        types: what a config says that a model is: its model type first, then classes.
    """
    for word in types:
        known = of_type(word) or of_architecture(word)
        if known:
            nested = (family.wraps.get(kind, ()) for family in known for kind in _kinds(word, family))
            return tuple(sorted({component for found in nested for component in found}))
    return None


def _kinds(word: str, family: Family) -> Iterable[str]:
    """The model types of a family that a word names."""
    return (kind for kind in family.model_types if word == kind or base_of(word) == squashed(kind))
