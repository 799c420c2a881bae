"""The order label of one set of units against many sets at once: layer maps and self-tests.

The same numbers as :class:`~filiation.origin.order.FixedPoints` and :class:`~filiation.origin.diagonal.Diagonal` set
by set, from one large matrix product in place of hundreds of small ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from filiation.origin import evalues
from filiation.origin.diagonal import Diagonal
from filiation.origin.order import FixedPoints
from filiation.origin.testing import Outcome
from filiation.origin.units import Units

#: Elements of the candidates' contents, and of their similarities, at once: bounds memory at some 100 MB.
POOL = 1 << 22


@dataclass(frozen=True, slots=True)
class InOrder:
    """What the order label of two sets of units shows.

    Attributes:
        log_e: mean of the fixed-point and the diagonal test (natural log); 0 where neither ran.
        in_place: units whose nearest match carries their index, of ``n``.
    """

    log_e: float = 0.0
    in_place: int = 0
    n: int = 0


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
    for numbers in _chunks(together, [max(c.content.size, len(s) * len(c)) for c in candidates]):
        cells = _at_once(s, [candidates[k].alive() for k in numbers], rng)
        for number, cell in zip(numbers, cells, strict=True):
            found[number] = cell
    return found


def _in_one_block(s: Units, c: Units) -> bool:
    return len(s) > 1 and len(c) > 1 and len({*s.block.tolist(), *c.block.tolist()}) == 1


def _by_tests(suspect: Units, candidate: Units, rng: np.random.Generator) -> InOrder:
    outcomes = [t.measure(suspect, candidate, rng) for t in (FixedPoints(), Diagonal())]
    ran = [o for o in outcomes if isinstance(o, Outcome)]
    if not ran:
        return InOrder()
    return InOrder(evalues.log_mean([o.log_e for o in ran]), int(ran[0].statistic), ran[0].n)


def _chunks(numbers: Sequence[int], sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield runs of candidates whose sizes together stay within :data:`POOL`."""
    chunk: list[int] = []
    for number in numbers:
        if chunk and sum(sizes[k] for k in chunk) + sizes[number] > POOL:
            yield chunk
            chunk = []
        chunk.append(number)
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
    for start, stop in pairwise((0, *ends.tolist())):
        block, places = scores[:, start:stop], columns[start:stop]
        in_place = int((places[block.argmax(axis=1)] == rows).sum())
        fixed = evalues.fixed_points([in_place], [len(rows)], [1.0])
        diagonal = evalues.log_mean(factors[:, start:stop].sum(axis=1))
        cells.append(InOrder(evalues.log_mean((fixed, diagonal)), in_place, len(rows)))
    return cells
