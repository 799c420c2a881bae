"""A checkpoint taken apart: every tensor's component, role, layer and axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from filiation.anatomy import config as configs
from filiation.anatomy.alone import as_dense
from filiation.anatomy.config import Settings
from filiation.anatomy.fitting import left_out, take_misshapen, take_unfitting
from filiation.anatomy.geometry import measure
from filiation.anatomy.loaded import DRAFT
from filiation.anatomy.model import Anatomy, Geometry, Inference, Part, Ruling
from filiation.anatomy.names import Stack, find_stacks, path_of, stem
from filiation.anatomy.outside import Claim, told, unread_beside
from filiation.anatomy.parts import Splitter
from filiation.anatomy.projectors import projector_hit, projector_parts
from filiation.anatomy.reading import as_loaded, completed, recovered
from filiation.anatomy.rulings import Case, rule_on
from filiation.anatomy.standing import add_copies, contested, in_order, is_spare, kind_of, of_rivals
from filiation.anatomy.tables import Config, Hit, Path, mask, shared_depth
from filiation.anatomy.towers import Clues, Found, Tower, component_of, raise_towers
from filiation.anatomy.unread import take_disputed
from filiation.checkpoint.model import Checkpoint, TensorInfo
from filiation.errors import CorruptCheckpointError, UnknownAnatomyError

Tensors = Mapping[str, TensorInfo]


@dataclass
class _Work:
    """What is known so far."""

    tensors: Tensors
    towers: list[Tower]
    loose: dict[Path, str]
    projector: list[Found] = field(default_factory=list[Found])
    unnamed: list[str] = field(default_factory=list[str])
    inferences: list[Inference] = field(default_factory=list[Inference])
    rename_map: dict[str, str] = field(default_factory=dict[str, str])
    config: Config | None = None
    beyond: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    unread: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    disputed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    contested: tuple[str, ...] = ()


def dissect(checkpoint: Checkpoint) -> Anatomy:
    """Name every part of ``checkpoint``; no weights are read.

    Raises:
        UnknownAnatomyError: no part could be named; the message says what is missing.
        CorruptCheckpointError: a tensor's shape contradicts the config.
    """
    architecture = configs.gguf_architecture(checkpoint.metadata)
    config: Config | None = checkpoint.config
    if architecture is not None:
        file = next((info.file for info in checkpoint.tensors.values()), checkpoint.locator)
        config = configs.config_from_gguf(checkpoint.metadata, architecture, file)
    work = _read(checkpoint.tensors, config, architecture)
    if not work.towers:
        raise _nothing(checkpoint)
    return _assemble(checkpoint, work)


def _read(tensors: Tensors, config: Config | None, architecture: str | None) -> _Work:
    """Read the names as they are written; where no table knows them, also in other ways. The most named wins."""
    work, contradiction = _Work(tensors, [], {}), None
    try:
        work = _name(find_stacks(tensors), tensors, config, architecture)
    except CorruptCheckpointError as error:
        contradiction = error
    if not work.towers or (work.unnamed and not any(tower.known for tower in work.towers)):
        work = _otherwise_spelled(work, tensors, config, architecture)
    if not work.towers and contradiction is not None:
        raise contradiction
    return work if work.towers else _by_order(tensors, config, architecture)


def _otherwise_spelled(
    work: _Work, tensors: Tensors, config: Config | None, architecture: str | None
) -> _Work:
    """Read the names in other ways; keep that reading if it explains more of them."""
    from filiation.anatomy.spellings import respelled

    other = respelled(tensors)
    if other is None:
        return work
    try:
        tried = _name(other, tensors, config, architecture)
    except CorruptCheckpointError:
        return work  # what was read as written is told, or its contradiction is
    better = tried.towers and (not work.towers or _open(tried) < _open(work))
    return tried if better else work


def _open(work: _Work) -> tuple[int, int, int]:
    """How much a reading leaves open: names, those of which not even the kind of part is known, separate towers."""
    understood = sum(stem(mask(path)) in t.understood for t in work.towers for _, path in t.stray)
    return len(work.unnamed), len(work.unnamed) - understood, len(work.towers)


Split = tuple[Mapping[Path, Stack], Mapping[Path, str]]


def _name(split: Split, tensors: Tensors, config: Config | None, architecture: str | None) -> _Work:
    """Name everything in names that are split into layer lists and the rest."""
    stacks, counted = _counted_from_zero(split[0])
    loose = dict(split[1])
    shapes = {name: info.shape for name, info in tensors.items()}
    clues = Clues(shapes, list(loose), config, architecture)
    towers = raise_towers(stacks.values(), tensors, clues)
    add_copies(towers, stacks, tensors, shapes, config)
    used = {tower.stack.container for tower in towers}
    for container, stack in stacks.items():
        if container in used:
            continue
        tower = recovered(stack, tensors, clues)
        if tower is not None:
            towers.append(tower)
        else:
            loose |= {path_of(name): name for layer in stack.layers.values() for name in layer.values()}
    towers = [completed(tower, tensors, clues) for tower in towers]
    towers = in_order(towers, config)
    rivals = contested(towers, config)
    notes = [of_rivals(rivals)] if rivals else []
    work = _placed(_Work(tensors, towers, loose, inferences=notes, contested=rivals), clues)
    for tower in work.towers:
        if tower.stack.container in counted:
            tower.notes.append(Inference("layers are counted from 0", "the names count them from 1"))
    return work


def _placed(work: _Work, clues: Clues) -> _Work:
    work.config = config = clues.config
    read = [as_loaded(tower, work.tensors, clues) for tower in work.towers]
    work.towers = [as_dense(loaded.tower) for loaded in read]
    for loaded in read:
        component = loaded.tower.component
        work.beyond |= {component: loaded.beyond} if loaded.beyond else {}
        work.unread |= {component: loaded.unread} if loaded.unread else {}
        names = take_disputed(loaded.tower)
        work.disputed |= {component: names} if names else {}
    if work.towers:
        _note_family(work, config)
        _place_loose(work)
    return work


def _by_order(tensors: Tensors, config: Config | None, architecture: str | None) -> _Work:
    """Read a list of names that say nothing by the order of its shapes."""
    from filiation.anatomy.recover import recover_flat

    shapes = {name: info.shape for name, info in tensors.items()}
    clues = Clues(shapes, [], config, architecture)
    flat = recover_flat(tensors, clues)
    return _Work(tensors, [], {}) if flat is None else _placed(_Work(tensors, [flat[0]], flat[1]), clues)


def _counted_from_zero(stacks: Mapping[Path, Stack]) -> tuple[Mapping[Path, Stack], frozenset[Path]]:
    """Return the stacks, those that count from 1 counted from 0, and which these are."""
    if not any(1 in stack.layers and 0 not in stack.layers for stack in stacks.values()):
        return stacks, frozenset()
    from filiation.anatomy.spellings import from_zero

    changed = {container: new for container, stack in stacks.items() if (new := from_zero(stack))}
    return {**stacks, **changed}, frozenset(changed)


def _note_family(work: _Work, config: Config | None) -> None:
    if work.towers and work.towers[0].known and config is None:
        what = f"family {work.towers[0].family.name}"
        work.inferences.append(Inference(what, "no config: the table that explains most of the names"))


def _nothing(checkpoint: Checkpoint) -> UnknownAnatomyError:
    names = list(checkpoint.tensors)
    example = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
    stacks, _ = find_stacks(names)
    repeated = sorted(".".join(stack.container) for stack in stacks.values() if len(stack.layers) > 1)
    missing = (
        f"what repeats (under {', '.join(repeated[:3])}) has no feed-forward matrices that read and write one stream"
        if repeated
        else "nothing in their names or shapes repeats as layers do"
    )
    return UnknownAnatomyError(
        "The parts of this model could not be named.",
        file=checkpoint.locator,
        reason=f"None of its {len(names)} tensors ({example}) fits a known family, and {missing}.",
        next_step="Add a config.json, or a table for this family in anatomy/families.",
    )


def _place_loose(work: _Work) -> None:
    """Give every tensor outside the layer lists to the tower whose root is nearest above it."""
    claims: dict[str, list[Claim]] = {tower.component: [] for tower in work.towers}
    for path, name in list(work.loose.items()):
        tower, hit, depth = _owner(work, path)
        if tower is not None and hit is not None:
            claims[tower.component].append(Claim(path, name, hit, depth))
        elif component_of(path) == "projector":
            work.projector.append(Found(work.tensors[name], projector_hit(path), None))
        else:
            continue
        del work.loose[path]
    for tower in work.towers:
        _take_claims(work, tower, claims[tower.component])
    if work.loose:
        _infer_loose(work)
    for tower in work.towers:
        work.unnamed += tower.stray.values()
        work.rename_map |= tower.renames
    work.unnamed += work.loose.values()


def _take_claims(work: _Work, tower: Tower, claims: list[Claim]) -> None:
    is_gguf = tower.family.container.split(".")[-1] == "blk"
    unread = unread_beside(tower, claims, is_gguf=is_gguf)
    tower.found += [Found(work.tensors[c.name], c.hit, None) for c in claims if c.name not in unread]
    if unread:
        work.unread[tower.component] = (*work.unread.get(tower.component, ()), *unread)
        tower.notes.append(told(unread, tower.component))


def _infer_loose(work: _Work) -> None:
    """Infer what stands outside the layers and has no name that a table knows."""
    from filiation.anatomy.beside import place_beside
    from filiation.anatomy.recover import fill

    shapes = {name: info.shape for name, info in work.tensors.items()}
    for tower in work.towers:
        fill(tower, work.loose, work.tensors, shapes)
    first = work.towers[0]
    if work.loose and not any(f.hit.rule.roles == ("embedding",) for f in first.found):
        work.unnamed += take_misshapen(first, is_read=True)
        sizes, settings = measure(first)
        place_beside(first, work.loose, work.tensors, sizes.d_model, settings)


def _owner(work: _Work, path: Path) -> tuple[Tower | None, Hit | None, int]:
    choices = [
        (depth, tower) for tower in work.towers for depth in range(shared_depth(path, tower.root), -1, -1)
    ]
    choices.sort(key=lambda choice: -choice[0])
    for depth, tower in choices:
        hit = tower.family.beside.find(path[depth:])
        if hit is not None:
            return tower, hit, depth
    return None, None, 0


def _assemble(checkpoint: Checkpoint, work: _Work) -> Anatomy:
    geometry: dict[str, Geometry] = {}
    rulings: dict[str, tuple[Ruling, ...]] = {}
    parts: list[Part] = []
    spare: list[str] = []
    for tower, is_further, sizes, settings, own in _taken_apart(work):
        for name, its_sizes, its_parts in _without_drafts(tower, own, sizes):
            geometry[name] = its_sizes
            spare += [name] if kind_of(name) == DRAFT or is_further else []
            shared = _shares_residual(name, work)
            rulings[name] = rule_on(_case(tower, work.tensors, its_sizes, settings, its_parts, shared))
            parts += its_parts
        work.inferences += tower.notes
    if work.projector:
        parts += projector_parts(work.projector)
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
        spare=tuple(spare),
        contested=work.contested,
        continues={c: other for c in geometry if (other := _shares_residual(c, work))},
        beyond=work.beyond,
        unread=work.unread,
        disputed=work.disputed,
    )


def _taken_apart(work: _Work) -> list[tuple[Tower, bool, Geometry, Settings, list[Part]]]:
    """Return each tower with whether it is a further one, its sizes, its settings and its parts.

    Raises:
        CorruptCheckpointError: a tower that loaders read contradicts itself or the config; others are left out.
    """
    apart: list[tuple[Tower, bool, Geometry, Settings, list[Part]]] = []
    for tower in work.towers:
        is_further = tower.component not in work.contested and is_spare(tower, work.towers, work.config)
        try:
            apart.append((tower, is_further, *_parts_of(tower, work, is_read=not is_further)))
        except CorruptCheckpointError as error:
            if not is_further or tower is work.towers[0]:
                raise
            work.unnamed += left_out(tower, error)
            work.inferences += tower.notes
    work.towers = [tower for tower, *_ in apart]
    return apart


def _parts_of(tower: Tower, work: _Work, *, is_read: bool) -> tuple[Geometry, Settings, list[Part]]:
    is_read = is_read and ":" not in tower.component
    work.unnamed += take_misshapen(tower, is_read=is_read)
    sizes, settings = _measured(tower)
    splitter = Splitter(tower.component, tower.family, sizes, tower.notes, _is_narrow(tower))
    own = _unique([part for found in tower.found for part in splitter.parts(found)], sizes, tower)
    own, unfitting = take_unfitting(own, tower, work.tensors, is_read=is_read)
    work.unnamed += unfitting
    return sizes, settings, own


def _measured(tower: Tower) -> tuple[Geometry, Settings]:
    """Measure a tower; a further one of its kind need not have the sizes that the config gives for the first.

    Raises:
        CorruptCheckpointError: a tensor of the first tower of a kind contradicts the config.
    """
    try:
        return measure(tower)
    except CorruptCheckpointError:
        if ":" not in tower.component:
            raise
        tower.config = {}
        return measure(tower)


def _case(
    tower: Tower, tensors: Tensors, sizes: Geometry, settings: Settings, parts: list[Part], shared: str | None
) -> Case:
    stray = [
        tensors[name].shape
        for (_, path), name in tower.stray.items()
        if stem(mask(path)) not in tower.understood
    ]
    return Case(
        family=tower.family,
        geometry=sizes,
        settings=settings,
        parts=parts,
        shares_residual_with=shared,
        uncertain=frozenset(tower.uncertain),
        norm_known=tower.norm_known,
        has_config=bool(tower.config),
        positions_known=tower.positions_known or any(part.role == "position" for part in parts),
        unexplained=not tower.known and any(sizes.d_model in shape for shape in stray),
    )


def _without_drafts(
    tower: Tower, parts: list[Part], sizes: Geometry
) -> Iterator[tuple[str, Geometry, list[Part]]]:
    drafts = sorted({p.layer for p in parts if p.layer is not None and p.role.startswith(f"{DRAFT}.")})
    moved = [p for p in parts if p.layer in drafts]
    yield tower.component, sizes, [p for p in parts if p.layer is None or p.layer not in drafts]
    if moved:
        name = DRAFT + "".join(tower.component.partition(":")[1:])
        moved = [replace(p, component=name) for p in moved]
        yield name, replace(sizes, n_layers=len(drafts), vocab=None), moved


def _shares_residual(component: str, work: _Work) -> str | None:
    """T5's encoder reads its decoder's embedding; a draft layer continues the model's own residual stream."""
    first = work.towers[0].component
    kind, *suffix = component.partition(":")
    if kind != DRAFT and (kind != "encoder" or first == kind):
        return None
    beside = "".join((first, *suffix))
    return beside if any(tower.component == beside for tower in work.towers) else first


def _is_narrow(tower: Tower) -> bool:
    return any(found.hit.rule.roles == ("embedding_in",) for found in tower.found)


def _unique(parts: list[Part], sizes: Geometry, tower: Tower) -> list[Part]:
    """Keep one part of each role and place; a tied head that is stored as well is the embedding again."""
    kept: dict[tuple[str, int | None, int | None], Part] = {}
    for part in parts:
        if part.role == "head" and sizes.tied_embeddings:
            tower.notes.append(
                Inference(f"{part.tensor} is the embedding", "the config ties them: counted once")
            )
            part = replace(part, role="tied_head")
        key = (part.role, part.layer, part.expert)
        number = 1
        while key in kept:
            number += 1
            key = (f"{part.role}~{number}", part.layer, part.expert)
        kept[key] = part if key[0] == part.role else replace(part, role=key[0])
    return list(kept.values())
