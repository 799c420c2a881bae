"""Which expert of the suspect is which of the candidate's, and which come from a dense block or turn into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.derivation.ffn import Experts, FfnFrame, Pair, match_ffn
from filiation.derivation.reading import Case, reader
from filiation.derivation.unitmap import STILL
from filiation.origin.matching import assign
from filiation.origin.pairing import experts_of
from filiation.origin.units import Doubles, Floats, unit_rows

#: Mean cosine of matched router rows above which routers decide which expert is which.
ROUTER_AGREES = 0.3
#: Experts looked at in a sampled reading.
SAMPLED_EXPERTS = 2
_PROBE = 32
#: Rows of a block by which experts are held against each other, and share of their energy below which two are equal.
_ROWS, SAME = 256, 1e-9


@dataclass(frozen=True, eq=False)
class ExpertFrames:
    """The feed-forward blocks of a layer pair, with the number of experts of each model (0: a dense block).

    ``between`` is set where a dense block was held against several experts of the candidate: how far it lies from its
    nearest expert towards the others. At 0 it is that expert (or what became of it); at 1/2 it is as far from each,
    as what all of them were made from is.
    """

    frames: tuple[FfnFrame, ...]
    suspect: int
    candidate: int
    between: float | None = None

    @property
    def order(self) -> dict[int, int]:
        """The candidate's expert for each of the suspect's, where both are mixtures."""
        return {
            f.experts[0]: f.experts[1]
            for f in self.frames
            if f.experts[0] is not None and f.experts[1] is not None
        }


def match_experts(case: Case, pair: Pair) -> ExpertFrames:
    """Match every feed-forward block of a layer pair."""
    mine, theirs = experts_of(case.suspect, pair[0]), experts_of(case.candidate, pair[1])
    counts = (0 if mine == [None] else len(mine), 0 if theirs == [None] else len(theirs))
    between = None
    if mine == [None] and theirs != [None]:
        frames, between = _best_for_dense(case, pair, [e for e in theirs if e is not None])
    elif mine != [None] and theirs != [None]:
        pairs = _pair_up(case, pair, len(mine), len(theirs))
        frames = [f for e in pairs if (f := match_ffn(case, pair, e)) is not None]
    else:
        chosen = mine if case.whole else mine[:SAMPLED_EXPERTS]
        frames = [f for e in chosen if (f := match_ffn(case, pair, (e, None))) is not None]
    shared = match_ffn(case, pair, prefix="shared.")
    return ExpertFrames((*frames, *([shared] if shared else [])), *counts, between)


def _best_for_dense(case: Case, pair: Pair, theirs: list[int]) -> tuple[list[FfnFrame], float | None]:
    """Return the frame of the candidate's expert that the suspect's dense block is nearest to, and ``between``."""
    chosen = theirs if case.whole else theirs[:8]
    frames = [f for e in chosen if (f := match_ffn(case, pair, (None, e))) is not None]
    ranked = sorted(frames, key=lambda f: -(f.agreement or -1.0))
    if len(ranked) < 2:
        return ranked, None
    return ranked[:1], _between(case, ranked)


def _between(case: Case, ranked: Sequence[FfnFrame]) -> float | None:
    """Return how far the dense block lies from the first expert towards the others, the median over them.

    With ``D`` the block, ``b`` the first expert and ``e`` another: the share of the way from ``b`` to ``e`` at which
    ``D`` lies, ``(|D-b|^2 + |e-b|^2 - |D-e|^2) / 2|e-b|^2``. What was trained on ``b`` after it was taken out
    points elsewhere and does not count. Experts that are equal count as 1/2.
    """
    rows = [r for f in ranked if f.agreement is not None and (r := _unit_rows(case, f)) is not None]
    if len(rows) < 2 or len({m.shape for pair in rows for m in pair}) > 1:
        return None
    dense, nearest = rows[0]
    size = float(np.square(nearest).sum(dtype=np.float64))
    found: list[float] = []
    for mine, other in rows[1:]:
        apart = _squares(other, nearest)
        if apart <= SAME * size:
            found.append(0.5)
        else:
            found.append((_squares(dense, nearest) + apart - _squares(mine, other)) / (2 * apart))
    return float(np.median(found))


def _unit_rows(case: Case, frame: FfnFrame) -> tuple[Floats, Floats] | None:
    """Return the up rows of the dense block and of the expert, the latter in the order of the former."""
    still = frame.unit_map("up") is STILL
    window = (0, min(_ROWS, frame.units)) if still else None
    s = reader(case, case.suspect, "up", frame.pair[0], None, window)
    c = reader(case, case.candidate, "up", frame.pair[1], frame.experts[1], window)
    if s is None or c is None:
        return None
    c = c if still else frame.unit_map("up").apply(c)
    return s[:_ROWS], c[:_ROWS]


def _squares(a: Floats, b: Floats) -> float:
    return float(np.square(a - b).sum(dtype=np.float64))


def _pair_up(case: Case, pair: Pair, mine: int, theirs: int) -> list[Experts]:
    """Return which expert meets which: by router rows where they agree, else by contents, else by number."""
    rng = case.rng(f"experts/{pair}")
    scores = _router_scores(case, pair)
    if scores is not None and scores.shape == (mine, theirs):
        found = assign(scores, rng) if mine <= theirs else scores.argmax(axis=1)
        if float(scores[np.arange(mine), found].mean()) >= ROUTER_AGREES:
            return _limited(case, [(e, int(c)) for e, c in enumerate(found)])
    if case.whole and mine <= theirs:
        contents = _content_scores(case, pair, mine, theirs)
        if contents is not None:
            found = assign(contents, rng)
            own = float(np.diag(contents).mean())
            if float(contents[np.arange(mine), found].mean()) > 1.2 * own + 0.05:
                return [(e, int(c)) for e, c in enumerate(found)]
    return _limited(case, [(e, min(e, theirs - 1)) for e in range(mine)])


def _limited(case: Case, pairs: list[Experts]) -> list[Experts]:
    return pairs if case.whole else pairs[:SAMPLED_EXPERTS]


def _router_scores(case: Case, pair: Pair) -> Doubles | None:
    s = reader(case, case.suspect, "router", pair[0])
    c = reader(case, case.candidate, "router", pair[1])
    if s is None or c is None or s.shape[1] != c.shape[1]:
        return None
    return (unit_rows(s) @ unit_rows(c).T).astype(np.float64)


def _content_scores(case: Case, pair: Pair, mine: int, theirs: int) -> Doubles | None:
    """Return how well a few units of each expert find a like one in each of the candidate's experts."""
    scores = np.zeros((mine, theirs))
    others = [reader(case, case.candidate, "up", pair[1], e) for e in range(theirs)]
    for e in range(mine):
        rows = reader(case, case.suspect, "up", pair[0], e, (0, _PROBE))
        if rows is None:
            return None
        for n, other in enumerate(others):
            if other is None or other.shape[1] != rows.shape[1]:
                return None
            cosines = np.abs(unit_rows(rows) @ unit_rows(other).T)
            scores[e, n] = float(cosines.max(axis=1).mean())
    return scores
