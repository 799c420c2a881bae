"""Tensor names taken apart: wrappers dropped, layer lists found, names looked up in a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from filiation.anatomy.tables import Names, Rule

Path = tuple[str, ...]

_TRANSPARENT = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_layer"})
"""Segments that torch.compile, FSDP and adapter libraries put in the middle of a name."""

_WEIGHT_LEAVES = {"weight": "", "gamma": "", "g": "", "bias": ".bias", "beta": ".bias", "b": ".bias"}


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

    @property
    def stems(self) -> frozenset[Path]:
        """Every path inside a layer, without its leaf and with numbers masked."""
        return frozenset(mask(stem(rest)) for layer in self.layers.values() for rest in layer)


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
    return path[:-1] if path and path[-1] in _WEIGHT_LEAVES else path


def mask(path: Path) -> Path:
    """Return the path with every number replaced by ``#``."""
    return tuple("#" if segment.isdecimal() else segment for segment in path)


@dataclass(frozen=True, slots=True)
class Hit:
    """A name found in a table: its rule, whether it is the bias, the expert number, another number."""

    rule: Rule
    bias: bool = False
    expert: int | None = None
    number: int | None = None


class Lookup:
    """A table of names made ready for looking up paths."""

    def __init__(self, names: Names) -> None:
        self._rules: dict[Path, tuple[Rule, str]] = {}
        for pattern, entry in names.items():
            rule = entry if isinstance(entry, Rule) else Rule((entry,))
            kind = "{N}" if "{N}" in pattern else "{E}"
            self._rules[tuple(pattern.replace(kind, "#").split("."))] = (rule, kind)

    def find(self, path: Path) -> Hit | None:
        """Return what ``path`` (with its leaf) is, or None."""
        numbers = [int(segment) for segment in path if segment.isdecimal()]
        forms = [path] if not numbers else [path, mask(path)]
        for form in forms:
            if form in self._rules:  # a name that is spelled out, leaf and all
                return self._hit(form, path, False)
            leaf = _WEIGHT_LEAVES.get(form[-1]) if form else None
            if leaf is not None and form[:-1] in self._rules:
                return self._hit(form[:-1], path, leaf == ".bias")
        return None

    def _hit(self, key: Path, path: Path, bias: bool) -> Hit:
        rule, kind = self._rules[key]
        number = next((int(s) for s, k in zip(path, key, strict=False) if k == "#"), None)
        if kind == "{N}":
            return Hit(rule, bias, number=number)
        return Hit(rule, bias, expert=number)
