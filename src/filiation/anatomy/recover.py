"""Towers whose names no table knows, or not all of them: tables made on the spot from what can be inferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filiation.anatomy import config as configs
from filiation.anatomy.anonymous import fill_layers, impose_layers
from filiation.anatomy.config import Settings
from filiation.anatomy.families import families
from filiation.anatomy.hints import Kind, Shape
from filiation.anatomy.infer import Guess, infer_layer, infer_missing, spelled
from filiation.anatomy.kinds import expert_count, kinds_of
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack
from filiation.anatomy.plans import Facts
from filiation.anatomy.rename import from_pairs
from filiation.anatomy.roles import NORMS
from filiation.anatomy.tables import Config, Family, Hit, Kinds, Path, Rule
from filiation.anatomy.towers import INFERRED, Clues, Found, Tower, component_of, name_layers
from filiation.checkpoint.model import TensorInfo

Tensors = Mapping[str, TensorInfo]

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
    tower.understood |= guess.understood


def recover(stack: Stack, tensors: Tensors, clues: Clues) -> Tower | None:
    """Return a tower for a stack of which no table knows anything, or None where its shapes say too little."""
    kinds = kinds_of(stack, clues.shapes)
    component = component_of(stack.container) or "language"
    own = configs.tower_config(clues.config, component)
    guess, ignored = _infer(kinds, configs.settings_of(own, {}, ()), expert_count(stack, kinds))
    if len(guess.rules) < _LEAST or not any("down" in rule.roles for rule in guess.rules.values()):
        return None
    roles = {role for rule in guess.rules.values() for role in rule.roles}
    made = Family(
        name=INFERRED,
        container=stack.container[-1] if stack.container else "",
        layer={spelled(path): rule for path, rule in guess.rules.items()},
        outside={},
        kinds=_kinds(kinds, guess, own, gated="gate" in roles),
        ignore=ignored,
    )
    model = _nearest(guess, made)
    tower = Tower(component, made, stack.container[:-1], stack, own, known=False)
    tower.renames = _renames(guess.rules, model)
    if made.container != model.container.split(".")[-1] and made.container:
        tower.renames[made.container] = model.container.split(".")[-1]
    where = f" under '{'.'.join(stack.container)}'" if stack.container else ""
    tower.notes = [Inference(f"{len(stack.layers)} layers{where}", "repeated shapes"), *guess.notes]
    tower.uncertain, tower.understood = guess.uncertain, guess.understood
    tower.norm_known = made.kinds.norm == "layer" or _says(own, "rms")
    tower.positions_known = _says_positions(own) or made.kinds.positions != "rope"
    name_layers(tower, tensors)
    return tower


def _infer(kinds: Sequence[Kind], said: Settings, experts: int) -> tuple[Guess, tuple[str, ...]]:
    """Infer a layer as the config describes it; where no reading of the shapes fits that, without its sizes.

    Returns:
        what was inferred, and the settings that were left out.
    """
    facts = Facts(said.d_model, said.n_heads, said.n_kv_heads, said.d_head, said.d_ff, experts)
    heads = ("n_heads", "n_kv_heads", "d_head")
    first = infer_layer(kinds, facts)
    for ignored in (("d_ff",), heads, ("d_ff", *heads)):
        if first.complete or not any(getattr(said, setting) for setting in ignored):
            continue
        tried = infer_layer(kinds, replace(facts, **dict.fromkeys(ignored)))
        if tried.complete:
            what = f"the config's {', '.join(s for s in ignored if getattr(said, s))} left out of account"
            tried.notes.insert(0, Inference(what, "no reading of the shapes agrees with it"))
            return tried, ignored
    return first, () if first.complete else ("d_ff", *heads)


def _kinds(kinds: Sequence[Kind], guess: Guess, own: Config, *, gated: bool) -> Kinds:
    has_bias = any(k.bias for k in kinds if _is_norm(guess.rules.get(k.stem)))
    norm = "layer" if has_bias or (_says(own, "layer_norm", "layernorm") and not _says(own, "rms")) else "rms"
    found = Kinds(norm=norm, norm_bias=has_bias, gated=gated)
    if _says(own, "alibi"):
        return replace(found, rope=None, positions="alibi")
    kind = own.get("position_embedding_type")
    return (
        replace(found, rope=None, positions="relative")
        if isinstance(kind, str) and "relative" in kind
        else found
    )


def _says_positions(own: Config) -> bool:
    return _says(own, "rope", "rotary") or own.get("position_embedding_type") in ("absolute", "learned")


def _says(own: Config, *words: str) -> bool:
    """Whether the config has a setting with one of these words in its key or value that is not switched off."""

    def means(key: str, value: Any) -> bool:
        if value is None or value is False:
            return False
        return any(
            word in key.lower() or (isinstance(value, str) and word in value.lower()) for word in words
        )

    return any(means(key, value) for key, value in own.items())


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


def _is_norm(rule: Rule | None) -> bool:
    return rule is not None and rule.roles[0] in NORMS


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
