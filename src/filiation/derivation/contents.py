"""Tensors matched by content: the same weights under names that no rule explains."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from filiation.anatomy.model import Anatomy
from filiation.checkpoint.model import Checkpoint
from filiation.evidence import Derivation

_SLICE = 1 << 20


def same_contents(suspect: Checkpoint, candidate: Checkpoint) -> Mapping[str, str] | None:
    """Return candidate name -> suspect name if both hold the same tensors, None otherwise.

    Shapes are compared first; values are read only if those agree as a whole, smallest tensors first. Tensors of equal
    content are paired in stored order.
    """
    if _shapes(suspect) != _shapes(candidate):
        return None
    names: dict[str, str] = {}
    mine, theirs = _by_shape(suspect), _by_shape(candidate)
    for shape in sorted(mine, key=lambda s: (int(np.prod(s)), s)):
        wanted = _digests(suspect, mine[shape])
        for digest, found in _digests(candidate, theirs[shape]).items():
            if len(wanted.get(digest, [])) != len(found):
                return None
            names |= dict(zip(found, wanted[digest], strict=True))
    return names


def _shapes(checkpoint: Checkpoint) -> Counter[tuple[int, ...]]:
    return Counter(t.shape for t in checkpoint.tensors.values())


def _by_shape(checkpoint: Checkpoint) -> dict[tuple[int, ...], list[str]]:
    found: dict[tuple[int, ...], list[str]] = {}
    for name, info in checkpoint.tensors.items():
        found.setdefault(info.shape, []).append(name)
    return found


def _digests(checkpoint: Checkpoint, names: list[str]) -> dict[str, list[str]]:
    """Return the names by SHA-256 of their decoded values."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_digest(checkpoint, name), []).append(name)
    return found


def _digest(checkpoint: Checkpoint, name: str) -> str:
    shape = checkpoint.tensors[name].shape
    digest = hashlib.sha256(str(shape).encode())
    if not shape:
        digest.update((checkpoint.read(name) + 0.0).tobytes())
        return digest.hexdigest()
    rows = max(1, _SLICE // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        values = checkpoint.read(name, slice(start, min(start + rows, shape[0])))
        digest.update(np.ascontiguousarray(values + np.float32(0.0)).tobytes())  # minus zero is zero
    return digest.hexdigest()


def renamed_by_content(names: Mapping[str, str], candidate: Anatomy) -> list[Derivation]:
    """Return the step ``renamed`` for tensors that were matched by content, numbers of layers left open."""
    layers = {p.tensor: p.layer for p in candidate.parts}
    found: dict[str, str] = {}
    changed = 0
    for theirs, mine in names.items():
        if theirs == mine:
            continue
        changed += 1
        layer = layers.get(theirs)
        pattern = None if layer is None else rf"(?<![0-9]){layer}(?![0-9])"
        if pattern is not None and re.search(pattern, theirs) and re.search(pattern, mine):
            theirs, mine = (re.sub(pattern, "{layer}", name, count=1) for name in (theirs, mine))
        found[theirs] = mine
    if not changed:
        return []
    return [
        Derivation("renamed", {"tensors": changed, "renames": dict(sorted(found.items())), "by": "content"})
    ]
