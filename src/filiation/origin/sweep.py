"""The order label of one set of units against many sets at once: layer maps and self-tests.

The same numbers as :class:`~filiation.origin.order.FixedPoints` and :class:`~filiation.origin.diagonal.Diagonal` set
by set, from one large matrix product in place of hundreds of small ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.origin import evalues
from filiation.origin.diagonal import Diagonal
from filiation.origin.order import FixedPoints
from filiation.origin.testing import Outcome
from filiation.origin.units import Integers, Units

#: Elements of the candidates' contents that are compared at once: bounds memory at 16 MB.
POOL = 1 << 22


@dataclass(frozen=True, slots=True)
class InOrder:
    """What the order label of two sets of units shows.

    Attributes:
        log_e: mean of the fixed-point and the diagonal test (natural log); 0 where neither ran.
        in_place: units whose nearest match carries their index, of ``n``.
        alike: mean cosine of units at equal rows beyond that of all pairs; None where sizes differ.
    """

    log_e: float = 0.0
    in_place: int = 0
    n: int = 0
    alike: float | None = None


def in_order(suspect: Units, candidates: Sequence[Units], rng: np.random.Generator) -> list[InOrder]:
    """Compare one set of units with each of the candidates.

    Sets of several blocks, or with few live units, are left to the tests themselves. Contents of other widths
    are no evidence.
    """
    s = suspect.alive()
    found = [InOrder() for _ in candidates]
    together: list[int] = []
    for number, candidate in enumerate(candidates):
        if suspect.content.shape[1] != candidate.content.shape[1]:
            continue
        if _in_one_block(s, candidate.alive()):
            together.append(number)
        else:
            found[number] = _by_tests(suspect, candidate, rng)
    for numbers in _chunks(together, candidates):
        for number, cell in zip(
            numbers, _at_once(s, [candidates[k].alive() for k in numbers], rng), strict=True
        ):
            found[number] = cell
    return found


def _in_one_block(s: Units, c: Units) -> bool:
    return len(s) > 1 and len(c) > 1 and len({*s.block.tolist(), *c.block.tolist()}) == 1


def _by_tests(suspect: Units, candidate: Units, rng: np.random.Generator) -> InOrder:
    outcomes = [t.measure(suspect, candidate, rng) for t in (FixedPoints(), Diagonal())]
    ran = [o for o in outcomes if isinstance(o, Outcome)]
    if not ran:
        return InOrder()
    log_e = evalues.log_mean([o.log_e for o in ran])
    scores = suspect.normed @ candidate.normed.T
    return InOrder(log_e, int(ran[0].statistic), ran[0].n, _alike(scores, suspect.sign_free))


def _chunks(numbers: Sequence[int], candidates: Sequence[Units]) -> Iterator[list[int]]:
    """Yield runs of candidates whose contents together stay within :data:`POOL`."""
    chunk: list[int] = []
    size = 0
    for number in numbers:
        own = candidates[number].content.size
        if chunk and size + own > POOL:
            yield chunk
            chunk, size = [], 0
        chunk.append(number)
        size += own
    if chunk:
        yield chunk


def _at_once(s: Units, candidates: Sequence[Units], rng: np.random.Generator) -> list[InOrder]:
    """Compare live units of one block with those of many; rows of both are shuffled, so that ties carry no index."""
    mine = rng.permutation(len(s))
    theirs = [rng.permutation(len(c)) for c in candidates]
    pool = np.concatenate([c.normed[at] for c, at in zip(candidates, theirs, strict=True)])
    scores = s.normed[mine] @ pool.T
    scores = np.abs(scores) if s.sign_free else scores
    rows = s.position[mine]
    columns = np.concatenate([c.position[at] for c, at in zip(candidates, theirs, strict=True)])
    factors = evalues.diagonal_factors(scores.astype(np.float64), rows, columns)
    ends = np.cumsum([len(at) for at in theirs])
    cells: list[InOrder] = []
    for start, stop, at in zip(ends - [len(at) for at in theirs], ends, theirs, strict=True):
        block, places = scores[:, start:stop], columns[start:stop]
        in_place = int((places[block.argmax(axis=1)] == rows).sum())
        fixed = evalues.fixed_points([in_place], [len(rows)], [1.0])
        diagonal = evalues.log_mean(factors[:, start:stop].sum(axis=1))
        straight = block[np.argsort(mine)][:, np.argsort(at)] if len(at) == len(mine) else block[:0]
        log_e = evalues.log_mean((fixed, diagonal))
        cells.append(InOrder(log_e, in_place, len(rows), _alike(straight)))
    return cells


def _alike(scores: np.ndarray, sign_free: bool = False) -> float | None:
    if scores.shape[0] != scores.shape[1] or not scores.size:
        return None
    scores = np.abs(scores) if sign_free else scores
    return float(np.trace(scores) / len(scores) - scores.mean())


__all__ = ["InOrder", "Integers", "in_order"]
