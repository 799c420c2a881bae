"""Names that say nothing (``t0001``, ``onnx::MatMul_470``): layers and roles from the order of shapes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.anatomy.hints import Shape
from filiation.anatomy.names import Stack
from filiation.anatomy.tables import Path, Rule

_MOST = 20_000
"""More anonymous tensors than this are not searched for a period."""

_ORDER = ("q", "k", "v", "o", "gate", "up", "down")


@dataclass(frozen=True, slots=True)
class Filled:
    """An anonymous matrix given a place: its stored name, layer, rule."""

    name: str
    layer: int
    rule: Rule


def fill_layers(
    names: Iterable[str],
    shapes: Mapping[str, Shape],
    layers: Sequence[int],
    biases: Mapping[str, int],
    width: int,
) -> list[Filled]:
    """Place anonymous matrices into layers whose biases and norms have names, as ONNX exports leave them.

    Args:
        names: the loose tensors, in stored order.
        shapes: of every tensor.
        layers: the numbers of the layers.
        biases: role -> length of its bias in a layer; the roles whose matrices are missing.
        width: residual channels.

    Returns:
        nothing where no group of names has the right count and shapes.
    """
    roles = [role for role in _ORDER if role in biases]
    per_layer, needed = len(roles), len(roles) * len(layers)
    if not roles:
        return []
    for group in _groups(name for name in names if len(shapes[name]) == 2):
        for start in range(len(group) - needed + 1):
            chosen = group[start : start + needed]
            for transpose in (False, True):
                if all(
                    shapes[name] == _expected(roles[i % per_layer], biases, width, transpose)
                    for i, name in enumerate(chosen)
                ):
                    return [
                        Filled(
                            name, layers[i // per_layer], Rule((roles[i % per_layer],), transpose=transpose)
                        )
                        for i, name in enumerate(chosen)
                    ]
    return []


def _expected(role: str, biases: Mapping[str, int], width: int, transpose: bool) -> Shape:
    reads = {"o": biases.get("q", width), "down": biases.get("up", width)}.get(role, width)
    shape = (biases[role], reads)
    return shape[::-1] if transpose else shape


def _groups(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in one number, each group in the order of that number; largest first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[re.sub(r"\d+", "#", name)].append(name)
    return [
        sorted(group, key=_number) if skeleton.count("#") == 1 else group
        for skeleton, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _number(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found.group()) if found else 0


@dataclass(frozen=True, slots=True)
class Imposed:
    """Layers found in a flat list: the stack they make, and the names before and after them."""

    stack: Stack
    loose: dict[Path, str]


def impose_layers(names: Sequence[str], shapes: Mapping[str, Shape]) -> Imposed | None:
    """Find the longest repeating run of shapes and read it as layers; None where nothing repeats.

    A vector that follows a matrix and is as long as one of its sides is read as its bias.
    """
    ordered = _in_order(names)
    if len(ordered) > _MOST or (ordered == sorted(ordered) and len(_skeletons(ordered)) > 1):
        return None  # too many, or in the order of an alphabet, which says nothing
    codes = {shape: i for i, shape in enumerate(dict.fromkeys(shapes[n] for n in ordered))}
    sequence = np.array([codes[shapes[name]] for name in ordered], dtype=np.int64)
    start, period, count = _best_period(sequence)
    if count < 2:
        return None
    start, count = _align(start, period, count, [shapes[name] for name in ordered])
    stop = start + period * count
    layers: dict[int, dict[Path, str]] = {}
    for layer in range(count):
        block = ordered[start + layer * period : start + (layer + 1) * period]
        layers[layer] = _paths(block, shapes)
    loose = {(name,): name for name in [*ordered[:start], *ordered[stop:]]}
    return Imposed(Stack(("layers",), layers), loose)


def _in_order(names: Sequence[str]) -> list[str]:
    """Numbered names in the order of their number; others as stored."""
    skeletons = _skeletons(names)
    return sorted(names, key=_number) if len(skeletons) == 1 and "#" in next(iter(skeletons)) else list(names)


def _skeletons(names: Sequence[str]) -> set[str]:
    return {re.sub(r"\d+", "#", name) for name in names}


def _best_period(sequence: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int, int]:
    """Return start, period and number of repeats of the run that covers most of the sequence."""
    best = (0, 0, 0)
    covered = 0
    for period in range(3, len(sequence) // 2 + 1):
        equal = sequence[period:] == sequence[:-period]
        edges = np.flatnonzero(np.diff(np.concatenate(([0], equal.view(np.int8), [0]))))
        if not len(edges):
            continue
        starts, ends = edges[::2], edges[1::2]
        at = int(np.argmax(ends - starts))
        length = int(ends[at] - starts[at]) + period
        count = length // period
        if count >= 2 and count * period > covered:
            best, covered = (int(starts[at]), period, count), count * period
    return best


def _align(start: int, period: int, count: int, shapes: Sequence[Shape]) -> tuple[int, int]:
    """Shift the start so that the FFN (there and back, the widest) follows attention, as known models store it."""
    block = shapes[start : start + period]
    matrices = [i for i, shape in enumerate(block) if len(shape) == 2]
    paired = [i for i in matrices if block[i][0] != block[i][1] and block[i][::-1] in block]
    widest = [i for i in paired if max(block[i]) == max(max(block[j]) for j in paired)]
    if not widest or widest[-1] == matrices[-1]:
        return start, count
    start += matrices[matrices.index(widest[-1]) + 1]
    return start, (len(shapes) - start) // period if start + period * count > len(shapes) else count


_READINGS = [(count, norms) for count in (0, _MOST, 3, 1, 4) for norms in (False, True)]
"""(How many matrices, from the first, have biases; whether norms have them), the plainest first.

Three and one are Qwen 2's attention, separate and fused; four counts the output projection.
"""


def _paths(block: Sequence[str], shapes: Mapping[str, Shape]) -> dict[Path, str]:
    """Read the vectors of a layer as biases or gains in the way that leaves two gains, else four, else one."""
    readings = [_read_vectors(block, shapes, *reading) for reading in _READINGS]
    for wanted in (2, 4, 1):
        for paths, gains in readings:
            if gains == wanted:
                return paths
    return readings[0][0]


def _read_vectors(
    block: Sequence[str], shapes: Mapping[str, Shape], biased: int, norms: bool
) -> tuple[dict[Path, str], int]:
    paths: dict[Path, str] = {}
    owner: int | None = None
    gains = matrices = 0
    for i, name in enumerate(block):
        shape = shapes[name]
        after = None if owner is None else shapes[block[owner]]
        takes = after is not None and (matrices <= biased if len(after) == 2 else norms)
        if len(shape) == 1 and owner is not None and takes and after is not None and shape[0] in after:
            paths[f"t{owner}", "bias"] = name
            owner = None
        else:
            paths[f"t{i}", "weight"] = name
            gains += len(shape) == 1
            matrices += len(shape) == 2
            owner = i
    return paths, gains
