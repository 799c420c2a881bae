"""The tables of model families. To add one, add a module here that defines ``FAMILIES``; nothing else changes."""

from __future__ import annotations

import importlib
import pkgutil
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
