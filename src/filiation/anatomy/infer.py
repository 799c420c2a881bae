"""Roles from shapes, order and resemblance, where no table knows the names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filiation.anatomy.hints import BY_ORDER, Kind, Shape, arrange, resemblance
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack, stem
from filiation.anatomy.tables import LEAVES, Family, Path, Rule, mask

_CORE = ("attn_norm", "q", "k", "v", "o", "ffn_norm", "gate", "up", "down")


@dataclass
class Guess:
    """What was inferred of a layer: stem (numbers masked) -> rule, and how.

    ``uncertain`` are the roles told apart by stored order alone: a symmetry that rests on them is not used.
    """

    rules: dict[Path, Rule] = field(default_factory=dict[Path, Rule])
    uncertain: set[str] = field(default_factory=set[str])
    notes: list[Inference] = field(default_factory=list[Inference])

    def take(self, found: tuple[dict[Path, str], str] | None, what: str, transpose: bool = False) -> bool:
        """Add roles, or a note that they could not be told apart."""
        if found is None:
            self.notes.append(
                Inference(f"{what} not told apart", "equal shapes, names and order say nothing")
            )
            return False
        roles, basis = found
        if basis == BY_ORDER:
            self.uncertain |= set(roles.values())
        for path, role in roles.items():
            self.rules[path] = Rule((role,), transpose=transpose)
            self.notes.append(Inference(f"{'.'.join(path)} is {role}", basis))
        return True


def kinds_of(stack: Stack, shapes: Mapping[str, Shape]) -> list[Kind]:
    """Return every kind of tensor in a layer of ``stack``, weights and biases joined."""
    weights: dict[Path, Shape] = {}
    biases: dict[Path, Shape] = {}
    places: dict[Path, int] = {}
    for place, (kind, (_, name)) in enumerate(stack.examples.items()):
        base = stem(kind)
        is_bias = len(base) < len(kind) and LEAVES[kind[-1]] == ".bias"
        (biases if is_bias else weights)[base] = shapes[name]
        places.setdefault(base, place)
    return [Kind(base, weights.get(base), biases.get(base), place) for base, place in places.items()]


def infer_missing(stack: Stack, shapes: Mapping[str, Shape], family: Family) -> Guess:
    """Give the names that ``family`` does not know the roles it has not found, where their shapes allow."""
    guess = Guess()
    kinds = kinds_of(stack, shapes)
    found: dict[str, Shape] = {}
    unknown: list[Kind] = []
    for kind in kinds:
        hit = family.inside.find((*kind.stem, "weight"))
        if hit is None:
            unknown.append(kind)
        elif kind.weight and len(hit.rule.roles) == 1:
            found[hit.rule.roles[0]] = kind.weight[::-1] if hit.rule.transpose else kind.weight
        elif hit.rule.roles:
            found |= dict.fromkeys(hit.rule.roles, ())
    width = _residual(found)
    if width and not {"gate", "up", "down"} & set(found):
        ffn = _ffn([k for k in unknown if k.weight and len(k.weight) == 2], width)
        if ffn is not None:
            _take_ffn(guess, ffn, "the FFN")
            unknown = [k for k in unknown if k.stem not in guess.rules]
    wanted = _expected(found, family)
    by_shape: dict[Shape, list[Kind]] = defaultdict(list)
    for kind in unknown:
        if kind.weight is not None and "#" not in kind.stem:
            by_shape[kind.weight].append(kind)
    for shape, same in sorted(by_shape.items()):
        roles = [role for role, expected in wanted.items() if expected == shape]
        if roles and len(same) <= len(roles):
            guess.take(arrange(same, roles), ", ".join(roles))
    return guess


def _expected(found: Mapping[str, Shape], family: Family) -> dict[str, Shape]:
    """The shapes of the roles that are still missing, from their siblings."""
    known = {role for rule in _rules(family) for role in rule.roles}
    width = _residual(found)
    siblings = {"gate": "up", "up": "gate", "k": "v", "v": "k"}
    mirrors = {"q": "o", "o": "q", "down": "up", "up": "down", "gate": "down"}
    wanted: dict[str, Shape] = {}
    for role in _CORE:
        if role in found or role not in known or (role == "gate" and not family.kinds.gated):
            continue
        if role.endswith("_norm") and width:
            wanted[role] = (width,)
        elif siblings.get(role) in found:
            wanted[role] = found[siblings[role]]
        elif mirrors.get(role) in found:
            wanted[role] = found[mirrors[role]][::-1]
    return wanted


def _rules(family: Family) -> list[Rule]:
    return [entry if isinstance(entry, Rule) else Rule((entry,)) for entry in family.layer.values()]


def _residual(found: Mapping[str, Shape]) -> int | None:
    sizes = [
        shape[1] for role, shape in found.items() if role in ("q", "k", "v", "up", "gate") and len(shape) == 2
    ]
    sizes += [shape[0] for role, shape in found.items() if role in ("o", "down") and len(shape) == 2]
    return Counter(sizes).most_common(1)[0][0] if sizes else None


def infer_layer(kinds: Sequence[Kind]) -> Guess:
    """Infer every role of a layer of unknown names, from shapes first, then resemblance, then order."""
    guess = Guess()
    width = _width(kinds)
    if width is None:
        return guess
    matrices = [k for k in kinds if k.weight and len(k.weight) == 2 and "#" not in k.stem]
    routed = [k for k in kinds if k.weight and len(k.weight) == 2 and "#" in k.stem]
    transpose = False
    for group, what in ((matrices, "the FFN"), (routed, "the experts")):
        ffn = _ffn(group, width)
        if ffn is not None:
            transpose = _take_ffn(guess, ffn, what)
    rest = [k for k in matrices if k.stem not in guess.rules]
    if routed:
        rest = _take_router(guess, rest, routed, width)
    _attention(guess, rest, width, transpose)
    _norms(guess, kinds, width)
    return guess


def _width(kinds: Sequence[Kind]) -> int | None:
    """The size that every matrix shares is the residual stream's."""
    votes: Counter[int] = Counter()
    for kind in kinds:
        if kind.weight and len(kind.weight) == 2:
            votes.update(set(kind.weight))
    if not votes:
        return None
    top = max(votes.values())
    widths = [size for size, count in votes.items() if count == top]
    gains = Counter(k.weight[0] for k in kinds if k.weight and len(k.weight) == 1)
    return max(widths, key=lambda size: (gains[size], -size))


