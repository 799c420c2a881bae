"""Names that are not dotted paths with a layer number of their own: flattened, glued, numbered elsewhere, from 1."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from filiation.anatomy.names import Stack
from filiation.anatomy.tables import LEAVES, Path, is_number, shared_depth

_NUMBER = re.compile(r"(?<!\d)\d{1,9}(?!\d)")
_COUNTED = re.compile(
    r"(?:^|[^a-z])(?:layers?|lyr|blocks?|blk|block|h|l|stages?|levels?)[^a-z0-9]*$", re.IGNORECASE
)
"""What stands before a number that counts layers, where a name has several numbers."""

_WEIGHT = frozenset(
    {"weight", "weights", "kernel", "matrix", "table", "w", "gain", "gamma", "g", "scale", "embedding"}
)
_BIAS = frozenset({"bias", "biases", "b", "beta", "offset", "shift"})
_GLUED_LEAF = re.compile(r"(.+)_(weight|kernel|bias|w|b|gain|gamma|beta)")


@dataclass(frozen=True, slots=True)
class _Place:
    """A number in a name: what stands before and after it."""

    before: str
    after: str
    number: int

    @property
    def style(self) -> tuple[str, str, int]:
        """How the number is set apart: the characters before and after it (letters alike), and what follows.

        What follows is counted in segments where the number stands late: up to two.
        """
        before, after = self.before[-1:], self.after[:1]
        segments = min(3, len([s for s in re.split(r"[./]", self.after) if s]))
        return ("a" if before.isalnum() else before), ("a" if after.isalnum() else after), segments


def respelled(names: Iterable[str]) -> tuple[dict[Path, Stack], dict[Path, str]] | None:
    """Read names by the number that takes the same values in most of them, wherever it stands, as the layer's.

    Segments are split at dots; in names without dots at underscores. A last segment that means weight or bias in
    another library (``kernel``) is read as ``weight`` or ``bias``.

    Returns:
        one stack of layers and the other names, as :func:`filiation.anatomy.names.find_stacks`; None where no number
        counts, or two names would be read alike.
    """
    every = list(names)
    chosen = _layer_numbers(every)
    flat = not any("." in name or "/" in name for name in every)
    inside: dict[str, tuple[Path, Path, int]] = {}
    for name, place in chosen.items():
        inside[name] = (_tokens(place.before, flat), _tokens(place.after, flat), place.number)
    if not inside:
        return None
    heads = [head for head, _, _ in inside.values()]
    container = heads[0][: min(shared_depth(heads[0], head) for head in heads)]
    layers: dict[int, dict[Path, str]] = {}
    for name, (head, tail, number) in inside.items():
        path = _leafed((*head[len(container) :], *tail))
        if path in layers.setdefault(number, {}):
            return None
        layers[number][path] = name
    loose = {_leafed(_tokens(name, flat)): name for name in every if name not in inside}
    if len(loose) + len(inside) < len(every):
        return None
    return {container: Stack(container, layers)}, loose


def _layer_numbers(names: Sequence[str]) -> dict[str, _Place]:
    """Return, for each name that has one, the number of its layer."""
    places = {
        name: [_Place(name[: m.start()], name[m.end() :], int(m.group())) for m in _NUMBER.finditer(name)]
        for name in names
    }
    values: dict[tuple[str, str], set[int]] = defaultdict(set)
    for found in places.values():
        for place in found:
            values[place.before, place.after].add(place.number)
    numbers = _most_shared(places, values)
    if numbers is None:
        return {}
    before = {start for (start, _), found in values.items() if found == numbers}
    sure = {name: [place for place in found if place.before in before] for name, found in places.items()}
    styles = Counter(found[0].style for found in sure.values() if len(found) == 1)
    chosen = {name: _choose(found, styles) for name, found in sure.items() if found}
    if len(before) > 1:  # the number stands late, so a part that not every layer has begins like no other
        usual = Counter(place.style for place in chosen.values()).most_common(1)[0][0]
        for name in (name for name in names if name not in chosen):
            alike = [place for place in places[name] if place.style == usual and place.number in numbers]
            if alike:
                chosen[name] = alike[-1]
    return chosen


def _most_shared(
    places: Mapping[str, Sequence[_Place]], values: Mapping[tuple[str, str], set[int]]
) -> set[int] | None:
    """Return the set of numbers that some number in most names runs through."""
    shared: Counter[frozenset[int]] = Counter()
    for found in places.values():
        shared.update({frozenset(values[place.before, place.after]) for place in found})
    several = [
        (count, len(numbers), sorted(numbers)) for numbers, count in shared.items() if len(numbers) > 1
    ]
    return set(max(several)[2]) if several else None


def _choose(places: Sequence[_Place], styles: Counter[tuple[str, str, int]]) -> _Place:
    """Of several numbers that could count layers: the one a word says so of, else the one set apart as most are."""
    return max(places, key=lambda place: (bool(_COUNTED.search(place.before)), styles[place.style]))


def _tokens(text: str, flat: bool) -> Path:
    pieces = re.split(r"[./:_-]" if flat else r"[./:]", text)
    return tuple(piece for piece in (piece.strip("_-") for piece in pieces) if piece)


def _leafed(path: Path) -> Path:
    """Return the path with its last segment as other tables spell it: ``weight`` or ``bias``."""
    if not path:
        return path
    glued = _GLUED_LEAF.fullmatch(path[-1])
    if glued:
        path = (*path[:-1], *glued.groups())
    if len(path) > 1 and path[-1] not in LEAVES:
        last = path[-1].lower()
        leaf = "weight" if last in _WEIGHT else "bias" if last in _BIAS else path[-1]
        return (*path[:-1], leaf)
    return path


def from_zero(stack: Stack) -> Stack | None:
    """Return the stack with its layers (and the experts in them) counted from 0, None where they already are."""
    numbers = sorted(stack.layers)
    if len(numbers) < 2 or numbers != list(range(1, len(numbers) + 1)):
        return None
    experts = _experts_from_one(stack)
    return replace(
        stack,
        layers={
            number - 1: {(_lowered(path) if experts else path): name for path, name in layer.items()}
            for number, layer in stack.layers.items()
        },
    )


def _experts_from_one(stack: Stack) -> bool:
    seen = {
        int(segment)
        for layer in stack.layers.values()
        for path in layer
        for segment in path[:-2]
        if is_number(segment)
    }
    return len(seen) > 1 and seen == set(range(1, len(seen) + 1))


def _lowered(path: Path) -> Path:
    head = tuple(str(int(s) - 1) if is_number(s) else s for s in path[:-2])
    return (*head, *path[-2:])
