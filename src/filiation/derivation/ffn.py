"""Matching the feed-forward units of a layer: order, sign and scale of every neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.derivation.reading import (
    SMALL,
    Case,
    may_be_searched,
    norms,
    reader,
    row_cosines,
    unit_rows,
    writer,
)
from filiation.derivation.scaling import paired_scaling
from filiation.derivation.unitmap import STILL, UnitMap, inverse_factor
from filiation.origin.gather import Rows, Window, seeded_windows
from filiation.origin.matching import assign
from filiation.origin.scale import held
from filiation.origin.units import Doubles, Floats, Integers

Pair = tuple[int, int]
Experts = tuple[int | None, int | None]

#: Mean cosine of units at equal positions above which they are in place (unrelated rows average 0).
IN_PLACE = 0.15
#: How much more alike the other matrices of matched units must be than those of shuffled ones.
VERIFIED = 0.1
#: Cosine at equal positions from which on no other unit is looked for.
PLAINLY = 0.7
_BLOCK = 1024
_ASSIGN_UP_TO = 2048


@dataclass(frozen=True, eq=False)
class FfnFrame:
    """How the units of one feed-forward block lie in the candidate's.

    Attributes:
        index: the candidate's unit for each of the suspect's; None: equal numbers (or not matched at all).
        sign, factor: of each unit's up row and, inverted, of its down column; None: all plus, no scaling.
        agreement: mean cosine of matched (signed) units; None where nothing matched.
        units: how many of the suspect's units were matched; moved: how many sit elsewhere.
        spread: of the scaling, in nats.
        prefix: ``shared.`` for shared experts.
        whole: all units were read and matched; where they were not, and ``agreement`` is None, it is not known
            whether the block comes from the candidate.
    """

    pair: Pair
    experts: Experts
    index: Integers | None
    sign: Floats | None
    factor: Floats | Doubles | None
    agreement: float | None
    units: int
    candidate_units: int
    moved: int
    flipped: int
    spread: float | None
    whole: bool
    prefix: str = ""

    def unit_map(self, role: str) -> UnitMap:
        """Return the map along the unit axis of ``gate``, ``up`` or ``down`` (or a bias of the first two)."""
        base = role.removesuffix(".bias").removeprefix(self.prefix)
        if base == "gate" or (base == "up" and self.sign is None and self.factor is None):
            return STILL if self.index is None else UnitMap(self.index)
        factor = inverse_factor(self.factor) if base == "down" else self.factor
        if self.sign is not None:
            factor = self.sign if factor is None else held(factor * self.sign)
        return STILL if self.index is None and factor is None else UnitMap(self.index, factor)


def match_ffn(case: Case, pair: Pair, experts: Experts = (None, None), prefix: str = "") -> FfnFrame | None:
    """Match the units of one feed-forward block; None where one of the models has none there.

    Where the block is large, a window is looked at first; the whole of it is read only if something moved.
    """
    mine = case.suspect.anatomy.part(f"{prefix}up", pair[0], experts[0], case.component)
    theirs = case.candidate.anatomy.part(f"{prefix}up", pair[1], experts[1], case.component)
    if mine is None or theirs is None:
        return None
    n_s, n_c = mine.shape[0], theirs.shape[0]
    small = case.plan.whole and max(np.prod(mine.shape), np.prod(theirs.shape)) <= SMALL
    if n_s == n_c and not small:
        window = (
            case.pairing.rows_of(pair[0]) or seeded_windows(n_s, 64, 1, case.rng(f"ffn/{pair}/{experts}"))[0]
        )
        looked = _look(case, pair, experts, prefix, window, n_s)
        if looked is not None:
            return looked
    s, c = (
        _Block.read(case, pair[0], experts[0], prefix, True),
        _Block.read(case, pair[1], experts[1], prefix, False),
    )
    if s is None or c is None or n_s > n_c:  # a wider suspect holds units that the candidate has none for
        return None if s is None or c is None else _untouched(pair, experts, prefix, n_c)
    return _match(case, s, c, pair, experts, prefix)


@dataclass(frozen=True, eq=False)
class _Block:
    """The rows of one block's units: ``content`` decides the matching, ``others`` verify it."""

    gate: Floats | None
    up: Floats
    down: Floats | None

    @staticmethod
    def read(
        case: Case,
        layer: int,
        expert: int | None,
        prefix: str,
        mine: bool,
        window: Window | Rows | None = None,
    ) -> _Block | None:
        """Read a block; a window leaves the down columns out, which no range of rows holds."""
        side = case.suspect if mine else case.candidate
        up = reader(case, side, f"{prefix}up", layer, expert, window)
        if up is None:
            return None
        gate = reader(case, side, f"{prefix}gate", layer, expert, window)
        down = None if window is not None else writer(case, side, f"{prefix}down", layer, expert)
        return _Block(gate, up, down)

    @property
    def content(self) -> Floats:
        """What units are matched by: it does not change with their sign or scale."""
        return self.up if self.gate is None else self.gate

    @property
    def signed(self) -> list[Floats]:
        """What flips with a unit's sign."""
        return [m for m in (self.up, self.down) if m is not None] if self.gate is not None else []

    @property
    def others(self) -> list[Floats]:
        """What the matching did not read."""
        found = [self.down] if self.gate is None else [self.up, self.down]
        return [m for m in found if m is not None]


