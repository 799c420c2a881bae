"""The frame of a comparison: how every paired layer of the suspect lies in the candidate's, and the matched parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from filiation.anatomy.model import Part
from filiation.derivation.attention import AttentionFrame, match_attention
from filiation.derivation.experts import ExpertFrames, match_experts
from filiation.derivation.ffn import Pair
from filiation.derivation.matched import Fold, Matched, Unseen
from filiation.derivation.reading import Case, gain_before, norm_before
from filiation.derivation.unitmap import STILL, UnitMap
from filiation.origin.gather import Side, seeded_windows
from filiation.origin.scale import energy, wide

#: Folding gains must take away this share of a reader's difference before it is preferred to the plain reading.
FOLD_EXPLAINS = 0.5
#: Spread of a gain over its size, below which all of it is one number.
FLAT = 1e-3
#: Rows by which a sampled reading tells it.
FOLD_ROWS = 16
_FFN = ("gate", "up", "down")
_WRITE = ("o", "down", "shared.down", "embedding", "position", "token_type")


@dataclass(frozen=True, eq=False)
class LayerFrame:
    """One layer pair: its attention, its feed-forward blocks, and which norms' gains must be folded."""

    pair: Pair
    attention: AttentionFrame | None
    ffn: ExpertFrames
    folded: Mapping[str, bool] = field(default_factory=dict[str, bool])

    def units_of(self, part: Part) -> UnitMap:
        """Return the unit map of a part of this layer."""
        base = part.role.removesuffix(".bias")
        if base in ("q", "k", "v", "o") and self.attention is not None:
            return self.attention.unit_map(part.role)
        if base in _FFN or base.removeprefix("shared.") in _FFN:
            if part.role.endswith("down.bias"):
                return STILL
            prefix = "shared." if base.startswith("shared.") else ""
            expert = None if prefix else part.expert
            frame = next((f for f in self.ffn.frames if f.prefix == prefix and f.experts[0] == expert), None)
            return STILL if frame is None else frame.unit_map(part.role)
        if base == "router":
            return self._router_map()
        return STILL

    def left_out(self, part: Part) -> bool:
        """Return whether the part belongs to a feed-forward block that was not matched (an expert left out)."""
        base = part.role.removesuffix(".bias")
        if base not in _FFN:
            return False
        return all(f.prefix or f.experts[0] != part.expert for f in self.ffn.frames)

    def _router_map(self) -> UnitMap:
        order = self.ffn.order
        index = np.array([order[e] for e in sorted(order)], np.int64)
        if len(index) != self.ffn.suspect or np.array_equal(index, np.arange(self.ffn.candidate)):
            return STILL
        return UnitMap(index)


def frame_layer(case: Case, pair: Pair) -> LayerFrame:
    """Find how one layer of the suspect lies in its layer of the candidate."""
    plain = LayerFrame(pair, match_attention(case, pair), match_experts(case, pair))
    folded: dict[str, bool] = {}
    for role in ("gate", "up") if case.frugal else ("v", "gate", "up"):
        norm = norm_before(case.suspect, role)
        if norm is not None and norm not in folded:
            choice = _must_fold(case, plain, role)
            if choice is not None:
                folded[norm] = choice
    return replace(plain, folded=folded)


def _must_fold(case: Case, frame: LayerFrame, role: str) -> bool | None:
    """Return whether a reader agrees (much) better with gains folded; None where it cannot be told."""
    part = next(
        (
            p
            for p in case.suspect.anatomy.parts
            if (p.component, p.layer, p.role) == (case.component, frame.pair[0], role)
        ),
        None,
    )
    match = None if part is None else _match_part(case, frame, part, fold=True)
    if match is None or match.fold is None or not match.comparable():
        return None
    if case.residual.matrix is not None:
        return True
    if np.array_equal(match.fold.suspect, case.residual.carry(match.fold.candidate)):
        return False
    window = case.window(frame.pair[0]) if case.frugal else _some_rows(case, part, match.mine.shape[0])
    folded, plain = _distance(match, window), _distance(match.unfolded(), window)
    # Gains of one were folded or were reset: whichever explains the reader better. Others may just have been trained.
    own = wide(match.fold.suspect)
    flat = float(own.std()) <= FLAT * float(np.abs(own).mean())
    return folded < (1.0 if flat else FOLD_EXPLAINS) * plain


def _some_rows(case: Case, part: Part | None, count: int) -> tuple[int, int] | None:
    """Return the rows of a sampled reading that tell whether gains are folded: few, at a seeded place."""
    if case.whole or part is None:
        return None
    return seeded_windows(count, FOLD_ROWS, 1, case.rng(f"fold/{part.tensor}"))[0]


def _distance(match: Matched, window: tuple[int, int] | None = None) -> float:
    s, p = match.window(*(window or (0, min(64, match.mine.shape[0]))))
    if match.hides(s, p):
        s, p = match.seen(s, p)
    own = float(energy(s))
    return float(energy(s - p)) / own if own else 0.0


def fold_of(case: Case, role: str, pair: tuple[int | None, int | None]) -> Fold | None:
    """Return the gains that a reader of both models reads through; a missing gain is one."""
    norm = norm_before(case.suspect, role) or norm_before(case.candidate, role)
    if norm is None:
        return None
    mine, theirs = _gain(case.suspect, norm, pair[0]), _gain(case.candidate, norm, pair[1])
    if mine is None and theirs is None:
        return None
    one = np.ones(1, np.float32)
    return Fold(one if mine is None else mine, one if theirs is None else theirs)


