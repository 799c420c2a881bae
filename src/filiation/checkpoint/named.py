"""Models that were named twice: the same place, or the same weight files in two forms."""

from __future__ import annotations

import os
from collections.abc import Sequence

from filiation.checkpoint.model import Checkpoint
from filiation.errors import UsageError


def refuse_repeated(candidates: Sequence[str]) -> None:
    """Refuse one place named twice: its evidence would be paid for twice and say nothing more."""
    places = [os.path.realpath(c) if os.path.exists(c) else c for c in candidates]
    for n, place in enumerate(places):
        if place in places[:n]:
            raise _given_twice(candidates[n], candidates[places.index(place)])


def refuse_same_weights(candidates: Sequence[str], opened: Sequence[Checkpoint]) -> None:
    """Refuse one model in two forms, such as a folder and the weight file in it."""
    read = [_weight_paths(c, model) for c, model in zip(candidates, opened, strict=True)]
    for n, paths in enumerate(read):
        if paths and paths in read[:n]:
            raise _given_twice(candidates[n], candidates[read.index(paths)])


def _weight_paths(locator: str, opened: Checkpoint) -> frozenset[str]:
    """Return the files that hold a local model's tensors, links followed; none where they are not all known."""
    folder = locator if os.path.isdir(locator) else os.path.dirname(locator)
    paths = frozenset(os.path.realpath(os.path.join(folder, t.file)) for t in opened.tensors.values())
    return paths if all(os.path.isfile(path) for path in paths) else frozenset()


def _given_twice(candidate: str, before: str) -> UsageError:
    same = "" if candidate == before else f" It is what {before} names too."
    return UsageError(
        f"The candidate {candidate} is given twice.{same}",
        reason="Each further candidate weakens the evidence for all of them, and this one adds nothing.",
        next_step="Name each candidate once.",
    )
