"""Copies hidden by other names, among experts, by junk heads or by another depth; and what must not pass for one.

Every hidden copy here computes what it computed before, or nearly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from filiation.evidence import Relation
from filiation.lab.layout import Config, Tensors
from filiation.lab.save import load_model
from filiation.origin.history import of as history_of
from filiation.origin.naming import exchanged, measured
from filiation.origin.pairing import Plan
from filiation.origin.verdict import judge
from filiation.report.answers import scope_text
from filiation.report.wording import LANGUAGES, phrases
from tests.comparison.test_arranged import arranged, named, with_gains
from tests.comparison.test_without_effect import (
    FFN,
    LAYERS,
    MODELS,
    WIDTH,
    accused,
    child,
    compared,
    junk,
    same_function,
    stranger,
    with_junk_layers,
)
from tests.derivation.models import Model, anatomy, examined

HEAD = 16
GATE, UP, DOWN = (f"mlp.{which}_proj.weight" for which in ("gate", "up", "down"))
BEFORE, BETWEEN = "input_layernorm.weight", "post_attention_layernorm.weight"


def under_other_names(model: Model, one: str, other: str) -> Model:
    """Exchange the names of two tensors in every layer; of a matrix and a transposed one, as shapes need it."""
    tensors, config = dict(model[0]), model[1]
    for layer in range(LAYERS):
        a, b = (f"model.layers.{layer}.{which}" for which in (one, other))
        turned = tensors[a].shape != tensors[b].shape
        x, y = (np.ascontiguousarray(v.T) if turned else v for v in (tensors[a], tensors[b]))
        tensors[a], tensors[b] = y, x
    return tensors, config


def scrambled_neurons(model: Model) -> Model:
    """Put every layer's neurons in another order, with other signs: the same function, no label left."""
    tensors, config = dict(model[0]), model[1]
    drawn = np.random.default_rng(3)
    for layer in range(LAYERS):
        order, signs = drawn.permutation(FFN), drawn.choice(np.array([-1, 1], np.float32), FFN)
        tensors[named(layer, "gate")] = tensors[named(layer, "gate")][order]
        tensors[named(layer, "up")] = tensors[named(layer, "up")][order] * signs[:, None]
        tensors[named(layer, "down")] = tensors[named(layer, "down")][:, order] * signs
    return tensors, config


def with_heads(model: Model, value_rows: Callable[[int], np.ndarray | None]) -> Model:
    """Put two silent key-value heads before the two of every layer; ``value_rows`` gives theirs, None junk."""
    tensors, config = dict(model[0]), model[1]
    drawn = np.random.default_rng(10)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        for which in "qkv":
            own = tensors[f"{at}{which}_proj.weight"]
            rows = value_rows(layer) if which == "v" else None
            added = junk(drawn, which, own) if rows is None else rows
            tensors[f"{at}{which}_proj.weight"] = np.concatenate([added, own]).astype(np.float32)
        own = tensors[at + "o_proj.weight"]
        tensors[at + "o_proj.weight"] = np.concatenate([np.zeros_like(own), own], axis=1)
    return tensors, {**config, "num_attention_heads": 8, "num_key_value_heads": 4}


def as_experts(model: Model, experts: Callable[[int], list[tuple[np.ndarray, ...]]], active: int) -> Model:
    """Replace every feed-forward network by experts ``(gate, up, down)`` that are chosen alike."""
    tensors = {n: v for n, v in model[0].items() if ".mlp." not in n}
    count = width = 0
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.block_sparse_moe."
        for e, (gate, up, down) in enumerate(experts(layer)):
            tensors[f"{at}experts.{e}.w1.weight"], tensors[f"{at}experts.{e}.w3.weight"] = gate, up
            tensors[f"{at}experts.{e}.w2.weight"] = down
            count, width = e + 1, len(gate)
        tensors[at + "gate.weight"] = np.zeros((count, WIDTH), np.float32)
    config: Config = {
        **model[1],
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": count,
        "num_experts_per_tok": active,
        "intermediate_size": width,
    }
    return tensors, config


def network(tensors: Tensors, layer: int) -> tuple[np.ndarray, ...]:
    return tuple(tensors[named(layer, which)] for which in ("gate", "up", "down"))


def spread_over_experts(model: Model) -> Model:
    drawn = np.random.default_rng(9)

    def experts(layer: int) -> list[tuple[np.ndarray, ...]]:
        gate, up, down = network(model[0], layer)
        return [(gate[o], up[o], 4 * down[:, o]) for o in drawn.permutation(FFN).reshape(4, -1)]

    return as_experts(model, experts, active=4)


def among_experts(model: Model, real: Tensors, other: Tensors | None = None) -> Model:
    """Make a network the first of four experts, beside junk or beside another model's three times."""
    drawn = np.random.default_rng(9)

    def experts(layer: int) -> list[tuple[np.ndarray, ...]]:
        first = network(real, layer)
        if other is not None:
            return [first, *[network(other, layer)] * 3]
        return [first, *(tuple(v.std() * junk(drawn, "", v / v.std()) for v in first) for _ in range(3))]

    return as_experts(model, experts, active=1)


