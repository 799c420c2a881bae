"""The smallest renaming that turns one list of tensor names into another.

Copies are often published under new names: ``vpm.`` becomes ``vison.``, ``resampler.`` becomes ``projection.``,
``ln1`` becomes ``input_layernorm``. A handful of segment renames that explains hundreds of names is worth more to a
reader than the hundreds of pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from filiation.anatomy.tables import Path, mask

_LONGEST_RUN = 3
_TRIED = 32
_MOST_RENAMES = 64


@dataclass(frozen=True, slots=True)
class Renaming:
    """A rename map and what it explains.

    Attributes:
        mapping: segment run -> segment run, dotted (``{"vpm": "vison"}``); an empty target drops the run. All are
            applied at once, left to right, the longest run first.
        explained: how many names of the first list become names of the second.
        total: how many names the first list has.
        left, right: names of the first and second list that stay unexplained, sorted.
    """

    mapping: Mapping[str, str]
    explained: int
    total: int
    left: tuple[str, ...]
    right: tuple[str, ...]


def smallest_rename(names_a: Iterable[str], names_b: Iterable[str]) -> Renaming:
    """Return the smallest injective segment rename map that turns ``names_a`` into ``names_b``.

    Built greedily: at each step the rename that explains most further names, the shorter one among equals; then
    every rename that is not needed is dropped. Numbers are never renamed. Deterministic.
    """
    a, b = sorted(set(names_a)), sorted(set(names_b))
    search = _Search(a, b)
    mapping = search.run()
    renamed = {name: apply(mapping, name) for name in a}
    hits = {name for name in a if renamed[name] in search.targets}
    reached = {renamed[name] for name in hits}
    return Renaming(
        mapping=mapping,
        explained=len(reached),
        total=len(a),
        left=tuple(name for name in a if name not in hits),
        right=tuple(name for name in b if name not in reached),
    )


def apply(mapping: Mapping[str, str], name: str) -> str:
    """Return ``name`` with every run of segments that ``mapping`` names replaced."""
    rules = [(tuple(k.split(".")), tuple(v.split(".")) if v else ()) for k, v in mapping.items()]
    return ".".join(_apply(rules, tuple(name.split("."))))


def _apply(rules: Sequence[tuple[Path, Path]], path: Path) -> Path:
    ordered = sorted(rules, key=lambda rule: -len(rule[0]))
    out: list[str] = []
    at = 0
    while at < len(path):
        for source, target in ordered:
            if path[at : at + len(source)] == source:
                out += target
                at += len(source)
                break
        else:
            out.append(path[at])
            at += 1
    return tuple(out)


def from_pairs(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return segment renames for names whose counterparts are known, e.g. ``[("attn.wq", "self_attn.q_proj")]``.

    Segment by segment where that is consistent over all pairs, else whole runs.
    """
    differing = sorted({_trim(tuple(a.split(".")), tuple(b.split("."))) for a, b in pairs if a != b})
    votes: dict[str, set[str]] = defaultdict(set)
    for a, b in differing:
        if len(a) == len(b):
            for x, y in zip(a, b, strict=True):
                votes[x].add(y)
    mapping: dict[str, str] = {}
    for a, b in differing:
        by_segment = len(a) == len(b) and all(len(votes[x]) == 1 for x in a)
        if by_segment:
            mapping |= {x: y for x, y in zip(a, b, strict=True) if x != y}
        else:
            mapping[".".join(a)] = ".".join(b)
    return dict(sorted(mapping.items()))


def _trim(a: Path, b: Path) -> tuple[Path, Path]:
    """Drop the common ends, but leave something to rename."""
    while len(a) > 1 and len(b) > 1 and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while len(a) > 1 and len(b) > 1 and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return a, b


Rule = tuple[Path, Path]


