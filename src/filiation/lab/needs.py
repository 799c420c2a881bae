"""Saying which package a command of the lab lacks."""

from __future__ import annotations

import importlib.util

from filiation.errors import MissingExtraError


def needed(what: str, *packages: str) -> None:
    """Raise MissingExtraError for the first of some packages that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(what, "lab", package)
