"""Roles from shapes, order and resemblance, where no table knows the names."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from filiation.anatomy.hints import Kind, Score, Settled, Shape, resemblance, settle, telling
from filiation.anatomy.kinds import kinds_of
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack
from filiation.anatomy.plans import Chosen, Facts, choose, ffn_plans, may_be_attention, plans, spoken
from filiation.anatomy.rulings import FUSED_FFN, FUSED_QKV
from filiation.anatomy.tables import Family, Path, Rule, mask, shared_depth

_CORE = ("attn_norm", "q", "k", "v", "o", "ffn_norm", "gate", "up", "down")
_PLAIN = Rule(())


@dataclass
class Guess:
    """What was inferred of a layer: stem (numbers masked) -> rule, and how.

    ``uncertain`` are the roles that leaning words or the stored order told apart: a symmetry that rests on them is
    not used. ``understood`` are the stems of parts whose kind is known, though not which of them is which.
    ``complete`` says whether every matrix of the layer was explained.
    """

    rules: dict[Path, Rule] = field(default_factory=dict[Path, Rule])
    uncertain: set[str] = field(default_factory=set[str])
    understood: set[Path] = field(default_factory=set[Path])
    notes: list[Inference] = field(default_factory=list[Inference])
    complete: bool = False

    def add(self, path: Path, rule: Rule, basis: str) -> None:
        """Add one rule and say from what it was inferred."""
        self.rules[path] = rule
        self.notes.append(Inference(f"{'.'.join(path)} is {' and '.join(rule.roles)}", basis))

    def take(
        self, settled: Settled, like: Rule = _PLAIN, fused: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        """Add what was told apart, and say what was not.

        Args:
            settled: which kind is which role.
            like: how all of them are stored.
            fused: role -> the roles that are stored as one with it.
        """
        self.uncertain |= settled.uncertain
        for path, role in settled.roles.items():
            roles = (fused or {}).get(role, (role,))
            self.add(path, replace(like, roles=roles), settled.bases[path])
        if settled.open:
            names = ", ".join(".".join(kind.stem) for kind in settled.open)
            what = f"{' and '.join(settled.left)} not told apart: {names}"
            self.notes.append(Inference(what, "equal shapes, names and order say nothing"))


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
        matrices = [k for k in unknown if k.weight and len(k.weight) == 2 and "#" not in k.stem]
        ffn = _ffn_alone(matrices, width, heads_elsewhere={"q", "o"} <= set(found))
        if ffn is not None:
            _take_ffn(guess, *ffn)
            unknown = [k for k in unknown if k.stem not in guess.rules]
    wanted = _expected(found, family)
    by_shape: dict[Shape, list[Kind]] = defaultdict(list)
    for kind in unknown:
        if kind.weight is not None and "#" not in kind.stem:
            by_shape[kind.weight].append(kind)
    for shape, same in sorted(by_shape.items()):
        roles = [role for role, expected in wanted.items() if expected == shape]
        if roles and len(same) <= len(roles):
            _take_group(guess, same, [(role,) for role in roles], _PLAIN)
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


def infer_layer(kinds: Sequence[Kind], facts: Facts) -> Guess:
    """Infer every role of a layer of unknown names, from shapes first, then resemblance, then order."""
    guess = Guess()
    width = _width(kinds, facts.d_model)
    if width is None:
        return guess
    matrices = [k for k in kinds if k.weight and len(k.weight) == 2 and width in k.weight]
    plain = [k for k in matrices if "#" not in k.stem]
    _experts(guess, kinds, width)
    chosen = choose(plans(plain, width, facts), plain)
    if chosen is not None:
        guess.complete = True
        _take_plan(guess, chosen, plain)
    elif (ffn := _ffn_alone(plain, width)) is not None:
        _take_ffn(guess, *ffn)
    _norms(guess, kinds, width)
    return guess


def _width(kinds: Sequence[Kind], said: int | None) -> int | None:
    """The size that every matrix shares is the residual stream's; None where nothing tells it from another."""
    votes: Counter[int] = Counter()
    for kind in kinds:
        if kind.weight and len(kind.weight) in (2, 3):
            votes.update(set(kind.weight[-2:]))
    top = max(votes.values(), default=0)
    widths = [size for size, count in votes.items() if count == top]
    if said in widths:
        return said
    gains = Counter(k.weight[0] for k in kinds if k.weight and len(k.weight) == 1)
    widths = [size for size in widths if gains[size] == max(gains[other] for other in widths)]
    return widths[0] if len(widths) == 1 else None


