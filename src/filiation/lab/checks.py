"""Checking a recipe before anything is made: what could not be made after two hours is refused at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast, get_type_hints

from filiation.lab import families
from filiation.lab.lessons import WORDS
from filiation.lab.llama import Shape
from filiation.lab.makers import CALIBRATED, LAUNDERINGS, OF_MANY, OF_ONE, RENAMINGS, WRITERS
from filiation.lab.material import DOMAINS
from filiation.lab.recipe import Breeding, Node, wrong
from filiation.lab.train import Recipe

#: What a number of a schedule or a shape must be at least; every other must not be negative.
_LEAST = {"steps": 1, "batch": 1, "context": 2, "rate": 1e-9}
_SIZES = ("vocab", "width", "layers", "heads", "kv_heads", "head_dim", "ffn")
#: The smallest vocabulary: every byte and the end of a text.
BYTES = 257


def check(recipe: Breeding) -> None:
    """Refuse a recipe that asks for what cannot be made.

    Raises:
        UsageError: names the model, the field, and the file where there is one.
    """
    if recipe.vocab < BYTES or recipe.context < 8:
        reason = f"it needs a vocab of {BYTES} at least and a context of 8"
        raise wrong("[text]", reason, recipe.source, "[text]")
    known: dict[str, Node] = {}
    for node in recipe.nodes:
        if reason := _reason(node, known, recipe):
            raise wrong(node.name, reason, recipe.source)
        known[node.name] = node
    for pair in recipe.pairs:
        for name in (pair.suspect, pair.candidate):
            if name not in known:
                what = f"pair {pair.suspect} / {pair.candidate}"
                raise wrong(what, f"there is no model {name}", recipe.source, "[[pair]]")


def _reason(node: Node, known: Mapping[str, Node], recipe: Breeding) -> str | None:
    """Return what is wrong with a model, if anything."""
    for parent in node.parents:
        if known[parent].maker == "recode" and node.maker != "recode":
            return f"its parent {parent} is stored in a way that the lab does not read back"
    if node.maker == "train":
        return _lesson(node, recipe)
    if not node.parents:
        return "it has no parents"
    if node.maker == "recode":
        return _call(node, {2: RENAMINGS, 4: WRITERS, 3: CALIBRATED})
    if node.how in OF_MANY and len(node.parents) < 2:
        return f"{node.how} is of several models, and it has one parent"
    return _call(node, {2: {**OF_ONE, **OF_MANY, **LAUNDERINGS}})


def _call(node: Node, tables: Mapping[int, Mapping[str, Callable[..., Any]]]) -> str | None:
    """Return what is wrong with the function a model is made by, or with its arguments.

    Args:
        tables: functions by the number of arguments that the lab gives them itself.
    """
    found = next(((table[node.how], given) for given, table in tables.items() if node.how in table), None)
    if found is None:
        names = sorted(name for table in tables.values() for name in table)
        near = get_close_matches(node.how, names, cutoff=0.0)
        return f"`how` is {node.how!r}, which the lab does not know; nearest are {', '.join(near)}"
    change, given = found
    options = node.settings.get("with", {})
    if not isinstance(options, dict):
        return "`with` must be a table of arguments"
    options = cast("dict[str, Any]", options)
    signature = inspect.signature(change)
    try:
        signature.bind(*[None] * given, **options)
    except TypeError as error:
        return f"`with` does not fit {node.how}: {error}"
    for name, value in options.items():
        if name in signature.parameters and not _fits(value, str(signature.parameters[name].annotation)):
            return f"`with`: {name} is {value!r}, no {signature.parameters[name].annotation}"
    return None


def _fits(value: Any, wanted: str) -> bool:
    """Tell whether a value of TOML can be given for an annotation; one that is not known here takes anything."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = number and isinstance(value, int)
    items = cast("list[Any]", value) if isinstance(value, list) else None
    if wanted in ("Sequence[int]", "list[int]", "Sequence[float]", "list[float]"):
        inner = wanted.partition("[")[2][:-1]
        return items is not None and all(_fits(item, inner) for item in items)
    return {"int": whole, "float": number, "str": isinstance(value, str)}.get(wanted, True)


def _lesson(node: Node, recipe: Breeding) -> str | None:
    """Return what is wrong with a training."""
    settings = node.settings
    if "schedule" not in settings:
        return "it has no schedule"
    if not node.parents and not {"seed", "shape"} <= settings.keys():
        return "it needs parents, or a shape and a seed to draw its weights from"
    words = {"data": WORDS, "domain": (*DOMAINS, "both")}
    for field, allowed in words.items():
        if field in settings and settings[field] not in allowed:
            return f"`{field}` must be one of {', '.join(allowed)}, not {settings[field]!r}"
    needing = [settings.get("data")] if str(settings.get("data")).startswith("teacher") else []
    if not node.parents and (needing or "frozen" in settings):
        return "it needs a parent to learn from"
    for field in ("seed", "order", "rank"):
        if field in settings and not (_fits(settings[field], "int") and settings[field] >= 0):
            return f"`{field}` is {settings[field]!r}, no whole number"
    if not _fits(settings.get("at_least", 0.0), "float"):
        return f"`at_least` is {settings['at_least']!r}, no number"
    but = settings.get("but", {})
    if not isinstance(but, dict):
        return "`but` must be a table of what differs from the schedule"
    schedule: dict[str, Any] = {**settings["schedule"], **cast("dict[str, Any]", but)}
    return _schedule(schedule) or _shape(settings.get("shape"), recipe)


def _schedule(schedule: Mapping[str, Any]) -> str | None:
    hints = {name: kind.__name__ for name, kind in get_type_hints(Recipe).items() if name != "order_seed"}
    missing = [name for name in ("steps", "rate") if name not in schedule]
    lacking = f"its schedule says nothing of {', '.join(missing)}" if missing else None
    return _numbers("schedule", schedule, hints) or lacking


def _shape(shape: Mapping[str, Any] | None, recipe: Breeding) -> str | None:
    if shape is None:
        return None
    family = shape.get("family", "llama")
    if family != "llama" and not families.is_family(str(family)):
        return f"its shape's family must be one of llama, {', '.join(families.CLASSES)}, not {family!r}"
    sizes = {name: value for name, value in shape.items() if name != "family"}
    if family == "llama":
        hints = {name: kind.__name__ for name, kind in get_type_hints(Shape).items() if name != "config"}
        if reason := _numbers("shape", sizes, hints):
            return reason
        made = Shape(**sizes)
        if min(getattr(made, name) for name in _SIZES) < 1 or made.heads % made.kv_heads or made.head_dim % 2:
            return "its shape needs sizes of 1 at least, heads a multiple of kv_heads, and an even head_dim"
        sizes = {"vocab_size": made.vocab}
    if sizes.get("vocab_size", recipe.vocab) < recipe.vocab:
        return f"its shape has {sizes['vocab_size']} tokens, and [text] vocab is {recipe.vocab}"
    return None


def _numbers(what: str, given: Mapping[str, Any], hints: Mapping[str, str]) -> str | None:
    """Return what is wrong with the numbers of a schedule or a shape."""
    for name, value in given.items():
        if name not in hints:
            return f"its {what} has an unknown field {name}; it may have {', '.join(sorted(hints))}"
        several: Sequence[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        kind = "float" if hints[name] == "tuple" else hints[name]
        if not all(_fits(each, kind) and each >= _LEAST.get(name, 0) for each in several):
            return f"its {what} has {name} = {value!r}, which cannot be"
    return None
