"""The vocabulary: rows added, removed, moved or drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from filiation.anatomy.model import Anatomy, Part
from filiation.derivation.matched import gather_rows
from filiation.derivation.measure import Measured
from filiation.derivation.reading import Case
from filiation.derivation.structure import FOREIGN
from filiation.evidence import Derivation
from filiation.origin.pairing import TokenRows
from filiation.origin.units import Floats, unit_rows

#: Cosine at which an embedding row is taken for another's copy when no tokenizer says which is which.
SAME_ROW = 0.8
_PROBE, _CHUNK = 256, 1 << 14


def vocabulary_step(case: Case, outer: Sequence[Measured], *, body_kept: bool = False) -> Derivation | None:
    """Return the step ``vocabulary_changed``, None where the rows are the same tokens in the same places.

    Args:
        body_kept: every layer that was looked at comes from the candidate: what does not is this table alone.
    """
    mine = case.suspect.anatomy.part("embedding", component=case.component)
    theirs = case.candidate.anatomy.part("embedding", component=case.component)
    if mine is None or theirs is None:
        return None
    embedding = next((m for m in outer if m.role == "embedding"), None)
    numbers: dict[str, Any] = {"from": theirs.shape[0], "to": mine.shape[0]}
    if embedding is None or embedding.cosine is None or abs(embedding.cosine) < FOREIGN:
        if embedding is None and case.frugal:
            return _by_names(case, numbers)
        compared = embedding is not None or mine.shape[0] != theirs.shape[0]
        numbers |= {"body_kept": True} if body_kept else {}
        return Derivation("vocabulary_changed", {"change": "replaced", **numbers}) if compared else None
    change, counts = _counted(case, mine.shape[0], theirs.shape[0])
    if change is None:
        return None
    agreement = {"rows_equal": embedding.equal, "cosine": embedding.cosine}
    return Derivation("vocabulary_changed", {"change": change, **numbers, **counts, **agreement})


def _by_names(case: Case, numbers: Mapping[str, Any]) -> Derivation | None:
    """Return what tokenizers and sizes say where no row was read: nothing of what the rows hold."""
    tokens = case.tokens
    change, counts = (
        _counted(case, numbers["to"], numbers["from"])
        if tokens is not None and tokens.by_string
        else (None, {})
    )
    if change is None and numbers["from"] != numbers["to"]:
        change, counts = "resized", {}
    return (
        None if change is None else Derivation("vocabulary_changed", {"change": change, **numbers, **counts})
    )


def _counted(case: Case, rows_s: int, rows_c: int) -> tuple[str | None, dict[str, int]]:
    tokens = case.tokens
    if tokens is None:
        return None, {}
    if case.looked_up:
        counts = {"rows_looked_up": case.looked_up, "rows_found": len(tokens.suspect)}
        return ("extended" if rows_s > rows_c else "pruned"), counts
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


def with_tokens(case: Case) -> Case:
    """Return the case with token rows matched by content, where no tokenizer says which row is which token.

    Equal numbers stand for equal tokens as long as both tables have one size. Otherwise rows that are equal are
    looked up (or, if few are, a sample of rows is looked up by cosine); where nothing is found no row is compared.
    """
    mine = case.suspect.anatomy.part("embedding", component=case.component)
    theirs = case.candidate.anatomy.part("embedding", component=case.component)
    guessed = case.tokens is None or not case.tokens.by_string
    if mine is None or theirs is None or not guessed or mine.shape[0] == theirs.shape[0]:
        return case
    if not case.whole:
        return case.with_tokens(None)
    found = _equal_rows(case, mine, theirs) if case.residual.trivial else None
    if found is not None:
        return case.with_tokens(found)
    return case.with_tokens(_nearest_rows(case, mine, theirs), min(_PROBE, mine.shape[0]))


def _equal_rows(case: Case, mine: Part, theirs: Part) -> TokenRows | None:
    """Return rows that are equal, if they are at least half of the smaller table."""
    places: dict[bytes, int] = {}
    for start, block in _row_blocks(case.candidate.anatomy, theirs):
        for n, row in enumerate(block):
            places.setdefault(row.tobytes(), start + n)
    pairs: list[tuple[int, int]] = []
    for start, block in _row_blocks(case.suspect.anatomy, mine):
        pairs += [(start + n, places[key]) for n, row in enumerate(block) if (key := row.tobytes()) in places]
    if 2 * len(pairs) < min(mine.shape[0], theirs.shape[0]):
        return None
    return _rows_of(pairs)


def _row_blocks(anatomy: Anatomy, part: Part) -> Iterator[tuple[int, Floats]]:
    for start in range(0, part.shape[0], _CHUNK):
        yield start, anatomy.read(part, start, min(start + _CHUNK, part.shape[0]))


def _rows_of(pairs: Sequence[tuple[int, int]]) -> TokenRows:
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return TokenRows(array[:, 0], array[:, 1], by_string=False)


def _nearest_rows(case: Case, mine: Part, theirs: Part) -> TokenRows | None:
    """Return a sample of the suspect's rows with the candidate's rows most like them, if half of them find one."""
    chosen = np.sort(case.rng("vocabulary").permutation(mine.shape[0])[:_PROBE])
    rows = unit_rows(gather_rows(case.suspect.anatomy, mine, chosen))
    best, at = np.full(len(rows), -1.0), np.full(len(rows), -1)
    for start, block in _row_blocks(case.candidate.anatomy, theirs):
        cosines = rows @ unit_rows(case.residual.carry(block)).T
        top = cosines.argmax(axis=1)
        value = cosines[np.arange(len(rows)), top]
        better = value > best
        best[better], at[better] = value[better], top[better] + start
    kept = best >= SAME_ROW
    if 2 * int(kept.sum()) < len(chosen):
        return None
    return _rows_of(list(zip(chosen[kept].tolist(), at[kept].tolist(), strict=True)))
