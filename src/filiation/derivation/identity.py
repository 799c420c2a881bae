"""Are two models the same weights? Every part is compared after decoding, in slices; never a whole model in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from filiation.anatomy.model import Anatomy, Part
from filiation.derivation.contents import renamed_by_content, same_contents
from filiation.derivation.records import Derived, evidence_for, ordered
from filiation.derivation.settings import settings_step
from filiation.derivation.storage import Key, parts_by_key, shared_parts, storage_steps, weight_files
from filiation.evidence import Derivation
from filiation.origin.units import Floats

Progress = Callable[[str, int, int | None], None]

SLICE = 1 << 20
"""Values compared at a time."""
#: Parts that hold no weights: rotary tables, masks.
_NO_WEIGHTS = frozenset({"buffer", "tied_head"})


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference found: which part, which element, or why the parts cannot be equal."""

    component: str
    role: str
    layer: int | None
    expert: int | None
    suspect_tensor: str | None
    candidate_tensor: str | None
    reason: str
    index: tuple[int, ...] | None = None
    suspect_value: float | None = None
    candidate_value: float | None = None


@dataclass(frozen=True, slots=True)
class Sameness:
    """Whether two models hold the same weights.

    Attributes:
        equal: every part is equal after decoding, by full read or by equal digests.
        names_equal, dtypes_equal: of the stored tensors. ``files_equal``: by SHA-256; None where not all are known.
        parts, elements: how many were compared equal.
        difference: the first one found, None where there is none.
        by: ``parts`` (compared place by place), ``digest`` (nothing was read: the weight files are equal) or
            ``content`` (the suspect's parts could not all be named; its tensors are the candidate's under
            other names).
        names: candidate's tensor -> suspect's, where they were matched by content.
    """

    equal: bool
    names_equal: bool
    dtypes_equal: bool
    files_equal: bool | None
    parts: int = 0
    elements: int = 0
    difference: Difference | None = None
    by: str = "parts"
    names: Mapping[str, str] = field(default_factory=dict[str, str])


def same_files(suspect: Anatomy, candidate: Anatomy) -> bool:
    """Return whether both models' weight files have equal, known SHA-256 digests."""
    return _files_equal(suspect, candidate) is True


def same_weights(suspect: Anatomy, candidate: Anatomy, progress: Progress | None = None) -> Sameness:
    """Compare all parts of two models by (component, role, layer, expert), after decoding.

    A tied head counts as the embedding; gains stored shifted (Gemma) are compared as applied. A few rows of every
    part are read first, so that models that differ are told apart without reading them whole.

    Raises:
        NonFiniteWeightsError: a part holds NaN or infinity.
    """
    mine, theirs = suspect.checkpoint.tensors, candidate.checkpoint.tensors
    unknown = Sameness(
        False,
        set(mine) == set(theirs),
        sorted(t.dtype for t in mine.values()) == sorted(t.dtype for t in theirs.values()),
        _files_equal(suspect, candidate),
    )
    if unknown.files_equal:
        elements = sum(int(np.prod(p.shape)) for p in suspect.parts)
        return replace(unknown, equal=True, parts=len(suspect.parts), elements=elements, by="digest")
    pairs, difference = _paired(suspect, candidate)
    if difference is not None:
        names = same_contents(suspect.checkpoint, candidate.checkpoint)
        if names is None:
            return replace(unknown, difference=difference)
        elements = sum(int(np.prod(t.shape)) for t in mine.values())
        return replace(unknown, equal=True, parts=len(names), elements=elements, by="content", names=names)
    return _streamed(suspect, candidate, pairs, unknown, progress)


def _streamed(
    suspect: Anatomy,
    candidate: Anatomy,
    pairs: list[tuple[Part, Part]],
    unknown: Sameness,
    progress: Progress | None,
) -> Sameness:
    difference = _probe(suspect, candidate, pairs)
    elements = 0
    for done, (s, c) in enumerate(pairs):
        if difference is not None:
            break
        if progress is not None:
            progress("comparing all weights", done, len(pairs))
        difference = _compare(suspect, candidate, s, c)
        elements += int(np.prod(s.shape)) if difference is None else 0
    if difference is None:
        difference = _left_out(suspect, candidate)
    return replace(
        unknown, equal=difference is None, parts=len(pairs), elements=elements, difference=difference
    )


def _left_out(suspect: Anatomy, candidate: Anatomy) -> Difference | None:
    """Return a tensor of which something that a file holds was not compared: nobody knows that it is equal."""
    for model, reason in ((suspect, "only_in_suspect"), (candidate, "only_in_candidate")):
        opened = model.checkpoint
        for name in (*opened.unscaled, *sorted(opened.rows_left_out)):
            return Difference("", "", None, None, name, name, reason)
    return None


def _files_equal(suspect: Anatomy, candidate: Anatomy) -> bool | None:
    digests = [_digests(m) for m in (suspect, candidate)]
    if None in digests:
        return None
    return digests[0] == digests[1]


def _digests(model: Anatomy) -> list[str] | None:
    wanted = weight_files(model)
    known = {f.name: f.sha256 for f in model.checkpoint.files}
    found = [known.get(name) for name in sorted(wanted)]
    return None if not found or None in found else sorted(d for d in found if d is not None)