def _gain(side: Side, norm: str, layer: int | None) -> np.ndarray | None:
    return side.gain(norm, None if norm == "final_norm" else layer)


def _match_part(case: Case, frame: LayerFrame, part: Part, *, fold: bool | None = None) -> Matched | None:
    expert = part.expert
    if expert is not None or frame.ffn.candidate:
        expert = next(
            (f.experts[1] for f in frame.ffn.frames if f.experts[0] == part.expert and not f.prefix), None
        )
        if part.role.removesuffix(".bias") not in _FFN:
            expert = part.expert
    theirs = case.candidate.anatomy.part(part.role, frame.pair[1], expert, case.component)
    if theirs is None or len(theirs.shape) != len(part.shape):
        return None
    norm = norm_before(case.suspect, part.role)
    wanted = frame.folded.get(norm, False) if norm is not None and fold is None else bool(fold)
    return Matched(
        case.suspect.anatomy,
        case.candidate.anatomy,
        part,
        theirs,
        case.residual,
        frame.units_of(part),
        fold_of(case, part.role, frame.pair) if wanted else None,
        unseen=_unseen(case, part, frame.pair),
    )


def _unseen(case: Case, part: Part, pair: Pair | None) -> Unseen | None:
    """Return through which gains nobody sees a part of these rows; None where both models' norms show all of them."""
    sides = case.suspect, case.candidate
    if len(part.shape) != 2 or case.residual.matrix is not None or not all(s.levelled for s in sides):
        return None
    if part.role in _WRITE:
        return Unseen()
    if pair is None or part.role.removeprefix("shared.") not in ("q", "k", "v", "gate", "up", "router"):
        return None
    mine, theirs = (
        side.gain_behind(part.role, layer)
        if side.geometry.norm_position == "post"
        else gain_before(side, part.role, layer)
        for side, layer in zip(sides, pair, strict=True)
    )
    return Unseen(mine, None if theirs is None else case.residual.carry(theirs))


def layer_matches(case: Case, frame: LayerFrame) -> Iterator[Matched]:
    """Yield every part of the suspect's layer that the candidate's layer has too, comparable ones only."""
    for part in case.suspect.anatomy.parts:
        if part.component != case.component or part.layer != frame.pair[0] or part.role == "buffer":
            continue
        if _norm_is_folded(frame, part) or (not case.whole and frame.left_out(part)):
            continue
        match = _match_part(case, frame, part)
        if match is not None and match.comparable():
            yield match


def _norm_is_folded(frame: LayerFrame, part: Part) -> bool:
    """Return whether the part is a gain that was folded: then it is compared inside its readers."""
    return frame.folded.get(part.role, False)


def outer_matches(case: Case) -> Iterator[Matched]:
    """Yield the parts outside the layers (embeddings, head, final norm ...) that both models have."""
    head_folded = False
    for part in _outer_parts(case):
        if part.role in ("embedding", "head", "narrow_embedding"):
            match = _vocabulary_match(case, part)
            if match is not None and part.role == "head":
                head_folded = match.fold is not None
        elif part.role == "final_norm" and (head_folded or case.residual.matrix is not None):
            match = None
        else:
            match = _plain_match(case, part)
        if match is not None and match.comparable():
            yield match


def _outer_parts(case: Case) -> list[Part]:
    parts = [p for p in case.suspect.anatomy.parts if p.component == case.component and p.layer is None]
    wanted = [p for p in parts if p.role not in ("tied_head", "buffer")]
    return sorted(wanted, key=lambda p: (p.role != "embedding", p.role != "head", p.role))


def _plain_match(case: Case, part: Part) -> Matched | None:
    theirs = case.candidate.anatomy.part(part.role, None, part.expert, case.component)
    if theirs is None or len(theirs.shape) != len(part.shape):
        return None
    unseen = _unseen(case, part, None)
    return Matched(case.suspect.anatomy, case.candidate.anatomy, part, theirs, case.residual, unseen=unseen)


def _vocabulary_match(case: Case, part: Part) -> Matched | None:
    """Match embedding or head by shared token rows; a tied candidate's head is its embedding."""
    theirs = case.candidate.anatomy.part(part.role, component=case.component)
    if theirs is None and part.role == "head":
        theirs = case.candidate.anatomy.part("embedding", component=case.component)
    if theirs is None:
        return None
    plain = Matched(case.suspect.anatomy, case.candidate.anatomy, part, theirs, case.residual)
    plain = replace(plain, rows=_token_rows(case, part, theirs), unseen=_unseen(case, part, None))
    if plain.rows is None and part.shape != theirs.shape:
        return None
    if part.role != "head":
        return plain
    folded = replace(plain, fold=fold_of(case, "head", (None, None)))
    if folded.fold is None or not folded.comparable():
        return plain
    count = part.shape[0] if plain.rows is None else len(plain.rows[0])
    some = _some_rows(case, part, count)
    if case.residual.matrix is not None or _distance(folded, some) < FOLD_EXPLAINS * _distance(plain, some):
        return folded
    return plain


def _token_rows(case: Case, mine: Part, theirs: Part) -> tuple[np.ndarray, np.ndarray] | None:
    tokens = case.tokens
    if tokens is None:
        return None
    keep = (tokens.suspect < mine.shape[0]) & (tokens.candidate < theirs.shape[0])
    if not keep.any():
        return None
    rows = tokens.suspect[keep], tokens.candidate[keep]
    every = np.arange(mine.shape[0])
    if mine.shape[0] == theirs.shape[0] and all(np.array_equal(r, every) for r in rows):
        return None  # all rows, in order: ranges can be read
    return rows
