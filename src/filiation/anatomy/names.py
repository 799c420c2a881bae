"""Tensor names taken apart: wrappers dropped, layer lists found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from filiation.anatomy.tables import LEAVES, Path, mask

_TRANSPARENT = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
"""Segments that torch.compile, FSDP and adapter libraries put in the middle of a name."""


def path_of(name: str) -> Path:
    """Return the segments of a stored name without those that wrappers add."""
    return tuple(segment for segment in name.split(".") if segment not in _TRANSPARENT)


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
    """Split names into numbered stacks (by container) and the rest (path -> stored name)."""
    layers: dict[Path, dict[int, dict[Path, str]]] = {}
    rest: dict[Path, str] = {}
    for name in names:
        path = path_of(name)
        # A number at the very start is a module of a wrapper (sentence-transformers' "0.auto_model."), not a layer.
        at = next((i for i, segment in enumerate(path) if i and segment.isdecimal()), None)
        if at is None or at == len(path) - 1:
            rest[path] = name
        else:
            layers.setdefault(path[:at], {}).setdefault(int(path[at]), {})[path[at + 1 :]] = name
    return {container: Stack(container, found) for container, found in layers.items()}, rest


def stem(path: Path) -> Path:
    """Return the path without ``weight``, ``bias`` and their like."""
    return path[:-1] if path and path[-1] in LEAVES else path
