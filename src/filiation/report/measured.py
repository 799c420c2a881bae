"""What was measured of this version on models that share no origin: the report's ``validation``, in one passage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from filiation.report.numbers import clean, count, decimal
from filiation.report.wording import Phrases

_LINES = ("1", "2", "3")


def measured(phrases: Phrases, validation: Mapping[str, Any] | None) -> str | None:
    """Return what was measured, with its limits; None where nothing was."""
    if validation is None:
        return None
    known = _mapping(validation.get("null"))
    reached, allowed = _mapping(known.get("reached")), _mapping(known.get("allowed"))
    numbers = [known.get(key) for key in ("pairs", "comparisons", "none_found", "label_sets")]
    numbers += [table.get(line) for table in (reached, allowed) for line in _LINES]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return phrases.say("validation", "other")
    pairs, comparisons, none_found, label_sets, *rest = (count(cast("float", n)) for n in numbers)
    return phrases.say(
        "validation",
        "null",
        version=clean(known.get("version")),
        pairs=pairs,
        comparisons=comparisons,
        none_found=none_found,
        label_sets=label_sets,
        relation=phrases.name("relation", "none_found"),
        reached=phrases.say("ui", "list_comma").join(rest[:3]),
        allowed=phrases.say("ui", "list_comma").join(rest[3:]),
    )


def strangers(phrases: Phrases, validation: Mapping[str, Any] | None, test: str) -> str | None:
    """Return the range of a similarity statistic over the independent models that were measured."""
    known = _mapping(_mapping(validation).get("likeness"))
    row = _mapping(known.get(test))
    low, high, pairs = (row.get(key) for key in ("low", "high", "pairs"))
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high, pairs)):
        return None
    return phrases.say(
        "validation",
        "likeness",
        low=decimal(cast("float", low), 2),
        high=decimal(cast("float", high), 2),
        pairs=count(cast("float", pairs)),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
