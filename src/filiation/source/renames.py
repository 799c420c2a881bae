"""The one rename map of two files, found by vote of the matched statements, and what is equal under it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from filiation.source.corpus.names import common_names
from filiation.source.hashing import LOCAL
from filiation.source.model import RenameMap, Renaming
from filiation.source.prints import Print

Pair = tuple[int, int]
Voter = tuple[int, int]  # (scope: definition for a local name, -1 for a shared one; hash of the name)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|_+")
_MOST_NAMES = 200  # entries of a rename map that a record holds


@dataclass(frozen=True, eq=False)
class Agreed:
    """The map (shared names by hash; local ones by definition), the statements that agree with it, and the counts."""

    shared: Mapping[int, int]
    agreeing: tuple[Pair, ...]
    votes: Mapping[Pair, int]
    places: int
    agreeing_places: int
    kept: int


def agree(suspect: Print, reference: Print, pairs: Iterable[Pair]) -> Agreed:
    """Return the one-to-one rename map that most places of the matched statements vote for.

    A local name may be renamed in one function and not in another; a shared one (class, function, attribute) is renamed
    throughout or not at all.
    """
    pairs = list(pairs)
    places = _all_places(suspect, reference, pairs)
    votes: Counter[tuple[int, int, int]] = Counter()
    for each in places:
        votes.update(each)
    forward = _one_to_one(votes)
    agreeing = [
        pair
        for pair, each in zip(pairs, places, strict=True)
        if all(forward.get((scope, a)) == b for scope, a, b in each)
    ]
    in_map = {key: n for key, n in votes.items() if forward.get(key[:2]) == key[2]}
    shared = {a: b for (scope, a), b in forward.items() if scope < 0}
    totals: Counter[Pair] = Counter()
    for (_, a, b), n in in_map.items():
        totals[a, b] += n
    kept = sum(n for (a, b), n in totals.items() if a == b)
    return Agreed(shared, tuple(agreeing), totals, sum(votes.values()), sum(in_map.values()), kept)


def _owners(source: Print) -> list[int]:
    owner = [0] * len(source.statements.digests)
    for number, definition in enumerate(source.definitions):
        for at in range(definition.start, definition.stop):
            owner[at] = number
    return owner


def _all_places(suspect: Print, reference: Print, pairs: list[Pair]) -> list[list[tuple[int, int, int]]]:
    """Return for each pair of statements the scope, the suspect's and the reference's name at every place of a name."""
    owner = _owners(suspect)
    ours, theirs = suspect.statements.names.tolist(), reference.statements.names.tolist()
    first, other = suspect.statements.first.tolist(), reference.statements.first.tolist()
    found: list[list[tuple[int, int, int]]] = []
    for i, j in pairs:
        mine, yours = ours[first[i] : first[i + 1]], theirs[other[j] : other[j + 1]]
        if len(mine) != len(yours):  # names inside a text do not count in a hash
            found.append([(-2, i, -1)])
        else:
            scope = owner[i]
            found.append([(scope if a & 1 == LOCAL else -1, a, b) for a, b in zip(mine, yours, strict=True)])
    return found


def _one_to_one(votes: Mapping[tuple[int, int, int], int]) -> dict[Voter, int]:
    """Return the map, the most frequent pairs first; a name that stayed goes before one that changed."""
    forward: dict[Voter, int] = {}
    used: set[Voter] = set()
    for (scope, a, b), _ in sorted(votes.items(), key=lambda v: (-v[1], v[0][1] != v[0][2], v[0])):
        if scope == -2:
            continue
        if (scope, a) not in forward and (scope, b) not in used:
            forward[scope, a] = b
            used.add((scope, b))
    return forward


def rename_map(suspect: Print, reference: Print, agreed: Agreed) -> RenameMap:
    """Return the record of a map; names of a shipped fingerprint are spelled where a guess has the right hash."""
    changed = [(a, b, n) for (a, b), n in agreed.votes.items() if a != b]
    spelled = _Speller(suspect, reference, [(a, b) for a, b, _ in changed])
    found: Counter[tuple[str, str | None]] = Counter()
    for a, b, n in changed:
        found[suspect.spelling.get(a, ""), spelled.of(a, b)] += n
    names = [Renaming(s, r, n) for (s, r), n in found.items() if s != r]
    names.sort(key=lambda r: (-r.count, r.suspect, r.reference or ""))
    rules = _rules(names)
    return RenameMap(
        tuple(names[:_MOST_NAMES]),
        rules,
        agreed.kept,
        agreed.places,
        agreed.agreeing_places / agreed.places if agreed.places else None,
        _survivors(suspect, rules),
    )


class _Speller:
    """Spells the reference's names: as it says, as the suspect spells them, or by what changed in names of classes."""

    def __init__(self, suspect: Print, reference: Print, changed: list[Pair]) -> None:
        self.suspect = suspect
        self.known = dict(common_names()) | dict(suspect.spelling) | dict(reference.spelling)
        pairs = [(suspect.spelling.get(a), self.known.get(b)) for a, b in changed]
        cores = Counter(core for s, r in pairs if s and r and (core := changed_part(s, r)))
        self.cores = [core for core, _ in cores.most_common(20)]

    def of(self, a: int, b: int) -> str | None:
        """Return the reference's name with the hash ``b``, which the suspect calls ``a``, or None."""
        from filiation.source.hashing import name_hash

        known = self.known.get(b)
        if known is not None:
            return known
        name = self.suspect.spelling.get(a, "")
        for new, old in self.cores:
            for one, other in cased(new, old):
                guess = name.replace(one, other)
                if guess != name and name_hash(b & 1, guess) == b:
                    self.known[b] = guess
                    return guess
        return None


def cased(new: str, old: str) -> list[tuple[str, str]]:
    """Return a replacement with its lower- and upper-case forms."""
    return [(new, old), (new.lower(), old.lower()), (new.upper(), old.upper())]


def changed_part(suspect: str, reference: str) -> tuple[str, str] | None:
    """Return what differs between two names, cut at the borders of words: ``Yi``, ``Llama`` for their attentions."""
    ours, theirs = _WORD.findall(suspect), _WORD.findall(reference)
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    while ours and theirs and ours[0] == theirs[0]:
        ours.pop(0)
        theirs.pop(0)
    if not ours or not theirs:
        return None
    return "".join(ours), "".join(theirs)


def _rules(names: list[Renaming]) -> tuple[Renaming, ...]:
    """Return the changed parts that at least two names have in common."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for each in names:
        core = changed_part(each.suspect, each.reference) if each.reference else None
        if core:
            counts[core].append(each.count)
    rules = [Renaming(new, old, sum(n)) for (new, old), n in counts.items() if len(n) >= 2 and len(old) >= 2]
    return tuple(sorted(rules, key=lambda r: (-r.count, r.suspect)))


def _survivors(suspect: Print, rules: tuple[Renaming, ...]) -> tuple[str, ...]:
    """Return the suspect's names that still hold what the most frequent rule replaces."""
    found: set[str] = set()
    for rule in rules[:3]:
        old = rule.reference or ""
        if len(old) >= 3 and old.lower() not in rule.suspect.lower():
            found |= {n for n in suspect.spelling.values() if old.lower() in n.lower()}
    return tuple(sorted(found))
