"""How the weights are stored: other format, types, fusing, files (re-encoded) and other names (renamed)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from filiation.anatomy.model import Anatomy, Part
from filiation.derivation.rounding import FLOATS
from filiation.evidence import Derivation

Key = tuple[str, str, int | None, int | None]


def parts_by_key(model: Anatomy) -> dict[Key, Part]:
    """Return the parts of a model by (component, role, layer, expert)."""
    return {(p.component, p.role, p.layer, p.expert): p for p in model.parts}


def shared_parts(suspect: Anatomy, candidate: Anatomy) -> list[tuple[Part, Part]]:
    """Return the parts both models have in the same place, in the suspect's order."""
    theirs = parts_by_key(candidate)
    return [(p, theirs[key]) for key, p in parts_by_key(suspect).items() if key in theirs]


def storage_steps(
    suspect: Anatomy,
    candidate: Anatomy,
    pairs: Iterable[tuple[Part, Part]],
    *,
    dtypes: bool = True,
    files: bool = False,
) -> list[Derivation]:
    """Return ``re_encoded`` and ``renamed``.

    Args:
        pairs: which part of the suspect is which of the candidate.
        dtypes: count other stored types, also quantised ones (a requantised model's are told as that).
        files: count another number of files as re-encoding too (for weights that are equal).
    """
    matched = list(pairs)
    encoded = re_encoded_step(suspect, candidate, matched, dtypes=dtypes, files=files)
    steps = [encoded, renamed_step(suspect, candidate, matched)]
    return [step for step in steps if step is not None]


def re_encoded_step(
    suspect: Anatomy,
    candidate: Anatomy,
    pairs: list[tuple[Part, Part]],
    *,
    dtypes: bool = True,
    files: bool = False,
) -> Derivation | None:
    """Return what differs in how the parts are stored; None where nothing does."""
    before, after = _kinds(candidate, (c for _, c in pairs)), _kinds(suspect, (s for s, _ in pairs))
    was: dict[str, Any] = {}
    now: dict[str, Any] = {}

    def note(key: str, old: Any, new: Any) -> None:
        if old != new:
            was[key], now[key] = old, new

    note("format", candidate.checkpoint.format, suspect.checkpoint.format)
    changed = _type_changes(suspect, candidate, pairs)
    plain = [kinds for kinds in changed if FLOATS.issuperset(kinds)]
    if changed if dtypes else 2 * len(plain) > len(pairs):
        note("dtypes", before, after)
    note("fused", _fused(c for _, c in pairs), _fused(s for s, _ in pairs))
    if files:
        note("files", len(weight_files(candidate)), len(weight_files(suspect)))
    return Derivation("re_encoded", {"from": was, "to": now}) if was else None


def _type_changes(
    suspect: Anatomy, candidate: Anatomy, pairs: list[tuple[Part, Part]]
) -> list[tuple[str, str]]:
    """Return the stored types of the parts whose type is another one."""
    mine, theirs = suspect.checkpoint.tensors, candidate.checkpoint.tensors
    kinds = [(mine[s.tensor].dtype, theirs[c.tensor].dtype) for s, c in pairs]
    return [k for k in kinds if k[0] != k[1]]


def _fused(parts: Iterable[Part]) -> int:
    """Return how many tensors hold more than one part."""
    distinct = {(p.tensor, p.role, p.expert) for p in parts}
    return sum(count > 1 for count in Counter(tensor for tensor, _, _ in distinct).values())


def _kinds(model: Anatomy, parts: Iterable[Part]) -> dict[str, int]:
    tensors = model.checkpoint.tensors
    return dict(sorted(Counter(tensors[name].dtype for name in {p.tensor for p in parts}).items()))


def weight_files(model: Anatomy) -> set[str]:
    """Return the names of the files that hold tensors."""
    return {t.file for t in model.checkpoint.tensors.values()}


def renamed_step(suspect: Anatomy, candidate: Anatomy, pairs: list[tuple[Part, Part]]) -> Derivation | None:
    """Return the map from the candidate's tensor names to the suspect's, layer and expert numbers left open.

    None where names agree, or differ only because each format has its own.
    """
    names = rename_map(pairs)
    if not names:
        return None
    own = suspect.checkpoint.format != candidate.checkpoint.format and not suspect.rename_map
    if own and suspect.family is not None and candidate.family is not None:
        return None
    numbers: dict[str, Any] = {
        "tensors": sum(s.tensor != c.tensor for s, c in pairs if s.role == c.role),
        "renames": names,
    }
    if suspect.rename_map:
        numbers["inferred"] = dict(sorted(suspect.rename_map.items()))
    return Derivation("renamed", numbers)


def rename_map(pairs: list[tuple[Part, Part]]) -> Mapping[str, str]:
    """Return candidate name -> suspect name, with ``{layer}`` and ``{expert}`` for the numbers."""
    found: dict[str, str] = {}
    for mine, theirs in pairs:
        alike = mine.role == theirs.role and (mine.expert is None) == (theirs.expert is None)
        if alike and _stored_alone(mine) and _stored_alone(theirs):
            old, new = _template(theirs), _template(mine)
            if old != new:
                found[old] = new
    return dict(sorted(found.items()))


def _stored_alone(part: Part) -> bool:
    """Return whether the tensor holds this part alone: names of fused tensors belong to the fusing."""
    return part.view.rows is None and part.view.expert is None


def _template(part: Part) -> str:
    name = part.tensor
    for number, word in ((part.layer, "{layer}"), (part.expert, "{expert}")):
        if number is not None:
            name = re.sub(rf"(?<![0-9]){number}(?![0-9])", word, name, count=1)
    return name