def _paired(suspect: Anatomy, candidate: Anatomy) -> tuple[list[tuple[Part, Part]], Difference | None]:
    """Return the parts to compare, or the first part that only one of the models has."""
    mine, theirs = _with_weights(suspect), _with_weights(candidate)
    for key in sorted({*mine, *theirs}, key=str):
        here, there = _stand_in(mine, key), _stand_in(theirs, key)
        if here is None or there is None:
            return [], _only_in_one(key, here, there)
    keys = sorted({*mine, *theirs}, key=str)
    pairs = [
        (s, c) for key in keys if (s := _stand_in(mine, key)) is not None and (c := _stand_in(theirs, key))
    ]
    stranger = _unnamed(suspect, candidate)
    return (pairs, None) if stranger is None else ([], stranger)


def _with_weights(model: Anatomy) -> dict[Key, Part]:
    return {k: p for k, p in parts_by_key(model).items() if p.role not in _NO_WEIGHTS}


def _stand_in(parts: dict[Key, Part], key: Key) -> Part | None:
    """Return the part, or the embedding where a head is tied to it."""
    if key in parts:
        return parts[key]
    return parts.get((key[0], "embedding", None, None)) if key[1] == "head" else None


def _only_in_one(key: Key, here: Part | None, there: Part | None) -> Difference:
    component, role, layer, expert = key
    return Difference(
        component,
        role,
        layer,
        expert,
        None if here is None else here.tensor,
        None if there is None else there.tensor,
        "only_in_candidate" if here is None else "only_in_suspect",
    )


def _unnamed(suspect: Anatomy, candidate: Anatomy) -> Difference | None:
    """Return a tensor that is no part (no rule explains it, or no loader reads it) and that the other has not."""
    mine, theirs = _no_parts(suspect), _no_parts(candidate)
    for name in sorted({*mine} ^ {*theirs}):
        here = name in mine
        reason = "only_in_suspect" if here else "only_in_candidate"
        return Difference("", "", None, None, name if here else None, None if here else name, reason)
    for name in mine:
        a, b = suspect.checkpoint.read(name), candidate.checkpoint.read(name)
        if a.shape != b.shape or not np.array_equal(a, b):
            return Difference(
                "", "", None, None, name, name, "values_differ" if a.shape == b.shape else "shapes_differ"
            )
    return None


def _no_parts(model: Anatomy) -> tuple[str, ...]:
    aside = (names for of in model.aside.values() for names in of.values())
    return (*model.unnamed, *(name for names in aside for name in names))


def _probe(suspect: Anatomy, candidate: Anatomy, pairs: list[tuple[Part, Part]]) -> Difference | None:
    """Compare shapes, and a few rows in the middle of every part that can be read by rows."""
    for s, c in pairs:
        if s.shape != c.shape:
            return _difference(s, c, "shapes_differ")
    for s, c in pairs:
        if s.view.transpose or c.view.transpose:
            continue
        middle = s.shape[0] // 2
        found = _first_unequal(suspect, candidate, s, c, middle, min(middle + 2, s.shape[0]))
        if found is not None:
            return found
    return None


def _compare(suspect: Anatomy, candidate: Anatomy, s: Part, c: Part) -> Difference | None:
    for start, stop in _slices(s, c):
        found = _first_unequal(suspect, candidate, s, c, start, stop)
        if found is not None:
            return found
    return None


def _slices(s: Part, c: Part) -> Iterator[tuple[int, int]]:
    """Yield row ranges; a part stored transposed is read whole, since no range of its rows lies together."""
    rows = s.shape[0] if s.shape else 1
    width = max(1, int(np.prod(s.shape[1:])))
    size = rows if s.view.transpose or c.view.transpose else max(1, SLICE // width)
    for start in range(0, rows, max(1, size)):
        yield start, min(start + size, rows)


def _first_unequal(
    suspect: Anatomy, candidate: Anatomy, s: Part, c: Part, start: int, stop: int
) -> Difference | None:
    mine: Floats = suspect.read(s, start, stop)
    theirs: Floats = candidate.read(c, start, stop)
    if np.array_equal(mine, theirs):
        return None
    at = np.argwhere(mine != theirs)[0]
    index = (int(at[0]) + start, *(int(i) for i in at[1:]))
    place = tuple(int(i) for i in at)
    return _difference(s, c, "values_differ", index, float(mine[place]), float(theirs[place]))


def _difference(
    s: Part,
    c: Part,
    reason: str,
    index: tuple[int, ...] | None = None,
    mine: float | None = None,
    theirs: float | None = None,
) -> Difference:
    return Difference(s.component, s.role, s.layer, s.expert, s.tensor, c.tensor, reason, index, mine, theirs)


def as_identical(sameness: Sameness, suspect: Anatomy, candidate: Anatomy, number: int = 0) -> Derived:
    """Return the derivation of equal weights: ``identical``, and how they were stored anew or named.

    Settings may differ all the same; they are told too.
    """
    steps = storage_steps(suspect, candidate, shared_parts(suspect, candidate), files=True)
    for component in (c for c in suspect.components if c in candidate.components):
        changed = settings_step(suspect, candidate, component)
        steps += [changed] if changed is not None else []
    if sameness.names:
        steps = [s for s in steps if s.kind != "renamed"]
        steps += renamed_by_content(sameness.names, candidate)
    numbers = {"parts": sameness.parts, "elements": sameness.elements, "by": sameness.by}
    steps.append(Derivation("identical", numbers))
    told = ordered(Derivation(s.kind, s.numbers, number) for s in steps)
    return Derived(told, (), evidence_for(told, suspect.components[0]))
