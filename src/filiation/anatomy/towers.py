"""Towers: the layer lists of a checkpoint, each with the table that explains it best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from filiation.anatomy import config as configs
from filiation.anatomy.families import families
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack, stem
from filiation.anatomy.roles import NORMS
from filiation.anatomy.tables import Config, Family, Hit, Path, shared_depth
from filiation.checkpoint.model import TensorInfo

Shapes = Mapping[str, tuple[int, ...]]

INFERRED = "inferred"
"""The name of a table that was made on the spot, from shapes and resemblances."""
_UNKNOWN_GGUF = "gguf"

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
        "logit_scale",
        "logit_bias",
    ),
    "language": ("text", "language", "llm"),
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
    its ancestors. ``stray`` are the paths inside layers that no rule explained. ``uncertain`` are roles that stored
    order or leaning words alone told apart, ``understood`` the kinds of stray whose kind of part is known all the
    same; ``norm_known`` is false where nothing says whether norms subtract the mean, ``positions_known`` where nothing
    says how positions enter.
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
    renames: dict[str, str] = field(default_factory=dict[str, str])
    uncertain: set[str] = field(default_factory=set[str])
    understood: set[Path] = field(default_factory=set[Path])
    norm_known: bool = True
    positions_known: bool = True


def component_of(path: Path) -> str | None:
    """Return the component that the words of a path speak of, or None."""
    for component in ("projector", "audio", "vision", "language"):
        words = _COMPONENT_WORDS[component]
        for segment in path:
            if segment in words or (component != "projector" and segment.startswith(words)):
                return component
    return None


@dataclass(frozen=True, slots=True)
class Clues:
    """What tables are chosen by: shapes, the names outside the layers, and what the config calls the model."""

    shapes: Shapes
    loose: Sequence[Path]
    config: Config | None
    architecture: str | None


def raise_towers(stacks: Iterable[Stack], tensors: Mapping[str, TensorInfo], clues: Clues) -> list[Tower]:
    """Return a tower for every stack that a table explains in part."""
    towers: list[Tower] = []
    for stack in stacks:
        tower = _raise(stack, clues)
        if tower is not None:
            name_layers(tower, tensors)
            towers.append(tower)
    return towers


def _raise(stack: Stack, clues: Clues) -> Tower | None:
    said = component_of(stack.container)
    scores = [_score(stack, candidate, said, clues) for candidate in _candidates(clues)]
    best = max(scores, key=lambda score: score.rank)
    if said == "projector" or best.explained < 3 or not _is_layered(stack, best.family):
        return None
    root = _root(stack.container, best.family)
    known = 2 * best.explained > len(stack.stems)
    tower = Tower(_component(best.family, said), best.family, root, stack, best.config, known)
    rivals = {score.family.kinds.norm for score in scores if score.rank[:3] == best.rank[:3]}
    tower.norm_known = len(rivals) == 1 and best.family.name != _UNKNOWN_GGUF
    tower.positions_known = best.family.name != _UNKNOWN_GGUF or "rope_theta" in best.config
    return tower


def _component(family: Family, said: str | None) -> str:
    return family.component if family.component != "language" else said or "language"


def _candidates(clues: Clues) -> Sequence[Family]:
    if clues.architecture is None:
        return families()
    from filiation.anatomy.families.gguf import UNKNOWN, as_gguf

    named = [family for family in families() if clues.architecture in family.gguf]
    plain = [family for family in families() if family.container.startswith("v.")]
    return [*(as_gguf(family.under(clues.config or {})) for family in named), UNKNOWN, *plain]


@dataclass(frozen=True, slots=True)
class _Score:
    family: Family
    config: Config
    explained: int
    rank: tuple[int, ...]


def _score(stack: Stack, family: Family, said: str | None, clues: Clues) -> _Score:
    """Rank a table.

    By what it explains inside the layers, whether it fits the shapes, whether the config names it, how many norms
    it expects in vain, what it explains beside the layers, whether component and container are its own.
    """
    component = _component(family, said)
    types = {*family.model_types, *family.architectures, *family.gguf}
    own = configs.tower_config(clues.config, component)
    if (
        own is clues.config
        and component not in ("language", "encoder")
        and not types & {*configs.types_of(own)}
    ):
        own = {}  # a flat config speaks of the language model
    family = family.under(own)
    lookup = family.inside
    hits = [
        (stem(kind), hit, name) for kind, (path, name) in stack.examples.items() if (hit := lookup.find(path))
    ]
    explained = len({kind for kind, _, _ in hits})
    if not explained:
        return _Score(family, own, 0, (0,))
    contained = _ends_with(stack.container, family.container)
    beside = _explained_beside(clues.loose, _root(stack.container, family), family)
    named = bool(types & {*configs.types_of(own), *configs.types_of(clues.config or {})})
    agrees = (said is None or said == component) + contained
    misfits = _misfits(hits, clues.shapes, family)
    depth = family.container.count(".") + 1 if contained else 0
    found = {role for _, hit, _ in hits for role in hit.rule.roles}
    absent = len(family.inside.norms - found)
    rank = (explained, -misfits, named, -absent, beside, agrees, depth)
    return _Score(family, own, explained, rank)


def _explained_beside(loose: Sequence[Path], root: Path, family: Family) -> int:
    """Count the names outside the layers that the table explains, looking up from the tower's root."""
    lookup = family.beside
    return sum(any(lookup.find(path[d:]) for d in range(shared_depth(path, root) + 1)) for path in loose)


