"""What was measured of this version: the report's ``validation``, in one passage.

On models that share no origin (``null``), and on lineages that were bred so that their kinship is known (``lab``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from filiation.report.numbers import clean, count, decimal, share
from filiation.report.wording import Phrases

_LINES = ("1", "2", "3")
#: What the passage calls each rate of the lab, and how it is called in ``validation``.
_RATES = {
    "true": "true_pairs_right",
    "how": "mechanism_right",
    "open": "mechanism_left_open",
    "apart": "independent_called_common_origin",
    "quiet": "quiet_called_common_origin",
    "init": "initialisation_called_common_origin",
}


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
    null = phrases.say(
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
    told = [text for text in (null, _bred(phrases, _mapping(validation.get("lab")))) if text]
    return phrases.say("ui", "sentence_join").join(told)


def _bred(phrases: Phrases, known: Mapping[str, Any]) -> str | None:
    """Return the rates on bred lineages; None where there are none, or none that are known by these names."""
    rates = {name: _mapping(_mapping(known.get("rates")).get(key)) for name, key in _RATES.items()}
    numbers = [known.get("models"), known.get("comparisons")]
    numbers += [rate.get(key) for rate in rates.values() for key in ("count", "trials", "low", "high")]
    if any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        return None
    values: dict[str, str] = {}
    for name, rate in rates.items():
        values |= {f"{name}_{key}": count(rate[key]) for key in ("count", "trials")}
        values |= {f"{name}_{key}": share(rate[key]) for key in ("low", "high")}
    return phrases.say(
        "validation",
        "lab",
        models=count(known["models"]),
        comparisons=count(known["comparisons"]),
        recipe=clean(known.get("recipe")),
        digest=clean(known.get("zoo_sha256"))[:12],
        measured=clean(known.get("measured")),
        version=clean(known.get("version")),
        **values,
    )


def strangers(phrases: Phrases, validation: Mapping[str, Any] | None, test: str) -> str | None:
    """Return the range of a similarity statistic over the independent models that were measured."""
    bred = _mapping(_mapping(_mapping(validation).get("lab")).get("likeness"))
    row = _mapping(bred.get(test)) or _mapping(_mapping(_mapping(validation).get("likeness")).get(test))
    low, high, pairs = (row.get(key) for key in ("low", "high", "pairs"))
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high, pairs)):
        return None
    families = row.get("families")
    return phrases.say(
        "validation",
        "likeness" if families is None else "likeness_families",
        families=clean(families),
        low=decimal(cast("float", low), 2),
        high=decimal(cast("float", high), 2),
        pairs=count(cast("float", pairs)),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
