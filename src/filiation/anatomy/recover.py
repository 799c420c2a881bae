"""Towers whose names no table knows, or not all of them: tables made on the spot from what can be inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from filiation.anatomy import config as configs
from filiation.anatomy.anonymous import fill_layers, impose_layers
from filiation.anatomy.families import families
from filiation.anatomy.hints import BY_ORDER, Kind, Shape, arrange, order_tells
from filiation.anatomy.infer import Guess, infer_layer, infer_missing, kinds_of, spelled
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack, stem
from filiation.anatomy.rename import from_pairs
from filiation.anatomy.tables import Family, Hit, Kinds, Path, Rule
from filiation.anatomy.towers import Clues, Found, Tower, component_of, name_layers
from filiation.checkpoint.model import TensorInfo

Tensors = Mapping[str, TensorInfo]

INFERRED = "inferred"
_LEAST = 2
"""A layer of fewer inferred roles than this is not called a layer."""


def complete(tower: Tower, tensors: Tensors, shapes: Mapping[str, Shape]) -> None:
    """Infer the roles of names inside the layers that the tower's table does not know."""
    guess = infer_missing(tower.stack, shapes, tower.family)
    if guess.rules:
        tower.renames |= _renames(guess.rules, tower.family)
        layer = {**tower.family.layer, **{spelled(path): rule for path, rule in guess.rules.items()}}
        tower.family = replace(tower.family, layer=layer)
        name_layers(tower, tensors)
    tower.notes += guess.notes
    tower.uncertain |= guess.uncertain


def recover(stack: Stack, tensors: Tensors, clues: Clues) -> Tower | None:
    """Return a tower for a stack of which no table knows anything, or None where its shapes say too little."""
    kinds = kinds_of(stack, clues.shapes)
    guess = infer_layer(kinds)
    if len(guess.rules) < _LEAST or not any("down" in rule.roles for rule in guess.rules.values()):
        return None
    component = component_of(stack.container) or "language"
    own = configs.tower_config(clues.config, component)
    roles = {role for rule in guess.rules.values() for role in rule.roles}
    norm_bias = any(k.bias for k in kinds if _is_norm(guess.rules.get(k.stem)))
    made = Family(
        name=INFERRED,
        container=stack.container[-1],
        layer={spelled(path): rule for path, rule in guess.rules.items()},
        outside={},
        kinds=Kinds(norm="layer" if norm_bias else "rms", gated="gate" in roles),
    )
    model = _nearest(guess, made)
    tower = Tower(component, made, stack.container[:-1], stack, own, known=False)
    tower.renames = _renames(guess.rules, model)
    if stack.container[-1] != model.container.split(".")[-1]:
        tower.renames[stack.container[-1]] = model.container.split(".")[-1]
    tower.notes = [
        Inference(f"{len(stack.layers)} layers under '{'.'.join(stack.container)}'", "repeated shapes")
    ]
    tower.notes += guess.notes
    tower.uncertain = guess.uncertain
    tower.norm_known = norm_bias or "rms_norm_eps" in own
    name_layers(tower, tensors)
    return tower


def recover_flat(tensors: Tensors, clues: Clues) -> tuple[Tower, dict[Path, str]] | None:
    """Return a tower for a flat list of anonymous tensors, and the tensors around its layers."""
    imposed = impose_layers(list(tensors), clues.shapes)
    if imposed is None:
        return None
    tower = recover(imposed.stack, tensors, clues)
    if tower is None:
        return None
    tower.renames = {}
    return tower, imposed.loose


def fill(tower: Tower, loose: dict[Path, str], tensors: Tensors, shapes: Mapping[str, Shape]) -> None:
    """Place anonymous matrices (an ONNX export's) into a tower whose biases are named."""
    present = {f.hit.rule.roles[0] for f in tower.found if f.layer is not None and not f.hit.bias}
    biases = {
        f.hit.rule.roles[0]: f.info.shape[0]
        for f in tower.found
        if f.layer is not None and f.hit.bias and f.hit.rule.roles[0] not in present
    }
    width = next((f.info.shape[0] for f in tower.found if _is_norm(f.hit.rule) and not f.hit.bias), None)
    if not biases or width is None:
        return
    filled = fill_layers(loose.values(), shapes, sorted(tower.stack.layers), biases, width)
    for item in filled:
        tower.found.append(Found(tensors[item.name], Hit(item.rule), item.layer))
    if filled:
        taken = {item.name for item in filled}
        for path in [path for path, name in loose.items() if name in taken]:
            del loose[path]
        turned = "[in, out]" if filled[0].rule.transpose else "[out, in]"
        what = f"{len(filled)} anonymous matrices are {', '.join(biases)}, stored {turned}"
        tower.notes.append(Inference(what, "their order, and the biases' lengths"))
        if tower.family.kinds.rope:  # without rotary positions q, k and v channels are alike free to permute
            tower.uncertain |= {"q", "k", "v", "o"} & set(biases)


