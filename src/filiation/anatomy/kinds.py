"""The kinds of tensors in a layer: weights and biases joined, numbers masked where they count experts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from filiation.anatomy.hints import Kind, Shape
from filiation.anatomy.names import Stack, stem
from filiation.anatomy.tables import LEAVES, Path, mask


def kinds_of(stack: Stack, shapes: Mapping[str, Shape]) -> list[Kind]:
    """Return every kind of tensor in a layer of ``stack``, weights and biases joined."""
    weights: dict[Path, Shape] = {}
    biases: dict[Path, Shape] = {}
    places: dict[Path, int] = {}
    counts = _counting(stack, shapes)
    for place, (path, name) in enumerate(_examples(stack, counts).items()):
        base = stem(path)
        is_bias = len(base) < len(path) and LEAVES[path[-1]] == ".bias"
        (biases if is_bias else weights)[base] = shapes[name]
        places.setdefault(base, place)
    return [Kind(base, weights.get(base), biases.get(base), place) for base, place in places.items()]


def _examples(stack: Stack, counting: frozenset[Path]) -> dict[Path, str]:
    """One name of each kind, with the numbers that count masked."""
    kinds: dict[Path, str] = {}
    for number in sorted(stack.layers):
        for path, name in stack.layers[number].items():
            masked = mask(path)
            if masked != path and stem(masked) not in counting:
                masked = path
            kinds.setdefault(masked, name)
    return kinds


def _counting(stack: Stack, shapes: Mapping[str, Shape]) -> frozenset[Path]:
    """Return the masked stems whose number counts like things (experts), not places in a list of modules.

    ``experts.3.w1`` counts: something follows the number. ``mlp.0`` and ``mlp.2`` do not; ``w1.3`` beside ``w2.3``
    does, if all of one kind have one shape.
    """
    numbers: dict[Path, set[Path]] = defaultdict(set)
    sizes: dict[Path, set[Shape]] = defaultdict(set)
    for layer in stack.layers.values():
        for path, name in layer.items():
            masked = stem(mask(path))
            if "#" in masked:
                numbers[masked].add(stem(path))
                if path[-1] not in LEAVES or LEAVES[path[-1]] == "":
                    sizes[masked].add(shapes[name])
    last = Counter(
        len(found) for masked, found in numbers.items() if masked[-1] == "#" and len(sizes[masked]) == 1
    )
    return frozenset(
        masked
        for masked, found in numbers.items()
        if masked[-1] != "#" or (len(sizes[masked]) == 1 and len(found) > 1 and last[len(found)] > 1)
    )


def expert_count(stack: Stack, kinds: Sequence[Kind]) -> int:
    """Return how many experts a layer has: numbered, or stacked along a leading axis; 0 for none."""
    stacked = [k.weight[0] for k in kinds if k.weight and len(k.weight) == 3]
    if stacked:
        return max(stacked)
    masked = {k.stem for k in kinds if "#" in k.stem}
    layers = stack.layers.values()
    return max(
        (len({p for p in map(stem, layer) if mask(p) in masked}) // max(1, len(masked)) for layer in layers),
        default=0,
    )
