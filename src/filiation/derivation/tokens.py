"""The vocabulary: rows added, removed, moved or drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from filiation.derivation.matched import gather_rows
from filiation.derivation.measure import Measured
from filiation.derivation.reading import Case, unit_rows
from filiation.derivation.structure import FOREIGN
from filiation.evidence import Derivation

#: Cosine at which an embedding row is taken for another's copy when no tokenizer says which is which.
SAME_ROW = 0.8
_PROBE, _CHUNK = 64, 1 << 14


def vocabulary_step(case: Case, outer: Sequence[Measured]) -> Derivation | None:
    """Return the step ``vocabulary_changed``, None where the rows are the same tokens in the same places."""
    mine = case.suspect.anatomy.part("embedding", component=case.component)
    theirs = case.candidate.anatomy.part("embedding", component=case.component)
    if mine is None or theirs is None:
        return None
    embedding = next((m for m in outer if m.role == "embedding"), None)
    cosine = None if embedding is None else embedding.cosine
    rows_s, rows_c = mine.shape[0], theirs.shape[0]
    numbers: dict[str, Any] = {"from": rows_c, "to": rows_s}
    known = case.tokens is not None and case.tokens.by_string
    if cosine is not None and cosine < FOREIGN and not known and rows_s != rows_c:
        return _by_content(case, numbers)
    if cosine is not None and abs(cosine) < FOREIGN:
        return Derivation("vocabulary_changed", {"change": "replaced", **numbers, "cosine": cosine})
    change, counts = _counted(case, rows_s, rows_c)
    if change is None or embedding is None:
        return None
    return Derivation(
        "vocabulary_changed",
        {"change": change, **numbers, **counts, "rows_equal": embedding.equal, "cosine": cosine},
    )


def _counted(case: Case, rows_s: int, rows_c: int) -> tuple[str | None, dict[str, int]]:
    tokens = case.tokens
    if tokens is None or not tokens.by_string:
        shared = min(rows_s, rows_c)
        counts = {"tokens_shared": shared, "tokens_added": rows_s - shared, "tokens_removed": rows_c - shared}
        return ("extended" if rows_s > rows_c else "pruned" if rows_s < rows_c else None), counts
    inside = (tokens.suspect < rows_s) & (tokens.candidate < rows_c)
    shared = int(inside.sum())
    moved = int((tokens.suspect[inside] != tokens.candidate[inside]).sum())
    counts = {"tokens_shared": shared, "tokens_added": rows_s - shared, "tokens_removed": rows_c - shared}
    if moved:
        counts["tokens_moved"] = moved
    if rows_s == rows_c and not moved:
        # Rows that are no shared token stand in the same places: padding, or tokens that were renamed.
        return None, counts
    if counts["tokens_added"] and counts["tokens_removed"]:
        return "exchanged", counts
    return (
        "extended" if counts["tokens_added"] else "pruned" if counts["tokens_removed"] else "reordered"
    ), counts


def _by_content(case: Case, numbers: dict[str, Any]) -> Derivation:
    """Look a sample of the suspect's rows up among all of the candidate's: a vocabulary without a tokenizer."""
    found = _look_up(case)
    if found is None or float((found >= 0).mean()) < 0.5:
        return Derivation("vocabulary_changed", {"change": "replaced", **numbers})
    change = "extended" if numbers["to"] > numbers["from"] else "pruned"
    kept = found[found >= 0]
    ascending = bool((np.diff(kept) > 0).all())
    return Derivation(
        "vocabulary_changed",
        {
            "change": change,
            **numbers,
            "rows_sampled": len(found),
            "rows_found": len(kept),
            "in_order": ascending,
        },
    )


def _look_up(case: Case) -> np.ndarray | None:
    mine = case.suspect.anatomy.part("embedding", component=case.component)
    theirs = case.candidate.anatomy.part("embedding", component=case.component)
    if mine is None or theirs is None or not case.whole:
        return None
    chosen = np.sort(case.rng("vocabulary").permutation(mine.shape[0])[:_PROBE])
    rows = unit_rows(gather_rows(case.suspect.anatomy, mine, chosen))
    best, at = np.full(len(rows), -1.0), np.full(len(rows), -1)
    for start in range(0, theirs.shape[0], _CHUNK):
        block = case.candidate.anatomy.read(theirs, start, min(start + _CHUNK, theirs.shape[0]))
        cosines = rows @ unit_rows(case.residual.carry(block)).T
        top = cosines.argmax(axis=1)
        value = cosines[np.arange(len(rows)), top]
        better = value > best
        best[better], at[better] = value[better], top[better] + start
    return np.where(best >= SAME_ROW, at, -1)