@pytest.mark.parametrize(
    ("one", "other"),
    [(GATE, UP), (UP, DOWN), (GATE, DOWN), (BEFORE, BETWEEN)],
    ids=["gate and up", "up and down", "gate and down", "norms"],
)
def test_tensors_under_each_others_names_hide_no_child(one: str, other: str, tmp_path: Path) -> None:
    found = compared(under_other_names(child(), one, other), accused(), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == pytest.approx(1.0)
    assert "names_exchanged" in (found.verdict.reason, *found.verdict.notes)
    ffn = [row for row in found.to_dict()["inheritance"] if row["role"] == "ffn"]
    assert len(ffn) == LAYERS
    assert all(row["state"] != "not_found" for row in ffn)
    assert any(step.kind == "renamed" for step in found.verdict.derivation)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
def test_contents_are_looked_for_under_the_names_that_they_speak_for(whole: bool) -> None:
    """In one layer alone where everything is read; in all layers where a sample is."""
    plan = Plan("0" * 64, whole=whole)
    lied, honest = under_other_names(child(), GATE, UP)[0], child()[0]
    changed = {4} if whole else set(range(LAYERS))
    mixed = {n: lied[n] if any(f"layers.{i}." in n for i in changed) else v for n, v in honest.items()}
    x = examined(anatomy((mixed, child()[1])), anatomy(accused()), plan)
    before, (_, history) = history_of(x, plan), measured(x, plan)
    assert before is not None
    assert history is not None
    apart = {i for i, cosine in before.contents.items() if cosine < 0.5}
    assert apart
    assert apart <= changed
    assert history.unnamed == apart
    assert history.exchanged == ("gate", "up")
    assert min(history.contents.values()) > 0.5
    assert judge(x, history).relation is Relation.COMMON_ORIGIN


def test_gains_of_a_shared_start_do_not_come_to_agree_under_other_names(tmp_path: Path) -> None:
    same = load_model(MODELS / "same-init")
    for model in (same, under_other_names(same, BEFORE, BETWEEN), under_other_names(same, GATE, UP)):
        assert compared(model, accused(), tmp_path).verdict.relation is Relation.SHARED_INITIALISATION


@pytest.mark.parametrize(("one", "other"), [(GATE, UP), (UP, DOWN), (BEFORE, BETWEEN)])
def test_strangers_stay_strangers_under_other_names(one: str, other: str, tmp_path: Path) -> None:
    found = compared(under_other_names(stranger(), one, other), accused(), tmp_path)
    assert found.verdict.relation is Relation.NONE_FOUND
    framed = with_gains(arranged(stranger()[0], accused()[0]), accused()[0]), stranger()[1]
    found = compared(under_other_names(framed, one, other), accused(), tmp_path)
    assert found.verdict.relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)


def test_the_same_matrix_under_two_names_is_read_alike() -> None:
    """A transposed part of another role reads what the part itself does."""
    model = anatomy(accused())
    other = exchanged(model, "language", {2: {"up": "down", "down": "up"}})
    up, down = model.part("up", 2), other.part("down", 2)
    assert up is not None
    assert down is not None
    assert down.shape == up.shape[::-1]
    whole = model.read(up).T
    np.testing.assert_array_equal(other.read(down), whole)
    np.testing.assert_array_equal(other.read(down, 3, 9, axis=1), whole[:, 3:9])
    np.testing.assert_array_equal(other.read(down, 3, 9), whole[3:9])
    assert other.part("up", 1) == model.part("up", 1)