def _look(
    case: Case, pair: Pair, experts: Experts, prefix: str, window: Window | Rows, n: int
) -> FfnFrame | None:
    """Return the trivial frame if the units of a window are where and as they were."""
    s = _Block.read(case, pair[0], experts[0], prefix, True, window)
    c = _Block.read(case, pair[1], experts[1], prefix, False, window)
    if s is None or c is None or s.content.shape != c.content.shape:
        return None
    cosines = row_cosines(s.content, c.content)
    level = float(np.median(cosines))
    if level < IN_PLACE or float((cosines > 0.5 * level).mean()) < 0.9:
        if case.whole or case.pairing.match_anywhere or may_be_searched(case, n * s.content.shape[1]):
            return None
        return _untouched(pair, experts, prefix, n)
    ups = row_cosines(s.up, c.up)
    ratio = np.log(np.maximum(norms(s.up), 1e-30)) - np.log(np.maximum(norms(c.up), 1e-30))
    if s.gate is not None and ((ups < -0.5 * level).any() or ratio.std() > 0.25):
        return None
    return FfnFrame(pair, experts, None, None, None, level, len(cosines), n, 0, 0, None, False, prefix)


def _untouched(pair: Pair, experts: Experts, prefix: str, n: int) -> FfnFrame:
    return FfnFrame(pair, experts, None, None, None, None, 0, n, 0, 0, None, False, prefix)


def _match(case: Case, s: _Block, c: _Block, pair: Pair, experts: Experts, prefix: str) -> FfnFrame:
    rng = case.rng(f"units/{prefix}{pair}/{experts}")
    n_s, n_c = len(s.content), len(c.content)
    index = _stay_unless_clear(s, c, match_units(s.content, c.content, rng))
    if not _verified(s, c, index, rng):
        return FfnFrame(pair, experts, None, None, None, None, n_s, n_c, 0, 0, None, True, prefix)
    moved = int((index != np.arange(n_s)).sum())
    picked = _Block(
        None if c.gate is None else c.gate[index], c.up[index], None if c.down is None else c.down[index]
    )
    sign = _signs(s, picked)
    flipped = 0 if sign is None else int((sign < 0).sum())
    scaling = None
    if s.gate is not None and s.down is not None and picked.down is not None:
        flip = np.ones(n_s, np.float32) if sign is None else sign
        scaling = paired_scaling(s.up, picked.up * flip[:, None], s.down, picked.down * flip[:, None])
    return FfnFrame(
        pair,
        experts,
        index if moved or n_s != n_c else None,
        sign if flipped else None,
        None if scaling is None else scaling.factor,
        _agreement(s, picked, sign),
        n_s,
        n_c,
        moved,
        flipped,
        None if scaling is None else scaling.spread,
        True,
        prefix,
    )


