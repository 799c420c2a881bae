"""Fitting the map of residual channels anew on the blocks, once units are matched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from filiation.derivation.frame import LayerFrame, frame_layer
from filiation.derivation.matched import gather_rows
from filiation.derivation.reading import Case, reader, writer
from filiation.derivation.residual import CLEAR, IN_PLACE, Residual, refined
from filiation.origin.scale import energy, wide
from filiation.origin.units import Doubles, Floats

#: Residual channels up to which the cross products are kept and assigned.
WIDEST = 8192
_TOKENS = 4096


def refine(case: Case, frames: Sequence[LayerFrame]) -> tuple[Case, list[LayerFrame]]:
    """Return the case with a better map of residual channels, and the frames in it.

    A basis that was estimated from token rows is off by what those rows differ; the blocks have many more rows.
    Nothing is refined in a sampled reading.
    """
    width = case.suspect.geometry.d_model
    if not case.whole or width > WIDEST:
        return case, list(frames)
    if case.residual.trivial and not (case.plan.whole and _some_channel_is_flipped(case, frames)):
        return case, list(frames)
    found = _fitted(case, frames, None)
    if found is None:
        return case, list(frames)
    if found.matrix is not None:
        # Once more, with rows that fit well counting more: parts that were changed no longer pull at the rotation.
        found = _fitted(case, frames, found) or found
    if found.trivial and case.residual.trivial:
        return case, list(frames)
    better = case.with_residual(found)
    return better, [frame_layer(better, f.pair) for f in frames]


def _fitted(case: Case, frames: Sequence[LayerFrame], rough: Residual | None) -> Residual | None:
    """Return the map that matched rows ask for; rows are weighted by how well they fit ``rough``."""
    width, d_c = case.suspect.geometry.d_model, case.candidate.geometry.d_model
    cross: Doubles = np.zeros((width, d_c))
    mine: Doubles = np.zeros(width)
    theirs: Doubles = np.zeros(d_c)
    for s, c in _row_pairs(case.with_residual(IN_PLACE), frames, case):
        s, c = wide(s), wide(c)
        weight = 1.0 if rough is None else _weight(s, rough.carry(c))
        cross += weight * (s.T @ c).astype(np.float64)
        mine += weight * np.square(s).sum(axis=0)
        theirs += weight * np.square(c).sum(axis=0)
    return refined(case.residual, cross, mine, theirs, case.rng("refine")) if cross.any() else None


def _weight(s: Floats, carried: Floats) -> float:
    """Return one over the squared relative difference of two blocks of rows, and over their size."""
    own = float(energy(s))
    if own == 0:
        return 0.0
    return 1.0 / (float(energy(s - carried)) / own + 1e-12) / own


def _some_channel_is_flipped(case: Case, frames: Sequence[LayerFrame]) -> bool:
    """Return whether a channel of the identity basis is clearly negative in the first feed-forward block."""
    for frame in frames:
        for block in frame.ffn.frames:
            rows = (
                _rows(case, frame, f"{block.prefix}up", block.experts)
                if block.agreement is not None
                else None
            )
            if rows is not None:
                s, c = wide(rows[0]), wide(block.unit_map(f"{block.prefix}up").apply(rows[1]))
                product = np.einsum("ij,ij->j", s, c)
                scale = np.sqrt(np.square(s).sum(axis=0) * np.square(c).sum(axis=0))
                return bool((product < -CLEAR * scale).any())
    return False


def _row_pairs(own: Case, frames: Sequence[LayerFrame], case: Case) -> Iterator[tuple[Floats, Floats]]:
    """Yield matched rows, gains folded, each model's in its own channels."""
    if not case.residual.trivial:
        yield from _embedding_rows(case)
    for frame in frames:
        for block in frame.ffn.frames:
            if block.agreement is None:
                continue
            for role in ("gate", "up", "down"):
                rows = _rows(own, frame, f"{block.prefix}{role}", block.experts)
                if rows is not None:
                    yield rows[0], block.unit_map(role).apply(rows[1])
        attention = frame.attention
        if attention is not None and attention.agreement is not None and attention.conversion is None:
            for role in ("v", "o"):
                rows = _rows(own, frame, role, (None, None))
                if rows is not None:
                    yield rows[0], attention.unit_map(role).apply(rows[1])


def _rows(
    own: Case, frame: LayerFrame, role: str, experts: tuple[int | None, int | None]
) -> tuple[Floats, Floats] | None:
    read = writer if role.removeprefix("shared.") in ("down", "o") else reader
    s = read(own, own.suspect, role, frame.pair[0], experts[0])
    c = read(own, own.candidate, role, frame.pair[1], experts[1])
    return None if s is None or c is None else (s, c)


def _embedding_rows(case: Case) -> Iterator[tuple[Floats, Floats]]:
    mine = case.suspect.anatomy.part("embedding", component=case.component)
    theirs = case.candidate.anatomy.part("embedding", component=case.component)
    if mine is None or theirs is None or case.tokens is None:
        return
    keep = (case.tokens.suspect < mine.shape[0]) & (case.tokens.candidate < theirs.shape[0])
    s_ids, c_ids = case.tokens.suspect[keep][:_TOKENS], case.tokens.candidate[keep][:_TOKENS]
    if len(s_ids):
        yield (
            gather_rows(case.suspect.anatomy, mine, s_ids),
            gather_rows(case.candidate.anatomy, theirs, c_ids),
        )