def place_beside(tower: Tower, loose: dict[Path, str], tensors: Tensors, width: int) -> None:
    """Infer the embedding, the head, positions and the final norm among tensors outside the layers."""
    kinds: dict[Path, Kind] = {}
    for place, (path, name) in enumerate(loose.items()):
        base = stem(path)
        if base not in kinds and (path == base or path[-1] in ("weight", "gamma", "g")):
            kinds[base] = Kind(base, tensors[name].shape, None, place)
    tables = [k for k in kinds.values() if k.weight and len(k.weight) == 2 and k.weight[1] == width]
    vectors = [k for k in kinds.values() if k.weight == (width,)]
    guess = Guess()
    rows = sorted({k.weight[0] for k in tables if k.weight}, reverse=True)
    if rows:
        largest = [k for k in tables if k.weight and k.weight[0] == rows[0]]
        roles = ("embedding", "head")[: len(largest)]
        guess.take(arrange(largest, roles) if len(largest) <= 2 else None, " and ".join(roles))
    if len(rows) == 2:
        second = [k for k in tables if k.weight and k.weight[0] == rows[1]]
        guess.take(arrange(second, ("position",)) if len(second) == 1 else None, "positions")
    if len(vectors) == 2 and tower.family.kinds.norm == "layer" and order_tells(vectors):
        guess.take(
            ({vectors[0].stem: "final_norm", vectors[1].stem: "final_norm.bias"}, BY_ORDER), "the final norm"
        )
    elif vectors:
        guess.take(arrange(vectors, ("final_norm",)) if len(vectors) == 1 else None, "the final norm")
    _add_beside(tower, guess, loose, tensors)


def _add_beside(tower: Tower, guess: Guess, loose: dict[Path, str], tensors: Tensors) -> None:
    for path, name in list(loose.items()):
        rule = guess.rules.get(stem(path))
        if rule is not None:
            bias = path != stem(path) and path[-1] in ("bias", "beta", "b")
            tower.found.append(Found(tensors[name], Hit(rule, bias), None))
            del loose[path]
    tower.notes += guess.notes


def _is_norm(rule: Rule | None) -> bool:
    return rule is not None and rule.roles[0].endswith("_norm") and rule.roles[0] not in ("q_norm", "k_norm")


def _nearest(guess: Guess, made: Family) -> Family:
    """The known family with the most roles in common: its spelling is the target of the rename map."""
    mine = {rule.roles for rule in guess.rules.values()}

    def agreement(family: Family) -> tuple[int, int]:
        theirs = {entry.roles if isinstance(entry, Rule) else (entry,) for entry in family.layer.values()}
        same = family.kinds.norm == made.kinds.norm and family.kinds.gated == made.kinds.gated
        return len(mine & theirs), int(same)

    return max((f for f in families() if f.component == "language" and f.name != "gguf"), key=agreement)


def _renames(rules: Mapping[Path, Rule], model: Family) -> dict[str, str]:
    """Segment renames from inferred stems to the spelling of ``model``."""
    spelling: dict[tuple[tuple[str, ...], bool], str] = {}
    for name, entry in model.layer.items():
        roles = entry.roles if isinstance(entry, Rule) else (entry,)
        spelling.setdefault((roles, "{E}" in name), name)
    pairs: list[tuple[str, str]] = []
    for path, rule in rules.items():
        usual = spelling.get((rule.roles, "#" in path))
        if usual is not None:
            pairs.append((spelled(path), usual))
    return {a: b for a, b in from_pairs(pairs).items() if "{E}" not in a + b}