class _Search:
    """Greedy search over the kinds of names (numbers masked), each weighted by how many names it stands for."""

    def __init__(self, a: Sequence[str], b: Sequence[str]) -> None:
        self.targets = frozenset(b)
        self._weights = Counter(mask(tuple(name.split("."))) for name in a)
        self._goal = Counter(mask(tuple(name.split("."))) for name in b)

    def run(self) -> dict[str, str]:
        rules: list[Rule] = []
        score = self._score(rules)
        while len(rules) < _MOST_RENAMES:
            best = self._best_step(rules, score)
            if best is None:
                break
            rules, score = best
        rules = self._needed(rules, score)
        return {".".join(a): ".".join(b) for a, b in sorted(rules)}

    def _score(self, rules: Sequence[Rule]) -> int:
        """How many names are explained; a map that sends two kinds to one counts only what fits."""
        reached: Counter[Path] = Counter()
        for kind, weight in self._weights.items():
            reached[_apply(rules, kind)] += weight
        return sum(min(count, self._goal[kind]) for kind, count in reached.items())

    def _best_step(self, rules: list[Rule], score: int) -> tuple[list[Rule], int] | None:
        for steps in (self._single_steps(rules), self._double_steps(rules)):
            tried = [(rules + step, self._score(rules + step), step) for step in steps]
            tried = [item for item in tried if item[1] > score]
            if tried:
                chosen = min(tried, key=lambda item: (-item[1], _size(item[2]), item[2]))
                return chosen[0], chosen[1]
        return None

    def _open(self, rules: Sequence[Rule]) -> tuple[list[tuple[Path, int]], list[Path]]:
        reached = {kind: _apply(rules, kind) for kind in self._weights}
        done = set(reached.values())
        left = [(kind, weight) for kind, weight in self._weights.items() if reached[kind] not in self._goal]
        return left, [kind for kind in self._goal if kind not in done]

    def _single_steps(self, rules: Sequence[Rule]) -> list[list[Rule]]:
        """Renames of one run of segments that send some unexplained kind to some unreached one."""
        left, right = self._open(rules)
        gaps: dict[tuple[Path, Path], set[Path]] = defaultdict(set)
        for path in right:
            for i in range(len(path) + 1):
                for j in range(i, min(len(path), i + _LONGEST_RUN) + 1):
                    if j - i < len(path):  # a whole name replaced by another is no rename
                        gaps[path[:i], path[j:]].add(path[i:j])
        votes: Counter[Rule] = Counter()
        for path, weight in left:
            for i in range(len(path)):
                for j in range(i + 1, min(len(path), i + _LONGEST_RUN) + 1):
                    for target in gaps.get((_apply(rules, path[:i]), _apply(rules, path[j:])), ()):
                        votes.update(dict.fromkeys(_rules(path[i:j], target), weight))
        taken = {source for source, _ in rules}
        ranked = sorted(votes, key=lambda rule: (-votes[rule], _size([rule]), rule))
        return [[rule] for rule in ranked if rule[0] not in taken][:_TRIED]

    def _double_steps(self, rules: Sequence[Rule]) -> list[list[Rule]]:
        """Two segments renamed at once, for names that differ in two places."""
        left, right = self._open(rules)
        index: dict[tuple[int, int, Path], list[Path]] = defaultdict(list)
        for path in right:
            for i, j in _pairs(len(path)):
                index[i, j, _without(path, i, j)].append(path)
        votes: Counter[tuple[Rule, Rule]] = Counter()
        taken = {source for source, _ in rules}
        for kind, weight in left:
            path = _apply(rules, kind)
            for i, j in _pairs(len(path)):
                for other in index.get((i, j, _without(path, i, j)), ()):
                    step = ((path[i : i + 1], other[i : i + 1]), (path[j : j + 1], other[j : j + 1]))
                    if all(a != b and "#" not in a + b and a not in taken for a, b in step):
                        votes[step] += weight
        ranked = sorted(votes, key=lambda step: (-votes[step], step))
        return [list(step) for step in ranked[:_TRIED]]

    def _needed(self, rules: list[Rule], score: int) -> list[Rule]:
        for rule in sorted(rules, key=lambda r: (-_size([r]), r)):
            without = [other for other in rules if other != rule]
            if self._score(without) >= score:
                rules = without
        return rules


def _rules(source: Path, target: Path) -> set[Rule]:
    """The rename as found and with its common ends dropped; none where a number would be renamed."""
    found = {(source, target)}
    if target:
        found.add(_trim(source, target))
    return {(a, b) for a, b in found if a != b and "#" not in a + b}


def _size(rules: Sequence[Rule]) -> int:
    return sum(len(a) + len(b) for a, b in rules)


def _pairs(length: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(length) for j in range(i + 1, length)]


def _without(path: Path, i: int, j: int) -> Path:
    return (*path[:i], *path[i + 1 : j], *path[j + 1 :])
