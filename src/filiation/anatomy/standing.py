"""Several towers of one kind: which of them a loader that follows the config reads, and what the others are called.

Loaders look weights up by name: what stands under another prefix is left unread, however much of it there is. So the
first tower of a kind is the one with the names of the architecture; where these say nothing, the one whose sizes the
config gives, then the larger one. What sorts first never decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from filiation.anatomy import config as configs
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack
from filiation.anatomy.places import builds, is_flat, is_plain, roots_of, stands_beside
from filiation.anatomy.roles import NORMS
from filiation.anatomy.tables import Config, Path, shared_depth
from filiation.anatomy.towers import Shapes, Tower, component_of, name_layers
from filiation.checkpoint.model import TensorInfo

_OF_WRAPPED = frozenset(
    {"language_model", "text_model", "llm", "text", "language", "thinker", "text_encoder", "decoder"}
)
"""Segments that say which tower is meant, where an architecture has several."""

_WRAPPERS = _OF_WRAPPED | {"model", "transformer", "encoder", "backbone", "module", "base_model"}
"""Segments that architectures and training wrappers themselves put above their layers."""

_OWN, _BARE, _OTHER = range(3)


def kind_of(component: str) -> str:
    """Return what kind of tower a component is: ``language`` of ``language:ema``."""
    return component.partition(":")[0]


def in_order(towers: Iterable[Tower], config: Config | None) -> list[Tower]:
    """Put the language tower that the config's loader reads first; give further towers names of their own."""
    every = list(towers)
    ordered = sorted(every, key=lambda tower: _rank(tower, every, config))
    _tell_apart(ordered)
    return ordered


def contested(ordered: Sequence[Tower], config: Config | None) -> tuple[str, ...]:
    """Return the towers of one kind among which nothing says which one is loaded.

    Args:
        ordered: the towers as :func:`in_order` returns them.
        config: of the model.
    """
    groups: dict[str, list[Tower]] = {}
    for tower in ordered:
        if not stands_beside(tower.root, config):
            groups.setdefault(kind_of(tower.component), []).append(tower)
    found: list[str] = []
    for kind, group in groups.items():
        rivals = [t for t in group if _rivals(t, group[0], config, kind == kind_of(ordered[0].component))]
        found += [t.component for t in rivals] if len(rivals) > 1 else []
    return tuple(found)


def of_rivals(names: Sequence[str]) -> Inference:
    """Return what is said of towers that are :func:`contested`."""
    told = f"{', '.join(names[:-1])} or {names[-1]}"
    return Inference(f"which of {told} is loaded is not known", "nothing says under which path loaders look")


def _rivals(tower: Tower, first: Tower, config: Config | None, is_main: bool) -> bool:
    """Whether a tower may be what loaders read in place of the first one of its kind, or is that one."""
    if _too_small(tower) > _too_small(first):
        return False
    place, best = _place(tower, config), _place(first, config)
    if place is not None and (is_main or is_plain(config)):
        return place == best
    if is_main or not config:
        return True
    prefix = _prefix(tower, first)
    return _other_family(tower, config) == _other_family(first, config) and not (
        prefix and _foreign(prefix, tower)
    )


Rank = tuple[bool, tuple[int, ...], bool, int, int, int, Path]


def _rank(tower: Tower, towers: Sequence[Tower], config: Config | None) -> Rank:
    """Order towers: what the names say, then what the sizes say; the path only makes the order complete."""
    is_other = tower.component != "language"
    path = tower.stack.container
    behind = any(t.component == tower.component and _ends_in(path, t.stack.container) for t in towers)
    return (
        is_other,
        _named(tower, config),
        behind,
        _misfit(tower),
        -len(tower.found),
        len(tower.root),
        path,
    )


def _ends_in(path: Path, other: Path) -> bool:
    """Whether a path is another one behind a prefix."""
    return len(path) > len(other) and path[-len(other) :] == other


def _named(tower: Tower, config: Config | None) -> tuple[int, ...]:
    """Return how far a tower's names are from those that the config's loader reads; 0 is best."""
    other_family, foreign = _other_family(tower, config), _foreign(tower.root, tower)
    if tower.component != "language" and not is_plain(config):
        return (other_family, foreign)
    place = _place(tower, config)
    if place is not None:
        return place, other_family, foreign if place == _OTHER else 0
    # Nothing is known of its loaders: what others do, where the sizes leave several.
    nested = int(is_composite(config) and _OF_WRAPPED.isdisjoint(tower.root))
    return _too_small(tower), other_family, foreign, nested, _at(tower, ("model", "", *_words(tower, config)))


def _other_family(tower: Tower, config: Config | None) -> int:
    """Return 1 where the config names families, and none of them is the tower's."""
    said = _words(tower, config)
    family = tower.family
    return int(bool(said) and {*family.model_types, *family.architectures, *family.gguf}.isdisjoint(said))


def _words(tower: Tower, config: Config | None) -> tuple[str, ...]:
    return (*configs.types_of(tower.config), *configs.types_of(config or {}))


def _foreign(path: Path, tower: Tower) -> int:
    """Count segments that neither wrappers put there nor the kind of tower explains."""
    kind = kind_of(tower.component)
    return sum(segment not in _WRAPPERS and component_of((segment,)) != kind for segment in path)


def is_composite(config: Config | None) -> bool:
    """Whether a config describes several towers, so that its loader reads more than one path."""
    return bool(config) and not is_flat(config) and not is_plain(config)


