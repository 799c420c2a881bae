"""Which statement of the suspect is which of the reference, in time linear in their number."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable

from filiation.source.prints import Print

_SMALLEST_MOVED = 6  # nodes of a statement that is looked for outside the definition that its own belongs to


class _Side:
    """The statements of one file as plain numbers: one look at an array for each would cost more than all the rest."""

    def __init__(self, source: Print) -> None:
        self.digests: list[int] = [
            *source.statements.digests.tolist(),
            0,
        ]  # the neighbour beyond either end is 0
        self.sizes: list[int] = source.statements.sizes.tolist()
        self.first: list[int] = source.statements.first.tolist()
        self.names = source.statements.names


Key = Callable[[_Side, int], Hashable]


def align(suspect: Print, reference: Print, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return pairs of statements with equal hashes, each at most once, by the suspect's order.

    First inside the definitions that belong together: with equal names, then with equal neighbours, then any in order.
    What is left over is looked for in all of the reference, with a neighbour: split and moved code.
    """
    found: dict[int, int] = {}
    taken: set[int] = set()
    mine, other = _Side(suspect), _Side(reference)
    for i, j in pairs:
        d, e = suspect.definitions[i], reference.definitions[j]
        for key in (_named, _between, _before, _after, _alone):
            _pass(mine, range(d.start, d.stop), other, range(e.start, e.stop), key, found, taken)
    everywhere = range(len(other.sizes))
    rest = [i for i, size in enumerate(mine.sizes) if size >= _SMALLEST_MOVED]
    for key in (_between, _before, _after):
        _pass(mine, rest, other, everywhere, key, found, taken)
    return sorted(found.items())


def _pass(
    suspect: _Side,
    ours: Iterable[int],
    reference: _Side,
    theirs: Iterable[int],
    key: Key,
    found: dict[int, int],
    taken: set[int],
) -> None:
    """Pair what is free and has equal keys, the k-th with the k-th."""
    mine = [i for i in ours if i not in found]
    if not mine:
        return
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j in theirs:
        if j not in taken:
            waiting[key(reference, j)].append(j)
    for i in mine:
        free = waiting.get(key(suspect, i))
        if free:
            j = free.popleft()
            found[i] = j
            taken.add(j)


def _named(side: _Side, at: int) -> Hashable:
    return side.digests[at], side.names[side.first[at] : side.first[at + 1]].tobytes()


def _between(side: _Side, at: int) -> Hashable:
    return side.digests[at - 1], side.digests[at], side.digests[at + 1]


def _before(side: _Side, at: int) -> Hashable:
    return side.digests[at - 1], side.digests[at]


def _after(side: _Side, at: int) -> Hashable:
    return side.digests[at], side.digests[at + 1]


def _alone(side: _Side, at: int) -> Hashable:
    return side.digests[at]


def longest_run(pairs: list[tuple[int, int]]) -> int:
    """Return the most consecutive statements that match consecutive statements."""
    best = run = 0
    last = (-2, -2)
    for pair in pairs:
        run = run + 1 if (pair[0] - 1, pair[1] - 1) == last else 1
        best = max(best, run)
        last = pair
    return best
