"""What differs between a stored report and one computed again, sorted by what it means.

Not every difference refutes a report: the models may lie elsewhere, another version may have read other bytes,
another processor may add in another order. Those are told apart from a finding that does not come out again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

#: Relative difference of two numbers up to which they may be one sum in another order of additions.
ROUNDING = 1e-5
#: The same for sizes of changes: a rotation that was fitted first adds to it (a fine-tuned, rotated SmolLM2: 6e-5).
FITTED = 1e-3

# Where a model is and what it took to read it: no part of what was found. The command is one of them, because
# it holds the locators.
_CIRCUMSTANCES = frozenset(
    {"locator", "name", "revision", "bytes_read", "places", "tool", "command", "validation"}
)
_PINS = frozenset({"files", "digest", "format"})

Json = Any


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs: in which record, which field, before and now (None: absent)."""

    record: str
    field: str
    old: Json
    new: Json


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything that differs.

    Attributes:
        inputs: the models are not the ones the report speaks of.
        findings: evidence, verdict or maps that come out otherwise.
        rounding: numbers that differ in their last digits only.
        circumstances: differences that say nothing about the finding.
    """

    inputs: tuple[Change, ...]
    findings: tuple[Change, ...]
    rounding: tuple[Change, ...]
    circumstances: tuple[Change, ...]

    @property
    def holds(self) -> bool:
        """Whether the stored report comes out again."""
        return not self.inputs and not self.findings


def difference(old: Mapping[str, Json], new: Mapping[str, Json]) -> Difference:
    """Compare the JSON of a stored report with that of one computed again."""
    inputs, unpinned = _inputs(old, new)
    findings: list[Change] = []
    rounding: list[Change] = []
    circumstances: list[Change] = [*unpinned]
    for change in _changes("", _keyed(old), _keyed(new)):
        words = set(re.split(r"[.\[]", change.field))
        if words & _PINS and change.record.startswith("models"):
            continue
        if words & _CIRCUMSTANCES or change.record.partition(".")[0] in _CIRCUMSTANCES:
            circumstances.append(change)
        elif _nearly_equal(change.old, change.new, FITTED if _measures_a_change(change) else ROUNDING):
            rounding.append(change)
        else:
            findings.append(change)
    return Difference(tuple(inputs), tuple(findings), tuple(rounding), tuple(circumstances))


def _keyed(document: Mapping[str, Json]) -> dict[str, Json]:
    """The document with evidence by id instead of by position, and every other key a record of its own."""
    records = {key: value for key, value in document.items() if key not in ("evidence", "models")}
    for entry in document.get("evidence") or ():
        records[str(entry.get("id"))] = entry
    for name, model in _models(document):
        records[f"models.{name}"] = model
    return records


def _models(document: Mapping[str, Json]) -> Iterator[tuple[str, Mapping[str, Json]]]:
    models = document.get("models") or {}
    if models.get("suspect"):
        yield "suspect", models["suspect"]
    for n, candidate in enumerate(models.get("candidates") or ()):
        yield f"candidates[{n}]", candidate


def _inputs(old: Mapping[str, Json], new: Mapping[str, Json]) -> tuple[list[Change], list[Change]]:
    """Compare what pins the models: files by name, size and hash; the digest where files do not contradict it."""
    differ: list[Change] = []
    unpinned: list[Change] = []
    now = dict(_models(new))
    for name, model in _models(old):
        other = now.get(name, {})
        files = _files_differ(f"models.{name}", model, other)
        differ += files
        if not files and model.get("digest") != other.get("digest"):
            pinned = all(_all_hashed(m) for m in (model, other))
            change = Change(f"models.{name}", "digest", model.get("digest"), other.get("digest"))
            (differ if pinned else unpinned).append(change)
    return differ, unpinned


def _all_hashed(model: Mapping[str, Json]) -> bool:
    return all(f.get("sha256") for f in model.get("files") or ())


def _files_differ(record: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> list[Change]:
    mine = {f.get("name"): f for f in old.get("files") or ()}
    theirs = {f.get("name"): f for f in new.get("files") or ()}
    found: list[Change] = []
    for name, file in mine.items():
        other = theirs.get(name)
        if other is None:
            found.append(Change(record, f"files.{name}", file.get("size"), None))
        elif file.get("size") != other.get("size"):
            found.append(Change(record, f"files.{name}.size", file.get("size"), other.get("size")))
        elif file.get("sha256") and other.get("sha256") and file["sha256"] != other["sha256"]:
            found.append(Change(record, f"files.{name}.sha256", file["sha256"], other["sha256"]))
    return found


def _changes(field: str, old: Json, new: Json, record: str = "") -> Iterator[Change]:
    """Yield every leaf that differs; the first level of keys names the record."""
    if isinstance(old, dict) and isinstance(new, dict):
        mine, theirs = cast("dict[str, Json]", old), cast("dict[str, Json]", new)
        for key in sorted(mine.keys() | theirs.keys()):
            path = key if not field else f"{field}.{key}"
            deeper = (path, record) if record else ("", key)
            yield from _changes(deeper[0], mine.get(key), theirs.get(key), deeper[1])
    elif (
        isinstance(old, list)
        and isinstance(new, list)
        and len(cast("list[Json]", old)) == len(cast("list[Json]", new))
    ):
        for n, (a, b) in enumerate(zip(cast("list[Json]", old), cast("list[Json]", new), strict=True)):
            yield from _changes(f"{field}[{n}]", a, b, record)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Change(record, field, old, new)


def _measures_a_change(change: Change) -> bool:
    """Return whether a value says how large a change is: of the derivation, not of the evidence of an origin."""
    return change.record.startswith(("deltas", "derivation.")) or "derivation[" in change.field


def _nearly_equal(old: Json, new: Json, within: float) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return False
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return False
    whole = isinstance(old, int) and isinstance(new, int)
    return not whole and abs(old - new) <= within * max(abs(old), abs(new), 1e-3)