def _place(tower: Tower, config: Config | None) -> int | None:
    """Say whether a layer list stands where loaders look, without a prefix (a bare model's), or elsewhere.

    None where it is not known where they look.
    """
    roots = roots_of(tower, config)
    return None if roots is None else _at(tower, roots)


def _at(tower: Tower, roots: Iterable[str]) -> int:
    path, tail = tower.stack.container, tuple(tower.family.container.split("."))
    if path[-len(tail) :] != tail:
        return _OTHER
    if ".".join(tower.root) in roots:
        return _OWN
    return _OTHER if tower.root else _BARE


def _too_small(tower: Tower) -> int:
    """Count which of depth and width a loader of the config would miss; layers beyond its number it passes over."""
    said = configs.settings_of(tower.config, tower.family.keys, tower.family.ignore)
    return _too_wide(tower, said) + ((said.n_layers or 0) > len(tower.stack.layers))


def _misfit(tower: Tower) -> int:
    """Count which of depth and width are not those that the config gives."""
    said = configs.settings_of(tower.config, tower.family.keys, tower.family.ignore)
    return _too_wide(tower, said) + (said.n_layers not in (None, len(tower.stack.layers)))


def _too_wide(tower: Tower, said: configs.Settings) -> bool:
    widths = {f.info.shape for f in tower.found if f.hit.rule.roles[0] in NORMS and f.layer is not None}
    return said.d_model is not None and bool(widths) and (said.d_model,) not in widths


def _tell_apart(towers: Sequence[Tower]) -> None:
    """Give a second tower of one component a name of its own, by its prefix where that is all that differs."""
    first: dict[str, Tower] = {}
    seen: set[str] = set()
    for tower in towers:
        kind = tower.component
        if kind in first:
            path = _prefix(tower, first[kind]) or tower.stack.container
            tower.component = f"{kind}:{_clean(path)}"
            if tower.component in seen:
                tower.component = f"{kind}:{_clean(tower.stack.container)}"
        number = 2
        while tower.component in seen:
            tower.component = f"{kind}:{_clean(tower.stack.container)}.{number}"
            number += 1
        first.setdefault(kind, tower)
        seen.add(tower.component)


def _clean(path: Path) -> str:
    """A component's name stands in identities and sentences: keep what a plain name has."""
    return re.sub(r"[^\w.-]", "_", ".".join(path))


def _prefix(tower: Tower, first: Tower) -> Path:
    """Return what stands before the first tower's path in another's; empty where the paths differ otherwise."""
    path, own = tower.stack.container, first.stack.container
    if _ends_in(path, own):
        return path[: -len(own)]
    tail = own[shared_depth(path, own) :]  # model.ema.layers beside model.layers
    middle = path[shared_depth(path, own) : len(path) - len(tail)]
    return middle if len(path) > len(own) and path[len(path) - len(tail) :] == tail else ()


def is_spare(tower: Tower, towers: Sequence[Tower], config: Config | None) -> bool:
    """Whether a loader that follows the config would leave this tower unread.

    That is said of a tower of a kind that loaders of the config build none of, and of a further one of a kind: where
    it is known under which path loaders look, where the config describes a single tower, or where its path is that of
    the first one behind a prefix. Of towers that are :func:`contested` it is not.
    """
    kind = kind_of(tower.component)
    if kind != kind_of(towers[0].component) and not builds(kind, config):
        return True
    if tower.component == kind or stands_beside(tower.root, config):
        return False
    if kind == kind_of(towers[0].component) and roots_of(tower, config) is not None:
        return True
    first = next(t for t in towers if t.component == kind)
    return bool(_prefix(tower, first)) or (bool(config) and not is_composite(config))


def add_copies(
    towers: list[Tower],
    stacks: Mapping[Path, Stack],
    tensors: Mapping[str, TensorInfo],
    shapes: Shapes,
    config: Config | None,
) -> None:
    """See through prefixes that speak of another kind of tower.

    ``visual.model.layers`` beside a language model's ``model.layers`` with the same names inside is a further
    language tower, whatever the prefix says, unless the config describes such a tower.
    """
    for tower in list(towers):
        if tower.component == "language" and not is_composite(config):
            for other in towers:
                if other.component in ("vision", "audio") and _behind_prefix(other.stack, tower, shapes):
                    other.component, other.config = tower.component, tower.config
    known = {tower.stack.container for tower in towers}
    for container, stack in stacks.items():
        like = next((t for t in towers if container not in known and _behind_prefix(stack, t, shapes)), None)
        if like is not None:
            root = container[: len(container) - len(like.stack.container)] + like.root
            tower = Tower(like.component, like.family, root, stack, like.config, like.known)
            tower.norm_known, tower.positions_known = like.norm_known, like.positions_known
            name_layers(tower, tensors)
            towers.append(tower)


def _behind_prefix(stack: Stack, tower: Tower, shapes: Shapes) -> bool:
    if not _ends_in(stack.container, tower.stack.container) or stack.stems != tower.stack.stems:
        return False
    return _width(stack, shapes) == _width(tower.stack, shapes)


def _width(stack: Stack, shapes: Shapes) -> tuple[int, ...] | None:
    """Return the shape of the first vector of a layer: a norm's, in most towers."""
    return next((shapes[name] for _, name in stack.examples.values() if len(shapes[name]) == 1), None)