def _ends_with(path: Path, container: str) -> bool:
    tail = tuple(container.split("."))
    return path[-len(tail) :] == tail


def _root(path: Path, family: Family) -> Path:
    tail = tuple(family.container.split("."))
    return path[: -len(tail)] if _ends_with(path, family.container) else path[:-1]


def _is_layered(stack: Stack, family: Family) -> bool:
    """Whether what the table explained has a writer or reader of a residual stream, not only norms."""
    lookup = family.inside
    hits = [hit for path, _ in stack.examples.values() if (hit := lookup.find(path))]
    return any(role in ("o", "v", "up", "down", "kv_a") for hit in hits for role in hit.rule.roles)


def _misfits(hits: Sequence[tuple[Path, Hit, str]], shapes: Shapes, family: Family) -> int:
    """Count the kinds of names whose shape or bias speaks against the table."""
    sizes = Counter(
        shapes[name][0] for _, hit, name in hits if hit.rule.roles[0] in NORMS and len(shapes[name]) == 1
    )
    width = sizes.most_common(1)[0][0] if sizes else None
    wrong = 0
    for _, hit, name in hits:
        shape, rule = shapes[name], hit.rule
        if hit.bias:
            wrong += rule.roles[0] in NORMS and family.kinds.norm == "rms"
        elif width and len(shape) == 2 and not rule.stacked:
            reads = rule.roles[0] in ("q", "k", "v", "gate", "up", "q_a", "kv_a")
            axis = 1 if reads != rule.transpose else 0
            wrong += (reads or rule.roles[0] in ("o", "down")) and shape[axis] != width
    has_bias = any(hit.bias and hit.rule.roles[0] in NORMS for _, hit, _ in hits)
    lacks_bias = family.kinds.norm == "layer" and family.kinds.norm_bias and not has_bias
    return wrong + lacks_bias


def name_layers(tower: Tower, tensors: Mapping[str, TensorInfo]) -> None:
    """Look every name inside the layers up in the tower's table."""
    tower.found = [found for found in tower.found if found.layer is None]
    tower.stray = {}
    lookup = tower.family.inside
    for number, layer in sorted(tower.stack.layers.items()):
        for path, name in layer.items():
            hit = lookup.find(path)
            if hit is None:
                tower.stray[number, path] = name
            else:
                tower.found.append(Found(tensors[name], hit, number))
