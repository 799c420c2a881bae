"""What differs between a stored report and one computed again, sorted by what it means.

Every key that the recomputation determines is compared. Not every difference refutes a report: the models may lie
elsewhere, another version may have read other bytes, another processor may add in another order. Those are told
apart from a finding that does not come out again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

#: Relative difference of two numbers up to which they may be one sum in another order of additions.
ROUNDING = 1e-5
#: The same for sizes of changes: a rotation that was fitted first adds to it (a fine-tuned, rotated SmolLM2: 6e-5).
FITTED = 1e-3

#: Where a model is: determined, unless the caller says that it has moved.
_WHERE = frozenset({"locator", "name", "revision"})
#: What it took to read the models: the same again only where they lie in the same local place.
_READING = frozenset({"bytes_read", "places"})
_PINS = frozenset({"files", "digest"})
#: Probabilities, compared by their order of magnitude: 1e-12 and 1e-10 are both next to nothing, and not one number.
_BOUNDS = frozenset({"false_positive_bound", "p_value"})

Json = Any
Record = Mapping[str, Json]


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
        findings: evidence, verdict, maps, or anything else that comes out otherwise.
        rounding: numbers that differ in their last digits only.
        circumstances: differences that say nothing about the finding: where moved models lie, what was read there.
        unchecked: keys that recomputing cannot say anything about.
    """

    inputs: tuple[Change, ...]
    findings: tuple[Change, ...]
    rounding: tuple[Change, ...]
    circumstances: tuple[Change, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the stored report comes out again."""
        return not self.inputs and not self.findings


@dataclass(frozen=True, slots=True)
class _Setting:
    """Under what conditions the report was computed again."""

    moved: frozenset[str]
    same_version: bool
    same_reads: bool

    def excuses(self, change: Change) -> bool:
        """Whether a difference follows from these conditions and not from the finding."""
        words = re.split(r"[.\[]", change.field)
        top = change.record.partition(".")[0]
        if top == "tool":
            return change.field == "version"
        if top == "validation":
            return not self.same_version
        if top == "command":
            return change.field in self.moved
        if top == "models" and words[0] in _WHERE:
            return change.record.removeprefix("models.") in self.moved
        return not self.same_reads and (words[-1] in _READING or words[0] in _READING or top in _READING)


def difference(old: Record, new: Record, *, moved: Collection[str] = ()) -> Difference:
    """Compare the JSON of a stored report with that of one computed again.

    Args:
        old: the stored report.
        new: the report computed again.
        moved: which models lie elsewhere now: ``suspect``, ``candidates[0]`` ..., ``base``.
    """
    setting = _setting(old, new, frozenset(moved))
    inputs, circumstances = _inputs(old, new, exact=setting.same_reads)
    findings: list[Change] = []
    rounding: list[Change] = []
    for change in _all_changes(old, new):
        if setting.excuses(change):
            circumstances.append(change)
        elif _rounded(change):
            rounding.append(change)
        else:
            findings.append(change)
    unchecked = ("validation",) if setting.same_version else ("tool.version", "validation")
    return Difference(tuple(inputs), tuple(findings), tuple(rounding), tuple(circumstances), unchecked)


def _setting(old: Record, new: Record, moved: frozenset[str]) -> _Setting:
    same_version = _get(old, "tool", "version") == _get(new, "tool", "version")
    local = all(
        model.get("revision") is None and "://" not in str(model.get("locator"))
        for model in _models(new).values()
    )
    return _Setting(moved, same_version, same_version and local and not moved)


def _get(document: Record, *path: str) -> Json:
    value: Json = document
    for key in path:
        value = _record(value).get(key)
    return value


def _record(value: Json) -> Record:
    return cast("Record", value) if isinstance(value, Mapping) else {}


def _list(value: Json) -> Sequence[Json]:
    return cast("Sequence[Json]", value) if isinstance(value, list) else ()


def _all_changes(old: Record, new: Record) -> Iterator[Change]:
    """Yield every leaf that differs: evidence by its id, models by their part, everything else by its key."""
    apart = ("evidence", "models")
    mine, theirs = ({k: v for k, v in document.items() if k not in apart} for document in (old, new))
    for key in sorted(mine.keys() | theirs.keys()):
        yield from _changes("", mine.get(key), theirs.get(key), key)
    for keyed in (_evidence, _models):
        before, now = keyed(old), keyed(new)
        for name in [*before, *(name for name in now if name not in before)]:
            yield from _changes(
                "", before.get(name), now.get(name), name if keyed is _evidence else _of(name)
            )


def _of(name: str) -> str:
    return "models" if not name else f"models.{name}"


def _evidence(document: Record) -> dict[str, Json]:
    """The evidence by id; an id that stands twice is numbered, so that neither hides the other."""
    found: dict[str, Json] = {}
    for entry in _list(document.get("evidence")):
        name = str(_record(entry).get("id"))
        again = sum(known == name or known.startswith(f"{name} #") for known in found) if name in found else 0
        found[f"{name} #{again + 1}" if again else name] = entry
    return found


def _parts(document: Record) -> dict[str, Record]:
    """The models by their part; ``""`` holds what is no model."""
    models = _record(document.get("models"))
    candidates = {f"candidates[{n}]": m for n, m in enumerate(_list(models.get("candidates")))}
    rest = {k: v for k, v in models.items() if k not in ("suspect", "candidates")}
    named = {"suspect": models.get("suspect"), **candidates, "": rest or None}
    return {name: _record(model) for name, model in named.items() if model is not None}


def _models(document: Record) -> dict[str, Record]:
    """The models without what pins them (see :func:`_inputs`)."""
    return {
        name: {key: value for key, value in model.items() if key not in _PINS}
        for name, model in _parts(document).items()
    }


def _inputs(old: Record, new: Record, *, exact: bool) -> tuple[list[Change], list[Change]]:
    """Compare what pins the models: files by name, size and hash, and the digest over them.

    A model that lies elsewhere may have another name, never another digest. Only a file that the report says was not
    hashed, and that is hashed now, changes the digest without being another file; then the seeds, which follow from
    the digests, differ as well.

    ``exact``: the same local place was read by the same version, so that the whole record must come out again.
    """
    differ: list[Change] = []
    unpinned: list[Change] = []
    before, now = _parts(old), _parts(new)
    reseeded = old.get("seed") != new.get("seed")
    for name in [*before, *(name for name in now if name not in before)]:
        model, other = before.get(name, {}), now.get(name, {})
        record = f"models.{name}"
        files = _files_differ(record, model, other)
        differ += files
        if files:
            continue
        if model.get("digest") != other.get("digest"):
            pinned = exact or not (reseeded and _hashed_since(model, other))
            change = Change(record, "digest", model.get("digest"), other.get("digest"))
            (differ if pinned else unpinned).append(change)
        for change in _changes("files", model.get("files"), other.get("files"), record):
            (differ if exact else unpinned).append(change)
    return differ, unpinned


def _hashed_since(old: Record, new: Record) -> bool:
    """Return whether a file is hashed now that was not, for a reason, when the report was made."""
    known = {_record(f).get("name") for f in _list(new.get("files")) if _record(f).get("sha256")}
    return any(
        _record(f).get("not_hashed") and not _record(f).get("sha256") and _record(f).get("name") in known
        for f in _list(old.get("files"))
    )


def _files_differ(record: str, old: Record, new: Record) -> list[Change]:
    mine, theirs = (
        {str(_record(f).get("name")): _record(f) for f in _list(model.get("files"))} for model in (old, new)
    )
    found: list[Change] = []
    for name in [*mine, *(name for name in theirs if name not in mine)]:
        file, other = mine.get(name, {}), theirs.get(name, {})
        if not file or not other:
            found.append(Change(record, f"files.{name}", file.get("size"), other.get("size")))
        elif file.get("size") != other.get("size"):
            found.append(Change(record, f"files.{name}.size", file.get("size"), other.get("size")))
        elif file.get("sha256") != other.get("sha256") and (file.get("sha256") or not file.get("not_hashed")):
            found.append(Change(record, f"files.{name}.sha256", file.get("sha256"), other.get("sha256")))
    return found


def _changes(field: str, old: Json, new: Json, record: str) -> Iterator[Change]:
    """Yield every leaf that differs."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        mine, theirs = _record(old), _record(new)
        for key in sorted(mine.keys() | theirs.keys()):
            yield from _changes(f"{field}.{key}" if field else key, mine.get(key), theirs.get(key), record)
    elif isinstance(old, list) and isinstance(new, list) and len(_list(old)) == len(_list(new)):
        for n, (a, b) in enumerate(zip(_list(old), _list(new), strict=True)):
            yield from _changes(f"{field}[{n}]", a, b, record)
    elif old != new or isinstance(old, bool) != isinstance(new, bool):
        yield Change(record, field, old, new)


def _measures_a_change(change: Change) -> bool:
    """Return whether a value says how large a change is: of the derivation, not of the evidence of an origin."""
    return change.record.startswith(("deltas", "derivation.")) or "derivation[" in change.field


def _rounded(change: Change) -> bool:
    """Return whether two numbers may be one, computed in another order."""
    old, new = change.old, change.new
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, new)):
        return False
    if isinstance(old, int) and isinstance(new, int):
        return False
    if change.field.rpartition(".")[2] in _BOUNDS:
        return _same_bound(float(old), float(new))
    within = FITTED if _measures_a_change(change) else ROUNDING
    return abs(old - new) <= within * max(abs(old), abs(new), 1e-3)


def _same_bound(old: float, new: float) -> bool:
    """Return whether two probabilities agree as their logarithms would; 0 agrees with nothing else."""
    if old <= 0 or new <= 0:
        return old == new
    return abs(math.log10(old) - math.log10(new)) <= ROUNDING * max(abs(math.log10(new)), 1e-3)