_UNITS = {"q": "attention", "k": "attention", "v": "attention", "o": "attention", "router": "router"}
"""Role -> what its rows or columns count, where that is not neurons."""


def _units(role: str) -> str:
    return _UNITS.get(role, role.rpartition(".")[0])


def _take_plan(guess: Guess, chosen: Chosen, kinds: Sequence[Kind]) -> None:
    plan = chosen.plan
    for same, wanted in plan.groups(kinds):
        if not all(kind.stem in chosen.agreed for kind in same):
            names = ", ".join(".".join(kind.stem) for kind in same)
            guess.notes.append(Inference(f"{names} not named", "shapes allow several readings"))
            continue
        guess.understood |= {kind.stem for kind in same}
        _take_group(guess, same, wanted, Rule((), transpose=plan.transpose))
    if chosen.turned:
        guess.uncertain |= {"q", "k", "v", "o"}
        way = "[in, out]" if plan.transpose else "[out, in]"
        guess.notes.append(
            Inference(f"matrices are stored {way}", "resemblance or order of up and down alone")
        )


def _take_group(guess: Guess, same: Sequence[Kind], wanted: Sequence[tuple[str, ...]], rule: Rule) -> None:
    """Tell the parts of one shape apart."""
    fused = {spoken(roles): roles for roles in wanted}
    settled = settle(same, list(fused))
    if len({_units(role) for role in fused}) > 1:
        _forget_uncertain(settled, same)
    if set(settled.left) == {"gate", "up"} and len(settled.open) == 2:
        _in_stored_order(settled)
    guess.take(settled, rule, fused)
    for roles in wanted:
        if len(roles) > 1:
            _note_fused(guess, roles)


def _forget_uncertain(settled: Settled, kinds: Sequence[Kind]) -> None:
    """Parts with other units (heads, neurons, experts) are told apart by shapes and telling words or not at all."""
    for kind in kinds:
        role = settled.roles.get(kind.stem)
        if role in settled.uncertain:
            del settled.roles[kind.stem]
            settled.open.append(kind)
            settled.left.append(role)
    settled.uncertain.clear()


def _in_stored_order(settled: Settled) -> None:
    """Take gate before up where nothing tells: their neurons are the same, so only the sign test must do without."""
    for kind, role in zip(settled.open, ("gate", "up"), strict=True):
        settled.take(kind, role, "taken in stored order; nothing tells it from the other", certain=False)
    settled.open, settled.left = [], []


def _note_fused(guess: Guess, roles: tuple[str, ...]) -> None:
    is_qkv = "q" in roles
    guess.uncertain |= {*roles, FUSED_QKV if is_qkv else FUSED_FFN}
    order = "all queries, then keys, then values" if is_qkv else "all of the gate, then all of up"
    guess.notes.append(
        Inference(f"rows of {', '.join(roles)}: {order}", "assumed; most models store them so")
    )


def _experts(guess: Guess, kinds: Sequence[Kind], width: int) -> None:
    """Infer the feed-forward networks of experts, numbered or stacked along a leading axis."""
    numbered = [k for k in kinds if k.weight and len(k.weight) == 2 and "#" in k.stem]
    stacked = [k for k in kinds if k.weight and len(k.weight) == 3]
    for group, rule in ((numbered, Rule(())), (stacked, Rule((), stacked=True))):
        one = [replace(k, weight=(k.weight or ())[-2:], bias=k.bias[-1:] if k.bias else None) for k in group]
        found = _ffn_alone(one, width, heads_elsewhere=True)
        if found is not None:
            _take_ffn(guess, *found, rule)


