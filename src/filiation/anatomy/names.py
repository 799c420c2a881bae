"""Tensor names taken apart: wrappers dropped, layer lists found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from filiation.anatomy.tables import LEAVES, Path, is_number, mask

_TRANSPARENT = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
"""Segments that torch.compile, FSDP and adapter libraries put in the middle of a name."""


def path_of(name: str) -> Path:
    """Return the segments of a stored name without those that wrappers add."""
    path = tuple(name.split("."))
    if _TRANSPARENT.isdisjoint(path):
        return path
    return tuple(segment for segment in path if segment not in _TRANSPARENT)


@dataclass(frozen=True)
class Stack:
    """A numbered list of like things: ``container.0.x``, ``container.1.x`` ...

    Attributes:
        container: the path before the number.
        layers: number -> {path after the number: stored name}.
    """

    container: Path
    layers: Mapping[int, Mapping[Path, str]] = field(default_factory=dict[int, dict[Path, str]])

    @cached_property
    def examples(self) -> Mapping[Path, tuple[Path, str]]:
        """One name of each kind: path with its numbers masked -> (path after the layer number, stored name).

        A mixture has thousands of names and a dozen kinds; tables are chosen by the kinds.
        """
        kinds: dict[Path, tuple[Path, str]] = {}
        for number in sorted(self.layers):
            for path, name in self.layers[number].items():
                kinds.setdefault(mask(path), (path, name))
        return kinds

    @cached_property
    def stems(self) -> frozenset[Path]:
        """Every kind of name inside a layer, without its leaf and with numbers masked."""
        return frozenset(stem(path) for path in self.examples)


def find_stacks(names: Iterable[str]) -> tuple[dict[Path, Stack], dict[Path, str]]:
    """Split names into numbered stacks (by container) and the rest (path -> stored name).

    A name may hold several numbers (``model.0.encoder.layer.3.experts.7.w1``). Its layer number is the first one
    that truly counts: whose container holds the same kind of name under other numbers too.
    """
    paths = _by_path(names)
    numbers: dict[tuple[Path, Path], set[str]] = {}
    for path in paths:
        for at in _number_places(path):
            numbers.setdefault((path[:at], mask(path[at + 1 :])), set()).add(path[at])
    counting = {container for (container, _), found in numbers.items() if len(found) > 1}
    layers: dict[Path, dict[int, dict[Path, str]]] = {}
    rest: dict[Path, str] = {}
    for path, name in paths.items():
        places = _number_places(path)
        at = next((i for i in places if path[:i] in counting), places[0] if places else None)
        if at is None:
            rest[path] = name
        else:
            layer = layers.setdefault(path[:at], {}).setdefault(int(path[at]), {})
            first = layer.setdefault(path[at + 1 :], name)
            if first != name:  # layer 0 and layer 00: loaders count without zeros in front
                plain, other = (name, first) if is_plain(path) else (first, name)
                layer[path[at + 1 :]] = plain
                rest[tuple(other.split("."))] = other
    return {container: Stack(container, found) for container, found in layers.items()}, rest


def _by_path(names: Iterable[str]) -> dict[Path, str]:
    """Return names by their paths; one that wrappers made equal to a plain name keeps all of its segments."""
    paths: dict[Path, str] = {}
    for name in names:
        plain, path = tuple(name.split(".")), path_of(name)
        if path == plain and path in paths:  # what stands under the plain name is what is looked up by it
            paths[tuple(paths[path].split("."))] = paths[path]
        paths[plain if path in paths and path != plain else path] = name
    return paths


def is_plain(path: Path) -> bool:
    """Whether every number in a path is written as loaders write it: no zeros in front, no other script."""
    return all(segment == str(int(segment)) for segment in path if is_number(segment))


def _number_places(path: Path) -> list[int]:
    """Where a number stands that could count layers: not at the very start (a wrapper's module) nor at the end."""
    return [i for i, segment in enumerate(path) if 0 < i < len(path) - 1 and is_number(segment)]


def stem(path: Path) -> Path:
    """Return the path without ``weight``, ``bias`` and their like."""
    return path[:-1] if path and path[-1] in LEAVES else path