@dataclass(frozen=True, slots=True)
class _Ffn:
    readers: tuple[Kind, ...]
    writer: Kind
    transpose: bool
    fused: bool = False


def _ffn(matrices: Sequence[Kind], width: int) -> _Ffn | None:
    """Find matrices between the residual stream and the widest hidden size that is both read into and out of."""
    into: dict[int, list[Kind]] = defaultdict(list)
    out: dict[int, list[Kind]] = defaultdict(list)
    for kind in matrices:
        assert kind.weight is not None
        rows, columns = kind.weight
        if rows != width and columns == width:
            into[rows].append(kind)
        elif columns != width and rows == width:
            out[columns].append(kind)
    for size in sorted({*into, *out}, reverse=True):
        a, b = into.get(size, []), out.get(size, [])
        if len(a) == 2 and len(b) == 1:
            return _Ffn(tuple(a), b[0], False)
        if len(a) == 1 and len(b) == 2:
            return _Ffn(tuple(b), a[0], True)
        if len(a) == 1 and len(b) == 1 and not _looks_like_attention(a[0], b[0]):
            return _ungated(a[0], b[0])
        if not b and len(a) == 1 and size % 2 == 0 and len(out.get(size // 2, [])) == 1:
            return _Ffn((a[0],), out[size // 2][0], False, fused=True)
    return None


def _looks_like_attention(a: Kind, b: Kind) -> bool:
    return resemblance(a.stem, "q") > resemblance(a.stem, "up") and resemblance(b.stem, "o") > 0


def _ungated(tall: Kind, wide: Kind) -> _Ffn:
    """One matrix each way: names, else order, say which reads; a tall reader is stored ``[out, in]``."""
    straight = resemblance(tall.stem, "up") + resemblance(wide.stem, "down")
    turned = resemblance(wide.stem, "up") + resemblance(tall.stem, "down")
    if turned > straight or (turned == straight and wide.place < tall.place):
        return _Ffn((wide,), tall, True)
    return _Ffn((tall,), wide, False)


def _take_ffn(guess: Guess, ffn: _Ffn, what: str) -> bool:
    basis = f"shapes of {what}"
    guess.rules[ffn.writer.stem] = Rule(("down",), transpose=ffn.transpose)
    guess.notes.append(Inference(f"{'.'.join(ffn.writer.stem)} is down", basis))
    if len(ffn.readers) == 1:
        roles = ("gate", "up") if ffn.fused else ("up",)
        guess.uncertain |= set(roles) if ffn.fused else set()
        guess.rules[ffn.readers[0].stem] = Rule(roles, transpose=ffn.transpose)
        guess.notes.append(Inference(f"{'.'.join(ffn.readers[0].stem)} is {' and '.join(roles)}", basis))
    else:
        guess.take(arrange(ffn.readers, ("gate", "up")), "gate and up", ffn.transpose)
    return ffn.transpose


def _take_router(guess: Guess, rest: list[Kind], routed: Sequence[Kind], width: int) -> list[Kind]:
    """The smallest reader beside experts picks them."""
    readers = [k for k in rest if k.weight and k.weight[1] == width and k.weight[0] < width]
    small = min(readers, key=lambda k: (k.weight or (0,))[0], default=None)
    if small is None or sum(k.weight == small.weight for k in readers) != 1 or not routed:
        return rest
    guess.rules[small.stem] = Rule(("router",))
    guess.notes.append(Inference(f"{'.'.join(small.stem)} is router", "the smallest reader beside experts"))
    return [k for k in rest if k is not small]


def _attention(guess: Guess, rest: Sequence[Kind], width: int, transpose: bool) -> None:
    shaped = {k.stem: (k.weight[::-1] if transpose else k.weight) for k in rest if k.weight}
    if len(rest) == 2:
        fused = [k for k in rest if shaped[k.stem][0] > width and shaped[k.stem][1] == width]
        writers = [k for k in rest if shaped[k.stem][0] == width and k not in fused]
        if len(fused) == 1 and len(writers) == 1:
            guess.rules[fused[0].stem] = Rule(("q", "k", "v"), transpose=transpose)
            guess.rules[writers[0].stem] = Rule(("o",), transpose=transpose)
            basis = "shapes; rows taken to be all queries, then keys, then values"
            guess.notes.append(Inference(f"{'.'.join(fused[0].stem)} is q, k, v", basis))
            guess.uncertain |= {"q", "k", "v"}
        return
    if len(rest) != 4:
        return
    groups: dict[Shape, list[Kind]] = defaultdict(list)
    for kind in rest:
        groups[shaped[kind.stem]].append(kind)
    if len(groups) == 1:
        guess.take(arrange(rest, ("q", "k", "v", "o")), "q, k, v and o", transpose)
        return
    for shape, same in sorted(groups.items()):
        if len(same) == 2 and shape[1] == width and shape[0] < width:
            guess.take(arrange(same, ("k", "v")), "k and v", transpose)
        elif len(same) == 2 and shape == (width, width):
            guess.take(arrange(same, ("q", "o")), "q and o", transpose)
        elif len(same) == 1:
            role = "q" if shape[1] == width and shape[0] != width else "o"
            guess.take(({same[0].stem: role}, "the only part of its shape"), role, transpose)


def _norms(guess: Guess, kinds: Sequence[Kind], width: int) -> None:
    gains = [k for k in kinds if k.weight == (width,)]
    roles = {
        1: ("attn_norm",),
        2: ("attn_norm", "ffn_norm"),
        4: ("attn_norm", "post_attn_norm", "ffn_norm", "post_ffn_norm"),
    }
    if len(gains) in roles:
        guess.take(arrange(gains, roles[len(gains)]), "the norms")
    short = [k for k in kinds if k.weight and len(k.weight) == 1 and k.weight[0] < width]
    if len(short) == 2 and short[0].weight == short[1].weight:
        guess.take(arrange(short, ("q_norm", "k_norm")), "q_norm and k_norm")


def spelled(path: Path) -> str:
    """Return a masked stem as a table spells it."""
    return ".".join(path).replace("#", "{E}")


def masked(name: str) -> Path:
    """Return a table's spelling as a masked stem."""
    return mask(tuple(name.replace("{E}", "0").split(".")))
