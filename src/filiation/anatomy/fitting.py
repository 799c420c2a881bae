"""Whether the matrices of a layer fit one another; a layer of which they do not cannot be run.

Where other layers show what the sizes should be, the file is damaged and refused. Where no layer fits, the matrices
are not what their names suggest, in a design that no table knows: they are left without a name. So are those of a
further tower, which no loader reads. Sizes that differ from layer to layer are as good as others.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from filiation.anatomy.model import Inference, Part
from filiation.anatomy.towers import Found, Tower
from filiation.checkpoint.model import TensorInfo
from filiation.errors import CorruptCheckpointError

_NETWORK = ("gate", "up", "down", "ffn_sub_norm")
_ATTENTION = ("q", "k", "v", "o")
_LATENT = ("q_a", "q_b", "kv_a", "kv_b")
_GROUPS = {
    "feed-forward network": _NETWORK,
    "shared expert": tuple(f"shared.{role}" for role in _NETWORK[:3]),
    "attention": _ATTENTION,
    "latent vectors": _LATENT,
    "cross attention": tuple(f"cross.{role}" for role in _ATTENTION),
}
_GROUP_OF = {role: group for group, roles in _GROUPS.items() for role in roles}
_BY_COLUMN = ("down", "o", "q_b", "kv_b")
"""Matrices whose columns, not rows, are the units that they share with others of their group."""
_FLAT = ("embedding", "head", "router")
"""Further roles of matrices with two axes."""
_NORMS = ("ffn_sub_norm",)

_Kind = tuple[str, bool]
"""What a group of matrices is, and whether it is one of several experts."""
_Place = tuple[_Kind, int | None, int | None]
_Group = Mapping[str, Part]


def take_misshapen(tower: Tower, *, is_read: bool) -> tuple[str, ...]:
    """Take out of a tower what cannot be the matrix or bias that its name says, by its number of axes; name it.

    ``is_read`` says whether loaders read the tower.

    Raises:
        CorruptCheckpointError: others of its kind have the right number of axes, or it holds no values.
    """
    alike: dict[tuple[tuple[str, ...], bool, bool], list[Found]] = defaultdict(list)
    for found in tower.found:
        if {*found.hit.rule.roles} & _TWO_AXES:
            alike[found.hit.rule.roles, found.hit.bias, found.layer is None].append(found)
    gone: set[str] = set()
    for same in alike.values():
        odd = [found for found in same if _is_misshapen(found)]
        damaged = next((found for found in odd if len(odd) < len(same) or 0 in found.info.shape), None)
        if damaged is not None and is_read:
            raise _misshapen(damaged)
        gone |= {found.info.name for found in odd}
    if not gone:
        return ()
    names = tuple(found.info.name for found in tower.found if found.info.name in gone)
    tower.found = [found for found in tower.found if found.info.name not in gone]
    tower.notes.append(_left(names, tower, "their numbers of axes are not those of what their names say"))
    return names


_TWO_AXES = frozenset((*_GROUP_OF, *_FLAT)) - {*_NORMS}


def _is_misshapen(found: Found) -> bool:
    shape = found.info.shape
    return len(shape) != (1 if found.hit.bias else 2) + found.hit.rule.stacked or 0 in shape


def _misshapen(found: Found) -> CorruptCheckpointError:
    shape, wanted = found.info.shape, (1 if found.hit.bias else 2) + found.hit.rule.stacked
    what = f"It has {len(shape)} axes, and a tensor of this name {wanted}"
    what = "It holds no values" if 0 in shape else what
    return CorruptCheckpointError(
        "A tensor's shape is not one that its layer can have.",
        file=found.info.file,
        tensor=found.info.name,
        reason=f"{what} (shape {list(shape)}).",
        next_step=_NEXT,
    )


_NEXT = "Re-download the file and compare its SHA-256 with the publisher's: no program can run such a layer."


def take_unfitting(
    parts: list[Part], tower: Tower, tensors: Mapping[str, TensorInfo], *, is_read: bool
) -> tuple[list[Part], tuple[str, ...]]:
    """Return the parts without the groups of matrices that do not fit one another, and the tensors left without one.

    ``is_read`` says whether loaders read the tower.

    Raises:
        CorruptCheckpointError: other layers' fit; the message names the tensor that is unlike the other layers'.
    """
    groups: dict[_Place, dict[str, Part]] = defaultdict(dict)
    for part in parts:
        group = _GROUP_OF.get(part.role.removesuffix(".bias"))
        if group is not None:
            groups[(group, part.expert is not None), part.layer, part.expert][part.role] = part
    odd = {place: group for place, group in groups.items() if not _fits(group)}
    if not odd:
        return parts, ()
    whole = {place[0] for place, group in groups.items() if place not in odd and _is_whole(place[0], group)}
    damaged = next((place for place in odd if place[0] in whole), None)
    if damaged is not None and is_read:
        raise _unfitting(damaged, groups, tensors)
    gone = {id(part) for group in odd.values() for part in group.values()}
    kept = [part for part in parts if id(part) not in gone]
    still = {part.tensor for part in kept}
    names = tuple(dict.fromkeys(p.tensor for p in parts if id(p) in gone and p.tensor not in still))
    if names:
        tower.notes.append(_left(names, tower, "the sizes of matrices of one layer do not fit one another"))
    return kept, names


def _fits(group: _Group) -> bool:
    """Whether the matrices of one network, or of one attention, can be run together."""
    for role, part in group.items():
        matrix = group.get(role.removesuffix(".bias"))
        if role.endswith(".bias") and matrix is not None and part.shape[:1] != matrix.shape[:1]:
            return False
    sizes = {role.rpartition(".")[2]: _units(role, part) for role, part in _matrices(group).items()}
    for roles, may_be in ((_ATTENTION, _are_heads), (_LATENT, _are_latents)):
        of_these = tuple(sizes.get(role) for role in roles)
        if any(of_these):
            return may_be(*of_these)
    return len({*sizes.values()}) <= 1


def _matrices(group: _Group) -> _Group:
    return {role: part for role, part in group.items() if not role.endswith(".bias")}


def _units(role: str, part: Part) -> int:
    """Return how many neurons, or channels of heads, a matrix reads or writes."""
    return part.shape[1 if role.rpartition(".")[2] in _BY_COLUMN else 0]


def _are_heads(q: int | None, k: int | None, v: int | None, o: int | None) -> bool:
    """Whether these many channels are heads, some of which may share their keys and values.

    Value heads may have another length than query heads, and queries may come with gates (then all are longer).
    """
    sharing = (q, k), (o, v)
    if any(many is not None and few is not None and many % few for many, few in sharing):
        return False
    if q is None or k is None or v is None or o is None:
        return True
    return (q // k) % (o // v) == 0 if k == v else q // k == o // v


def _are_latents(q_a: int | None, q_b: int | None, kv_a: int | None, kv_b: int | None) -> bool:
    """Whether what is compressed is what is widened again; keys have channels of their position beside it."""
    return (q_a is None or q_b is None or q_a == q_b) and (kv_a is None or kv_b is None or kv_a >= kv_b)


def _is_whole(kind: _Kind, group: _Group) -> bool:
    return len(_matrices(group)) >= (4 if "attention" in kind[0] else 2)


def _unfitting(
    place: _Place, groups: Mapping[_Place, _Group], tensors: Mapping[str, TensorInfo]
) -> CorruptCheckpointError:
    kind = place[0]
    usual = Counter(
        (role, p.shape) for at, group in groups.items() if at[0] == kind for role, p in group.items()
    )
    group = groups[place]
    role = min(group, key=lambda role: usual[role, group[role].shape])
    sizes = ", ".join(f"{role} {_units(role, part)}" for role, part in sorted(group.items()))
    tensor = group[role].tensor
    return CorruptCheckpointError(
        f"The matrices of one layer's {kind[0]} do not fit one another.",
        file=tensors[tensor].file,
        tensor=tensor,
        reason=f"Their numbers of {'neurons' if tuple(_GROUPS).index(kind[0]) < 2 else 'channels'} are {sizes} "
        f"(this tensor's shape is {list(tensors[tensor].shape)}); those of other layers fit.",
        next_step=_NEXT,
    )


def left_out(tower: Tower, why: CorruptCheckpointError) -> tuple[str, ...]:
    """Name what a tower holds that no loader reads and that contradicts itself, and note why it is left out."""
    names = tuple(dict.fromkeys(found.info.name for found in tower.found))
    tower.notes.append(_left(names, tower, f"no loader reads it; {why.message} {why.reason}"))
    return names


def _left(names: Sequence[str], tower: Tower, why: str) -> Inference:
    return Inference(f"{len(names)} tensors of {tower.component} left without a name", f"{why}: {names[0]}")