def match_units(suspect: Floats, candidate: Floats, rng: np.random.Generator) -> Integers:
    """Return the candidate's row for each of the suspect's, by cosine.

    Units stay in place unless another is clearly more alike; where two want the same one, the best assignment
    over all of them decides (up to 2,048 units).
    """
    s, c = unit_rows(suspect), unit_rows(candidate)
    if len(s) == len(c) and float(np.einsum("ij,ij->i", s, c).min()) > PLAINLY:
        return np.arange(len(s))
    best = np.empty(len(s), np.int64)
    score = np.empty(len(s))
    for start in range(0, len(s), _BLOCK):
        cosines = s[start : start + _BLOCK] @ c.T
        best[start : start + _BLOCK] = cosines.argmax(axis=1)
        score[start : start + _BLOCK] = cosines.max(axis=1)
    if len(s) == len(c):
        own = np.einsum("ij,ij->i", s, c, dtype=np.float64)
        if float((best == np.arange(len(s))).mean()) >= 0.5:
            stays = own > 0.5 * score
            return np.where(stays, np.arange(len(s)), best)
    if len(np.unique(best)) < len(best) <= len(c) <= _ASSIGN_UP_TO:
        return assign((s @ c.T).astype(np.float64), rng)
    return best


def _stay_unless_clear(s: _Block, c: _Block, index: Integers) -> Integers:
    """Return the index with the units put back whose other matrices do not agree better where they went."""
    if len(s.content) != len(c.content):
        return index
    moved = np.flatnonzero(index != np.arange(len(index)))
    others = list(zip(s.others, c.others, strict=False))
    if not len(moved) or not others:
        return index
    here = np.mean([np.abs(row_cosines(a[moved], b[moved])) for a, b in others], axis=0)
    there = np.mean([np.abs(row_cosines(a[moved], b[index[moved]])) for a, b in others], axis=0)
    if float((there - here).mean()) > VERIFIED:
        return index
    return np.arange(len(index))


def _verified(s: _Block, c: _Block, index: Integers, rng: np.random.Generator) -> bool:
    """Return whether what the matching did not read agrees at the matches, more than at shuffled ones."""
    others = list(zip(s.others, c.others, strict=False))
    if not others:
        return float(np.median(row_cosines(s.content, c.content[index]))) > 2 * IN_PLACE
    shuffled = index[rng.permutation(len(index))]
    gain = [
        float(np.abs(row_cosines(a, b[index])).mean() - np.abs(row_cosines(a, b[shuffled])).mean())
        for a, b in others
    ]
    return max(gain) > VERIFIED


def _signs(s: _Block, picked: _Block) -> Floats | None:
    """Return the sign of each unit, by the summed cosines of its up row and down column."""
    if not s.signed:
        return None
    total: Doubles = np.zeros(len(s.up))
    for a, b in zip(s.signed, picked.signed, strict=False):
        total = total + row_cosines(a, b)
    return np.where(total < 0, -1.0, 1.0).astype(np.float32)


def _agreement(s: _Block, picked: _Block, sign: Floats | None) -> float:
    """Return the mean cosine of matched units over all their matrices."""
    values = [row_cosines(s.content, picked.content)]
    flip: Doubles = np.ones(len(s.up)) if sign is None else sign.astype(np.float64)
    pairs: Sequence[tuple[Floats, Floats]] = list(zip(s.others, picked.others, strict=False))
    values += [row_cosines(a, b) * flip for a, b in pairs]
    return float(np.mean([v.mean() for v in values]))
