"""Which statement of the suspect is which of the reference, in time linear in their number."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable

from filiation.source.prints import Print

Key = Callable[[Print, int], Hashable]
_SMALLEST_MOVED = 6  # nodes of a statement that is looked for outside the definition that its own belongs to


def align(suspect: Print, reference: Print, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return pairs of statements with equal hashes, each at most once, by the suspect's order.

    First inside the definitions that belong together: with equal names, then with equal neighbours, then any in order.
    What is left over is looked for in all of the reference, with a neighbour: split and moved code.
    """
    found: dict[int, int] = {}
    taken: set[int] = set()
    for i, j in pairs:
        d, e = suspect.definitions[i], reference.definitions[j]
        for key in (_named, _between, _before, _after, _alone):
            _pass(suspect, range(d.start, d.stop), reference, range(e.start, e.stop), key, found, taken)
    everywhere = range(len(reference.statements.digests))
    rest = [
        i for i in range(len(suspect.statements.digests)) if suspect.statements.sizes[i] >= _SMALLEST_MOVED
    ]
    for key in (_between, _before, _after):
        _pass(suspect, rest, reference, everywhere, key, found, taken)
    return sorted(found.items())


def _pass(
    suspect: Print,
    ours: Iterable[int],
    reference: Print,
    theirs: Iterable[int],
    key: Key,
    found: dict[int, int],
    taken: set[int],
) -> None:
    """Pair what is free and has equal keys, the k-th with the k-th."""
    waiting: dict[Hashable, deque[int]] = defaultdict(deque)
    for j in theirs:
        if j not in taken:
            waiting[key(reference, j)].append(j)
    for i in ours:
        if i in found:
            continue
        free = waiting.get(key(suspect, i))
        if free:
            j = free.popleft()
            found[i] = j
            taken.add(j)


def _digest(source: Print, at: int) -> int:
    digests = source.statements.digests
    return int(digests[at]) if 0 <= at < len(digests) else 0


def _named(source: Print, at: int) -> Hashable:
    s = source.statements
    return _digest(source, at), s.names[s.first[at] : s.first[at + 1]].tobytes()


def _between(source: Print, at: int) -> Hashable:
    return _digest(source, at - 1), _digest(source, at), _digest(source, at + 1)


def _before(source: Print, at: int) -> Hashable:
    return _digest(source, at - 1), _digest(source, at)


def _after(source: Print, at: int) -> Hashable:
    return _digest(source, at), _digest(source, at + 1)


def _alone(source: Print, at: int) -> Hashable:
    return _digest(source, at)


def longest_run(pairs: list[tuple[int, int]]) -> int:
    """Return the most consecutive statements that match consecutive statements."""
    best = run = 0
    last = (-2, -2)
    for pair in pairs:
        run = run + 1 if (pair[0] - 1, pair[1] - 1) == last else 1
        best = max(best, run)
        last = pair
    return best
