"""What differs between a stored audit and one made again: the rules of a comparison's, on repositories.

References stand where a comparison has its candidates, and a file's path where that has its name. The error rates of an
audit are counted anew from the corpus, so that they are compared like everything else.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from filiation.report.difference import Change, Difference, difference

Json = dict[str, Any]


def audit_difference(old: Json, new: Json, *, moved: Collection[str] = ()) -> Difference:
    """Compare the JSON of a stored audit with that of one made again.

    Args:
        old: the stored report.
        new: the report made again.
        moved: which repositories lie elsewhere now: ``suspect``, ``references[0]`` ...
    """
    apart = [name.replace("references", "candidates") for name in moved]
    found = difference(_as_models(old), _as_models(new), moved=apart)
    unchecked = tuple(
        key for key in found.unchecked if key != "validation" or "tool.version" in found.unchecked
    )
    named = {
        field.name: tuple(_named(change) for change in getattr(found, field.name))
        for field in dataclasses.fields(found)
        if field.name != "unchecked"
    }
    return Difference(**named, unchecked=unchecked)


def _as_models(document: Json) -> Json:
    """Return a report with its repositories under the names that models have."""
    models = _mapping(document.get("models"))
    parts = {"suspect": models.get("suspect"), "candidates": models.get("references") or []}
    each = [_part(_mapping(part)) for part in (parts["suspect"], *_list(parts["candidates"]))]
    rest = {key: value for key, value in models.items() if key not in ("suspect", "references")}
    return {**document, "models": {**rest, "suspect": each[0], "candidates": each[1:]}}


def _part(part: Mapping[str, Any]) -> Json:
    files = [{**_mapping(file), "name": _mapping(file).get("path")} for file in _list(part.get("files"))]
    return {**part, "files": files}


def _named(change: Change) -> Change:
    return dataclasses.replace(
        change, record=re.sub(r"^models\.candidates\[", "models.references[", change.record)
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list) else ()


def known_by_size(document: Json) -> int:
    """Return how many files of a report's repositories are known by nothing but their size."""
    models = _mapping(document.get("models"))
    parts: Iterable[Any] = (models.get("suspect"), *_list(models.get("references")))
    files = (_mapping(file) for part in parts for file in _list(_mapping(part).get("files")))
    return sum(not (file.get("sha256") or file.get("git_id")) for file in files)