@pytest.mark.parametrize("turned", [False, True], ids=["experts against dense", "dense against experts"])
def test_a_network_spread_over_experts_hides_no_child(turned: bool, tmp_path: Path) -> None:
    hidden = spread_over_experts(child())
    same_function(child(), hidden)
    pair = (accused(), hidden) if turned else (hidden, accused())
    found = compared(*pair, tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == pytest.approx(1.0)


@pytest.mark.parametrize("turned", [False, True], ids=["experts against dense", "dense against experts"])
def test_one_real_expert_among_others_is_named(turned: bool, tmp_path: Path) -> None:
    hidden = among_experts(child(), child()[0])
    pair = (accused(), hidden) if turned else (hidden, accused())
    found = compared(*pair, tmp_path)
    verdict = found.verdict
    assert verdict.relation is Relation.SHARED_PARTS
    assert verdict.reason == "attention_and_expert"
    assert ("language: expert 0 of layers 0-5" in verdict.scope) is not turned
    assert "language: value channels of layers 0-5" in verdict.scope
    assert verdict.inherited_share is None
    history = next(e for e in found.evidence if e.test == "history")
    assert history.shows == "shows.history_unknown"
    for language in LANGUAGES:
        assert ("0" in scope_text(phrases(language), verdict.scope)) is True


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_an_expert_by_itself_names_nothing(turned: bool, tmp_path: Path) -> None:
    """The accused's network as an expert that need never be chosen, beside a stranger's, whose gains are copied."""
    own, config = stranger()
    framed = among_experts((with_gains(own, accused()[0]), config), accused()[0], own)
    pair = (accused(), framed) if turned else (framed, accused())
    verdict = compared(*pair, tmp_path).verdict
    assert verdict.relation is Relation.SUGGESTIVE
    assert verdict.inherited_share is None


@pytest.mark.parametrize("turned", [False, True], ids=["hidden against accused", "accused against hidden"])
@pytest.mark.parametrize("each", [1, 2])
def test_idle_layers_between_scrambled_ones_hide_no_child(each: int, turned: bool, tmp_path: Path) -> None:
    hidden = with_junk_layers(scrambled_neurons(child()), each)
    same_function(child(), hidden, within=1e-2)
    pair = (accused(), hidden) if turned else (hidden, accused())
    verdict = compared(*pair, tmp_path).verdict
    assert verdict.relation is Relation.COMMON_ORIGIN
    assert verdict.inherited_share == pytest.approx(1.0)


def test_scrambled_layers_split_into_their_branches_are_told(tmp_path: Path) -> None:
    hidden = split_in_two(scrambled_neurons(child()))
    same_function(child(), hidden, within=1e-2)
    verdict = compared(hidden, accused(), tmp_path).verdict
    assert verdict.relation is Relation.SHARED_PARTS
    assert verdict.reason == "attention_and_scrambled"
    assert "language: value channels of layers 0, 2, 4, 6, 8, 10" in verdict.scope


@pytest.mark.parametrize("turned", [False, True], ids=["hidden against accused", "accused against hidden"])
def test_junk_heads_beside_scrambled_neurons_hide_no_child(turned: bool, tmp_path: Path) -> None:
    hidden = with_heads(scrambled_neurons(child()), lambda _: None)
    same_function(child(), hidden)
    pair = (accused(), hidden) if turned else (hidden, accused())
    assert compared(*pair, tmp_path).verdict.relation is Relation.COMMON_ORIGIN


def test_groups_in_another_order_beside_scrambled_neurons_hide_no_child(tmp_path: Path) -> None:
    tensors, config = scrambled_neurons(child())
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        for which in "qkvo":
            name = f"{at}{which}_proj.weight"
            first, last = np.split(tensors[name], 2, axis=int(which == "o"))
            tensors[name] = np.concatenate([last, first], axis=int(which == "o"))
    same_function(child(), (tensors, config))
    assert compared((tensors, config), accused(), tmp_path).verdict.relation is Relation.COMMON_ORIGIN


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_silent_heads_of_the_accused_make_no_shared_attention(turned: bool, tmp_path: Path) -> None:
    own, config = stranger()
    values = accused()[0]
    framed = with_heads(
        (with_gains(own, values), config),
        lambda layer: values[f"model.layers.{layer}.self_attn.v_proj.weight"],
    )
    pair = (accused(), framed) if turned else (framed, accused())
    verdict = compared(*pair, tmp_path).verdict
    assert verdict.relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)
    sampled = Plan("0" * 64, whole=False)
    x = examined(*(anatomy(m) for m in pair), sampled)
    assert judge(x, measured(x, sampled)[1]).relation in (Relation.SUGGESTIVE, Relation.NONE_FOUND)


def split_in_two(model: Model) -> Model:
    """Split every layer into one that attends and one that feeds forward, each with junk for the other half."""
    tensors, config = model
    drawn = np.random.default_rng(6)
    out = {n: v for n, v in tensors.items() if not n.startswith("model.layers.")}
    for name, value in tensors.items():
        if name.startswith("model.layers."):
            layer, rest = name.removeprefix("model.layers.").split(".", 1)
            own = 0 if "self_attn" in rest or rest == BEFORE else 1
            for k in (0, 1):
                out[f"model.layers.{2 * int(layer) + k}.{rest}"] = (
                    value if k == own else junk(drawn, name, value)
                )
    return out, {**config, "num_hidden_layers": 2 * LAYERS}


@pytest.mark.parametrize(
    "hide",
    [
        spread_over_experts,
        lambda m: among_experts(m, m[0]),
        lambda m: with_junk_layers(scrambled_neurons(m), 1),
        lambda m: split_in_two(scrambled_neurons(m)),
        lambda m: with_heads(scrambled_neurons(m), lambda _: None),
    ],
    ids=["spread over experts", "one expert", "idle layers", "split layers", "junk heads"],
)
def test_strangers_hidden_the_same_ways_are_no_relatives(
    hide: Callable[[Model], Model], tmp_path: Path
) -> None:
    for pair in ((hide(stranger()), accused()), (accused(), hide(stranger()))):
        found = compared(*pair, tmp_path)
        assert found.verdict.relation is Relation.NONE_FOUND
        assert found.verdict.log10_e is not None
        assert found.verdict.log10_e < 1
