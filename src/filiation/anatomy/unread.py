"""Tensors inside layers that loaders of the stated family drop, and tensors that claim what others claim (ADR 0023).

The first take no part in anything. Of the second nobody knows which is read, so neither is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from filiation.anatomy.families import base_of, families, squashed
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack, is_plain
from filiation.anatomy.tables import Config, Family, Hit, Path, Rule
from filiation.anatomy.towers import Found, Tower

_LEAST = frozenset({"o", "down"})
"""A layer without these under a family's own names is not stored as that family's loaders read it."""
_MAYBE_FUSED = frozenset({"q", "k", "v", "gate", "up"})
_CORE = _MAYBE_FUSED | _LEAST


def stated_families(config: Config, component: str) -> tuple[Family, ...]:
    """Return the tables of which it is known what loaders build, among those that a config names.

    Loaders go by the model type, or by the architectures; where the two disagree both are asked. A type that no table
    knows is anybody's. Of a type of several towers (an encoder and a decoder) the table of ``component`` is the one.
    """
    kind, listed = config.get("model_type"), config.get("architectures")
    words: Iterable[object] = listed if isinstance(listed, (list, tuple)) else ()
    types = {base_of(word) for word in words if isinstance(word, str)}
    named = [family for family in families() if kind in family.model_types]
    if kind is not None and not named:
        return ()
    named += [family for family in families() if types & {squashed(t) for t in family.model_types}]
    known = {family.name: family for family in named if family.built is not None}
    same = [family for family in known.values() if family.component == component]
    return tuple(family.under(config) for family in same or known.values())


def without_unread(tower: Tower, stated: Iterable[Family]) -> tuple[Stack, tuple[str, ...]]:
    """Return a tower's layers without what loaders of the stated families drop, and the names of that."""
    stack = tower.stack
    gone: dict[int, set[Path]] = defaultdict(set)
    for family in stated:
        for number, layer in stack.layers.items():
            gone[number] |= _Layer(layer, number, family, tower).unread()
    names = tuple(stack.layers[n][path] for n in sorted(gone) for path in stack.layers[n] if path in gone[n])
    if not names:
        return stack, ()
    kept = {
        n: {path: name for path, name in layer.items() if path not in gone[n]}
        for n, layer in stack.layers.items()
    }
    return Stack(stack.container, kept), names


class _Layer:
    """One layer as the loaders of one family look at it."""

    def __init__(self, layer: Mapping[Path, str], number: int, family: Family, tower: Tower) -> None:
        assert family.built is not None
        self._family, self._tower, self._built = family, tower, family.built
        self._hits = {path: family.inside.find(path) for path in layer}
        self._is_mixture = self._built.is_mixture(tower.config, number)
        self._own = {path: hit for path, hit in self._hits.items() if hit and hit.name and self._holds(hit)}
        self._held = {role for hit in self._own.values() if not hit.bias for role in hit.rule.roles}

    def _holds(self, hit: Hit) -> bool:
        return self._built.holds(hit.name, self._is_mixture, self._tower.config)

    def unread(self) -> set[Path]:
        """Return the paths that are not read; none where the layer is not stored under the family's names."""
        if not self._held >= _LEAST & self._named():
            return set()
        return {path for path, hit in self._hits.items() if self._is_unread(hit)} | self._misspelt()

    def _is_unread(self, hit: Hit | None) -> bool:
        if hit is None:  # no part of this family; of no interest where nothing else makes it a part
            return not self._tower.known or self._tower.family.name != self._family.name
        if not hit.name:
            return False
        if self._holds(hit):
            return hit.bias and not self._has_bias(hit.rule)
        # What is stored in another family's way alone is somebody's model all the same.
        return not (_MAYBE_FUSED & self._named() & {*hit.rule.roles}) - self._held

    def _named(self) -> set[str]:
        """The roles that the family's loader has names for in a layer of this kind."""
        return {
            role
            for name, entry in self._family.layer.items()
            if self._built.holds(name, self._is_mixture, self._tower.config)
            for role in (entry.roles if isinstance(entry, Rule) else (entry,))
        }

    def _has_bias(self, rule: Rule) -> bool:
        if self._built.biases is None:
            return True
        unsaid = not {*self._built.biases} & {*rule.roles}
        if unsaid and any(role.endswith("norm") for role in rule.roles):
            return self._family.has_norm_biases
        return any(self._built.has_bias(role, self._tower.config) for role in rule.roles)

    def _misspelt(self) -> set[Path]:
        """Return names that end otherwise than what they stand beside: ``q_proj.g`` beside ``q_proj.weight``."""
        alike: dict[tuple[object, ...], list[Path]] = defaultdict(list)
        for path, hit in self._own.items():
            if not path[-1].endswith("_scale"):
                alike[hit.name, hit.expert, hit.number, hit.bias].append(path)
        several = [paths for paths in alike.values() if len(paths) > 1]
        usual = {p for paths in several for p in paths if self._is_usual(p)}
        return {p for paths in several if usual & {*paths} for p in paths if p not in usual}

    def _is_usual(self, path: Path) -> bool:
        """Whether a name ends as loaders write it; stacked experts have no ``weight`` at the end."""
        return is_plain(path) and (path[-1] in ("weight", "bias")) is not self._own[path].rule.stacked


def dropped(names: tuple[str, ...], component: str, stated: Iterable[Family]) -> Inference:
    """Return what is said of tensors that loaders of the stated families drop."""
    which = " or ".join(family.name for family in stated)
    first, *others = names
    more = f" and {len(others)} more are" if others else " is"
    what = f"{first}{more} stored and not loaded"
    return Inference(what, f"a layer of {which} holds no such part, as the config of {component} has it")


def take_disputed(tower: Tower) -> tuple[str, ...]:
    """Take out of a tower what claims to be a part of a layer that something else there claims to be; name it."""
    layers: dict[int, list[Found]] = defaultdict(list)
    for found in tower.found:
        if found.layer is not None and _CORE & {*found.hit.rule.roles}:
            layers[found.layer].append(found)
    names = {name for layer in layers.values() for name in _disputed(layer, both=tower.family.both)}
    if not names:
        return ()
    tower.found = [found for found in tower.found if found.info.name not in names]
    inside = (name for layer in tower.stack.layers.values() for name in layer.values())
    told = tuple(name for name in inside if name in names)
    what = f"{len(told)} tensors of {len(layers)} layers not told apart, the first of them {told[0]}"
    tower.notes.append(Inference(what, "each claims a part that another claims; none of them was used"))
    return told


def _disputed(layer: list[Found], *, both: bool) -> set[str]:
    claims: dict[tuple[str, int | None, bool], set[str]] = defaultdict(set)
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for found in layer:
        hit = found.hit
        routed = hit.rule.stacked or hit.expert is not None
        for role in _CORE & {*hit.rule.roles}:
            claims[role, -1 if hit.rule.stacked else hit.expert, hit.bias].add(found.info.name)
            if role in ("gate", "up", "down"):
                kinds[routed].add(found.info.name)
    stacked = {role for role, expert, _ in claims if expert == -1}
    numbered = {role for role, expert, _ in claims if expert is not None and expert >= 0}
    names = {name for same in claims.values() if len(same) > 1 for name in same}
    if stacked & numbered:
        names |= kinds[True]
    if all(kinds.values()) and not both:
        names |= kinds[True] | kinds[False]
    return names