def _ffn_alone(
    matrices: Sequence[Kind], width: int, *, heads_elsewhere: bool = False
) -> tuple[Chosen, list[Kind]] | None:
    """Find a feed-forward network among matrices that are not all explained.

    Three matrices of one hidden size are one. So are the widest two, or the widest and one half as wide; but these
    may be attention's first and last, unless that is elsewhere, their names say otherwise, or the shapes forbid it.
    """
    by_size: dict[int, list[Kind]] = defaultdict(list)
    for kind in matrices:
        sides = [n for n in kind.weight or () if n != width]
        if len(sides) == 1:
            by_size[sides[0]].append(kind)
    sizes = sorted(by_size, reverse=True)
    groups = [by_size[size] for size in sizes if len(by_size[size]) == 3]
    for size in sizes[:1]:
        half = by_size.get(size // 2, []) if size % 2 == 0 and len(by_size[size]) == 1 else []
        pair = [*by_size[size], *half]
        if len(pair) == 2 and (heads_elsewhere or _is_ffn(pair[0], pair[1], matrices, width)):
            groups.append(pair)
    for group in groups:
        chosen = choose(ffn_plans(group, width), group)
        if chosen is not None:
            return chosen, group
    return None


def _is_ffn(a: Kind, b: Kind, matrices: Sequence[Kind], width: int) -> bool:
    """Whether names say that two matrices read and write neurons, or shapes that they cannot read and write heads."""
    pairs = ((a, b), (b, a))
    if any(
        telling(x.stem, "q") > resemblance(x.stem, "up") and resemblance(y.stem, "o") > 0 for x, y in pairs
    ):
        return False
    if any(telling(x.stem, "up") and telling(y.stem, "down") for x, y in pairs):
        return True
    return len(matrices) > 2 and not may_be_attention((a, b), matrices, width)


def _take_ffn(guess: Guess, chosen: Chosen, kinds: Sequence[Kind], like: Rule = _PLAIN) -> None:
    rule = replace(like, transpose=chosen.plan.transpose)
    for same, wanted in chosen.plan.groups(kinds):
        guess.understood |= {kind.stem for kind in same}
        _take_group(guess, same, wanted, rule)
    if chosen.turned and not like.stacked:
        guess.uncertain |= {"q", "k", "v", "o"}


def _norms(guess: Guess, kinds: Sequence[Kind], width: int) -> None:
    gains = [k for k in kinds if k.weight == (width,)]
    pair = [[k for k in gains if telling(k.stem, role)] for role in ("q_norm", "k_norm")]
    if len(gains) > 2 and [len(found) for found in pair] == [1, 1]:
        gains = [k for k in gains if k not in pair[0] + pair[1]]
        guess.take(settle(pair[0] + pair[1], ("q_norm", "k_norm")))
    roles = {
        1: ("attn_norm",),
        2: ("attn_norm", "ffn_norm"),
        4: ("attn_norm", "post_attn_norm", "ffn_norm", "post_ffn_norm"),
    }
    if len(gains) in roles:
        guess.take(settle(gains, roles[len(gains)], _nearness(guess)))
        guess.understood |= {kind.stem for kind in gains}
    short = [k for k in kinds if k.weight and len(k.weight) == 1 and k.weight[0] < width]
    if len(short) == 2 and short[0].weight == short[1].weight:
        guess.take(settle(short, ("q_norm", "k_norm")))


def _nearness(guess: Guess) -> Score:
    """A norm in the module of the attention matrices is theirs; so with the feed-forward network's."""
    stems: dict[str, list[Path]] = defaultdict(list)
    for path, rule in guess.rules.items():
        if not {"q", "v", "o", "up", "down"}.isdisjoint(rule.roles):
            stems["attn" if _units(rule.roles[0]) == "attention" else "ffn"].append(path)

    def score(path: Path, role: str) -> int:
        near = {side: max((shared_depth(path, s) for s in found), default=0) for side, found in stems.items()}
        mine, other = ("attn", "ffn") if "attn" in role else ("ffn", "attn")
        return 2 * (near.get(mine, 0) > near.get(other, 0))

    return score


def spelled(path: Path) -> str:
    """Return a masked stem as a table spells it."""
    return ".".join(path).replace("#", "{E}")


def masked(name: str) -> Path:
    """Return a table's spelling as a masked stem."""
    return mask(tuple(name.replace("{E}", "0").split(".")))
