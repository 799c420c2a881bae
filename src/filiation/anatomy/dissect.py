"""A checkpoint taken apart: every tensor's component, role, layer and axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from filiation.anatomy import config as configs
from filiation.anatomy.geometry import measure
from filiation.anatomy.model import Anatomy, Geometry, Inference, Part, Ruling
from filiation.anatomy.names import Hit, Path, find_stacks, path_of
from filiation.anatomy.parts import Splitter
from filiation.anatomy.rulings import Case, rule_on
from filiation.anatomy.tables import Config, Rule
from filiation.anatomy.towers import Found, Tower, component_of, raise_towers
from filiation.checkpoint.model import Checkpoint, TensorInfo
from filiation.errors import UnknownAnatomyError


@dataclass
class _Work:
    """What is known so far."""

    tensors: Mapping[str, TensorInfo]
    towers: list[Tower]
    loose: dict[Path, str]
    projector: list[Found] = field(default_factory=list[Found])
    unnamed: list[str] = field(default_factory=list[str])
    inferences: list[Inference] = field(default_factory=list[Inference])
    rename_map: dict[str, str] = field(default_factory=dict[str, str])


def dissect(checkpoint: Checkpoint) -> Anatomy:
    """Name every part of ``checkpoint``; no weights are read.

    Raises:
        UnknownAnatomyError: no part could be named; the message says what is missing.
        CorruptCheckpointError: a tensor's shape contradicts the config.
    """
    architecture = configs.gguf_architecture(checkpoint.metadata)
    config: Config | None = checkpoint.config
    if architecture is not None:
        config = configs.config_from_gguf(checkpoint.metadata, architecture)
    work = _raise(checkpoint, config, architecture)
    if not work.towers:
        raise _nothing(checkpoint)
    _place_loose(work)
    return _assemble(checkpoint, work, config)


def _raise(checkpoint: Checkpoint, config: Config | None, architecture: str | None) -> _Work:
    tensors = checkpoint.tensors
    stacks, loose = find_stacks(tensors)
    towers = raise_towers(stacks.values(), tensors, config, architecture)
    used = {tower.stack.container for tower in towers}
    for container, stack in stacks.items():
        if container not in used:
            loose |= {path_of(name): name for layer in stack.layers.values() for name in layer.values()}
    work = _Work(tensors, towers, loose)
    if config is None and towers:
        work.inferences.append(
            Inference(f"family {towers[0].family.name}", "no config: the table that explains most of the names")
        )
    return work


def _nothing(checkpoint: Checkpoint) -> UnknownAnatomyError:
    names = list(checkpoint.tensors)
    example = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    return UnknownAnatomyError(
        "The parts of this model could not be named.",
        file=checkpoint.locator,
        reason=f"None of its {len(names)} tensors ({example}) fits a known family, and no repeated layers were found.",
        next_step="Add a config.json, or a table for this family in anatomy/families.",
    )


def _place_loose(work: _Work) -> None:
    """Give every tensor outside the layer lists to the tower whose root is nearest above it."""
    for path, name in work.loose.items():
        tower, hit = _owner(work, path)
        said = component_of(path)
        if tower is not None and hit is not None:
            tower.found.append(Found(work.tensors[name], hit, None))
        elif said == "projector" or (said and hit is None and work.towers):
            role = ".".join(path[:-1]) if path[-1] in ("weight", "bias") else ".".join(path)
            bias = path[-1] == "bias"
            work.projector.append(Found(work.tensors[name], Hit(Rule((role,)), bias), None))
        else:
            work.unnamed.append(name)
    for tower in work.towers:
        work.unnamed += tower.stray.values()


def _owner(work: _Work, path: Path) -> tuple[Tower | None, Hit | None]:
    choices = [(depth, tower) for tower in work.towers for depth in range(_shared(path, tower.root), -1, -1)]
    choices.sort(key=lambda choice: -choice[0])
    for depth, tower in choices:
        hit = tower.outside.find(path[depth:])
        if hit is not None:
            return tower, hit
    return None, None


def _shared(path: Path, root: Path) -> int:
    count = 0
    for a, b in zip(path, root, strict=False):
        if a != b:
            break
        count += 1
    return count


def _assemble(checkpoint: Checkpoint, work: _Work, config: Config | None) -> Anatomy:
    geometry: dict[str, Geometry] = {}
    rulings: dict[str, tuple[Ruling, ...]] = {}
    parts: list[Part] = []
    for tower in work.towers:
        sizes, settings = measure(tower)
        splitter = Splitter(tower.component, tower.family, sizes, tower.notes, _is_narrow(tower))
        own = _unique([part for found in tower.found for part in splitter.parts(found)], sizes, tower)
        geometry[tower.component] = sizes
        rulings[tower.component] = rule_on(Case(tower.family, sizes, settings, own))
        parts += own
        work.inferences += tower.notes
    if work.projector:
        parts += _projector_parts(work.projector)
        language = next(iter(geometry.values()))
        geometry["projector"] = Geometry(language.d_model, 0, norm=language.norm, gated=False, rope=None)
        rulings["projector"] = ()
    first = work.towers[0]
    return Anatomy(
        checkpoint=checkpoint,
        family=first.family.name if first.known else None,
        geometry=geometry,
        parts=tuple(parts),
        unnamed=tuple(sorted(work.unnamed)),
        rulings=rulings,
        inferences=tuple(dict.fromkeys(work.inferences)),
        rename_map={**first.family.renames, **work.rename_map},
    )


def _is_narrow(tower: Tower) -> bool:
    return any(found.hit.rule.roles == ("embedding_in",) for found in tower.found)


def _unique(parts: list[Part], sizes: Geometry, tower: Tower) -> list[Part]:
    """Keep one part of each role and place; a tied head that is stored as well is the embedding again."""
    kept: dict[tuple[str, int | None, int | None], Part] = {}
    for part in parts:
        if part.role == "head" and sizes.tied_embeddings:
            tower.notes.append(Inference(f"{part.tensor} is the embedding", "the config ties them: counted once"))
            part = replace(part, role="tied_head")
        key = (part.role, part.layer, part.expert)
        number = 1
        while key in kept:
            number += 1
            key = (f"{part.role}~{number}", part.layer, part.expert)
        kept[key] = replace(part, role=key[0])
    return list(kept.values())


def _projector_parts(found: list[Found]) -> list[Part]:
    parts: list[Part] = []
    for item in found:
        role = item.hit.rule.roles[0] + (".bias" if item.hit.bias else "")
        from filiation.anatomy.roles import axes_of

        parts.append(
            Part("projector", role, None, None, item.info.name, item.info.shape, axes_of("", len(item.info.shape)))
        )
    return parts
