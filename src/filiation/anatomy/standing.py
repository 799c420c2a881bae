"""Several towers of one kind: which of them a loader that follows the config reads, and what the others are called.

Loaders look weights up by name: what stands under another prefix is left unread, however much of it there is. So the
first tower of a kind is the one with the names of the architecture; where these say nothing, the one whose sizes the
config gives, then the larger one. What sorts first never decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from filiation.anatomy import config as configs
from filiation.anatomy.names import Stack
from filiation.anatomy.roles import NORMS
from filiation.anatomy.tables import Config, Path, shared_depth
from filiation.anatomy.towers import Shapes, Tower, name_layers
from filiation.checkpoint.model import TensorInfo

_OF_WRAPPED = frozenset(
    {"language_model", "text_model", "llm", "text", "language", "thinker", "text_encoder", "decoder"}
)
"""Segments that say which tower is meant, where an architecture has several."""

_WRAPPERS = _OF_WRAPPED | {"model", "transformer", "encoder", "backbone", "module", "base_model"}
"""Segments that architectures and training wrappers themselves put above their layers."""

_ROOTS: Mapping[str, tuple[str, ...]] = {
    "gpt2": ("transformer",),
    "gpt_bigcode": ("transformer",),
    "gpt_neo": ("transformer",),
    "gptj": ("transformer",),
    "codegen": ("transformer",),
    "bloom": ("transformer",),
    "falcon": ("transformer",),
    "RefinedWeb": ("transformer",),
    "RefinedWebModel": ("transformer",),
    "mpt": ("transformer",),
    "qwen": ("transformer",),
    "phi-msft": ("transformer",),
    "mixformer-sequential": ("transformer",),
    "chatglm": ("transformer", "transformer.encoder"),
    "opt": ("model.decoder", "decoder"),
    "hf_olmo": ("model.transformer",),
    "camembert": ("roberta",),
    "xlm-roberta": ("roberta",),
    "xlm-roberta-xl": ("roberta",),
}
"""Model type -> the paths above its layer list, where they are neither ``model`` nor its own name."""

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


Rank = tuple[bool, tuple[int, ...], bool, int, int, int, Path]


def _rank(tower: Tower, towers: Sequence[Tower], config: Config | None) -> Rank:
    """Order towers: what the names say, then what the sizes say; the path only makes the order complete."""
    is_other = tower.component != "language"
    path = tower.stack.container
    behind = any(t.component == tower.component and _ends_in(path, t.stack.container) for t in towers)
    names = _named(tower, config)
    return (
        is_other,
        names[:1] if is_other else names,
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
    said = (*configs.types_of(tower.config), *configs.types_of(config or {}))
    family = tower.family
    types = {*family.model_types, *family.architectures, *family.gguf}
    other_family = int(bool(said) and types.isdisjoint(said))
    foreign = sum(segment not in _WRAPPERS for segment in tower.root)
    if is_composite(config):
        nested = int(_OF_WRAPPED.isdisjoint(tower.root)) if tower.component == "language" else 0
        return other_family, foreign, nested
    place = _place(tower.root, said or family.model_types)
    return other_family, place, foreign if place == _OTHER else 0


def is_composite(config: Config | None) -> bool:
    """Whether a config describes several towers, so that its loader reads more than one path."""
    return bool(config) and configs.tower_config(config, "vision") is not config


def _place(root: Path, types: Sequence[str]) -> int:
    """Say whether a path above a layer list is the architecture's own, none (a bare model's), or another."""
    own = {"model"} if not types else set[str]()
    for name in types:
        own |= {*_ROOTS.get(name, ("model", name, name.replace("-", "_")))}
    if ".".join(root) in own:
        return _OWN
    return _OTHER if root else _BARE


def _misfit(tower: Tower) -> int:
    """Count which of depth and width are not those that the config gives."""
    said = configs.settings_of(tower.config, tower.family.keys, tower.family.ignore)
    widths = {f.info.shape for f in tower.found if f.hit.rule.roles[0] in NORMS and f.layer is not None}
    deep = said.n_layers is not None and said.n_layers != len(tower.stack.layers)
    wide = said.d_model is not None and bool(widths) and (said.d_model,) not in widths
    return deep + wide


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

    That is said of a further tower of one kind where the config describes a single tower, or where its path is that
    of the first one behind a prefix.
    """
    kind = kind_of(tower.component)
    if tower.component == kind:
        return False
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
