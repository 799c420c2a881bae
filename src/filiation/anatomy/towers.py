"""Towers: the layer lists of a checkpoint, each with the table that explains it best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from filiation.anatomy import config as configs
from filiation.anatomy.families import families
from filiation.anatomy.families.gguf import UNKNOWN, as_gguf
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Hit, Lookup, Path, Stack
from filiation.anatomy.roles import NORMS
from filiation.anatomy.tables import Config, Family
from filiation.checkpoint.model import TensorInfo

Shapes = Mapping[str, tuple[int, ...]]

_COMPONENT_WORDS: Mapping[str, tuple[str, ...]] = {
    "vision": ("vis", "vpm", "vit", "image", "img", "siglip", "clip"),
    "audio": ("audio", "speech", "apm"),
    "projector": (
        "multi_modal_projector",
        "mm_projector",
        "projector",
        "projection",
        "visual_projection",
        "text_projection",
        "resampler",
        "merger",
        "connector",
        "aligner",
        "adapter",
        "mlp1",
        "mm",
    ),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A stored tensor whose name a table explained."""

    info: TensorInfo
    hit: Hit
    layer: int | None


@dataclass
class Tower:
    """One layer list with its table, while the anatomy is being put together.

    ``root`` is the path above the container: names beside the layers are looked up relative to it or to one of
    its ancestors. ``stray`` are the paths inside layers that no rule explained.
    """

    component: str
    family: Family
    root: Path
    stack: Stack
    config: Config
    known: bool
    found: list[Found] = field(default_factory=list[Found])
    stray: dict[tuple[int, Path], str] = field(default_factory=dict[tuple[int, Path], str])
    notes: list[Inference] = field(default_factory=list[Inference])

    def __post_init__(self) -> None:
        self.outside = Lookup(self.family.outside)


def component_of(path: Path) -> str | None:
    """Return the component that the words of a path speak of, or None."""
    for component in ("projector", "audio", "vision"):
        words = _COMPONENT_WORDS[component]
        for segment in path:
            if segment in words or (component != "projector" and segment.startswith(words)):
                return component
    return None


def raise_towers(
    stacks: Iterable[Stack], tensors: Mapping[str, TensorInfo], config: Config | None, architecture: str | None
) -> list[Tower]:
    """Return a tower for every stack that a table explains in part, the largest language tower first."""
    shapes = {name: info.shape for name, info in tensors.items()}
    towers: list[Tower] = []
    for stack in stacks:
        tower = _raise(stack, shapes, config, architecture)
        if tower is not None:
            _name_layers(tower, tensors)
            towers.append(tower)
    towers.sort(key=lambda t: (t.component != "language", -len(t.found), t.root))
    _tell_apart(towers)
    return towers


def _raise(stack: Stack, shapes: Shapes, config: Config | None, architecture: str | None) -> Tower | None:
    said = component_of(stack.container)
    best = max(
        (_score(stack, shapes, candidate, said, config) for candidate in _candidates(config, architecture)),
        key=lambda score: score[0],
    )
    (explained, *_), family, tower_config = best
    if said == "projector" or explained < 3 or not _is_layered(stack, family):
        return None
    root = _root(stack.container, family)
    component = family.component if family.component != "language" else said or "language"
    known = 2 * explained > len(stack.stems)
    return Tower(component, family, root, stack, tower_config, known)


def _candidates(config: Config | None, architecture: str | None) -> Sequence[Family]:
    if architecture is None:
        return families()
    named = [family for family in families() if architecture in family.gguf]
    return [as_gguf(family.under(config or {})) for family in named] or [UNKNOWN]


def _score(
    stack: Stack, shapes: Shapes, family: Family, said: str | None, config: Config | None
) -> tuple[tuple[int, int, int, int, int], Family, Config]:
    """Rank a table: what it explains, does it fit the shapes, does the config name it, is the container its own."""
    component = family.component if family.component != "language" else said or "language"
    own = configs.tower_config(config, component)
    family = family.under(own)
    lookup = Lookup(family.layer)
    layer = _typical_layer(stack)
    hits = {path: hit for path in layer if (hit := lookup.find(path)) is not None}
    explained = len({path for path in _masked_stems(stack) if lookup.find((*path, "weight"))})
    agrees = int(said is None or said == component) + int(_ends_with(stack.container, family.container))
    types = {*configs.types_of(own), *configs.types_of(config or {})}
    named = int(bool(types & {*family.model_types, *family.architectures, *family.gguf}))
    misfits = _misfits(hits, layer, shapes, family)
    depth = len(family.container) if _ends_with(stack.container, family.container) else 0
    return (explained, -misfits, named, agrees, depth), family, own


def _masked_stems(stack: Stack) -> frozenset[Path]:
    return stack.stems


def _typical_layer(stack: Stack) -> Mapping[Path, str]:
    """The layer that holds the most names: in a mixture the first layers may be dense."""
    return max(stack.layers.items(), key=lambda item: (len(item[1]), -item[0]))[1]


def _ends_with(path: Path, container: str) -> bool:
    tail = tuple(container.split("."))
    return path[-len(tail) :] == tail


def _root(path: Path, family: Family) -> Path:
    tail = tuple(family.container.split("."))
    return path[: -len(tail)] if _ends_with(path, family.container) else path[:-1]


def _is_layered(stack: Stack, family: Family) -> bool:
    lookup = Lookup(family.layer)
    hits = [hit for path in _typical_layer(stack) if (hit := lookup.find(path))]
    return any(role in ("o", "v", "up", "down", "kv_a") for hit in hits for role in hit.rule.roles)


def _misfits(hits: Mapping[Path, Hit], layer: Mapping[Path, str], shapes: Shapes, family: Family) -> int:
    """Count the names of a layer whose shape or bias speaks against the table."""
    sizes = Counter(
        shapes[layer[path]][0]
        for path, hit in hits.items()
        if hit.rule.roles[0] in NORMS and len(shapes[layer[path]]) == 1
    )
    width = sizes.most_common(1)[0][0] if sizes else None
    wrong = 0
    for path, hit in hits.items():
        shape, rule = shapes[layer[path]], hit.rule
        if hit.bias:
            wrong += rule.roles[0] in NORMS and family.kinds.norm == "rms"
        elif width and len(shape) == 2 and not rule.stacked:
            reads = rule.roles[0] in ("q", "k", "v", "gate", "up", "q_a", "kv_a")
            axis = 1 if reads != rule.transpose else 0
            wrong += (reads or rule.roles[0] in ("o", "down")) and shape[axis] != width
    return wrong


def _name_layers(tower: Tower, tensors: Mapping[str, TensorInfo]) -> None:
    lookup = Lookup(tower.family.layer)
    for number, layer in sorted(tower.stack.layers.items()):
        for path, name in layer.items():
            hit = lookup.find(path)
            if hit is None:
                tower.stray[number, path] = name
            else:
                tower.found.append(Found(tensors[name], hit, number))


def _tell_apart(towers: Sequence[Tower]) -> None:
    """Give a second tower of one component a name of its own, by its path."""
    seen: set[str] = set()
    for tower in towers:
        if tower.component in seen:
            tower.component = f"{tower.component}:{'.'.join(tower.stack.container)}"
        seen.add(tower.component)
