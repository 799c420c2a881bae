"""Experts that no token is let through to neither make nor break a verdict; and none is left aside wrongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation.anatomy.routing import Routing
from filiation.evidence import Relation
from filiation.lab.layout import EMBEDDING, Tensors
from filiation.lab.save import load_model
from filiation.origin.chosen import weights_of
from filiation.origin.computed import TRAINED_ALIKE
from filiation.origin.gather import Side
from filiation.origin.network import written_by, written_by_expert
from filiation.origin.pairing import Plan, experts_of
from filiation.origin.shut import shut_experts
from filiation.origin.stream import passed_through
from tests.comparison.test_arranged import named
from tests.comparison.test_computed import computed
from tests.comparison.test_routed import (
    PARTS,
    as_mixture,
    by_sigmoid,
    disguised,
    mixtral,
    without_a_channel,
)
from tests.comparison.test_without_effect import (
    LAYERS,
    MODELS,
    WIDTH,
    accused,
    compared,
    stranger,
    with_gains_of,
)
from tests.derivation.models import Model, anatomy

WHOLE = Plan("0" * 64, whole=True)
CHANNEL, CONSTANT = 3, 0.05
Planted = Callable[[], Model]


def shut_of(model: Model) -> set[tuple[int, int | None]]:
    return set(shut_experts(Side(anatomy(model)), WHOLE))


def everywhere(*experts: int | None) -> set[tuple[int, int | None]]:
    return {(layer, expert) for layer in range(LAYERS) for expert in experts}


def child() -> Model:
    return load_model(MODELS / "continued")


def junk(tensors: Tensors, loud: float = 3.0) -> Tensors:
    """Networks of noise, as large as a model's own, and louder."""
    rng, out = np.random.default_rng(9), dict(tensors)
    for layer in range(LAYERS):
        for part in PARTS:
            own = tensors[named(layer, part)]
            noise = rng.standard_normal(own.shape) * own.std() * (loud if part == "down" else 1)
            out[named(layer, part)] = noise.astype(np.float32)
    return out


def beside_junk(loud: float) -> Model:
    """A child behind sigmoids, beside three experts of noise that are never chosen."""
    return by_sigmoid(child(), junk(child()[0], loud))


def behind_a_gate(own: Model, shared: Tensors, towards: float, channel: int = CHANNEL) -> Model:
    """A Qwen2-MoE of one's own network, twice, and a shared one, whose gate reads one channel."""
    tensors = as_mixture(
        own, [own[0]] * 2, lambda i, e, p: f"model.layers.{i}.mlp.experts.{e}.{p}_proj.weight"
    )
    for layer in range(LAYERS):
        place = f"model.layers.{layer}.mlp."
        tensors[place + "gate.weight"] = np.zeros((2, WIDTH), np.float32)
        tensors[place + "shared_expert_gate.weight"] = np.zeros((1, WIDTH), np.float32)
        tensors[place + "shared_expert_gate.weight"][0, channel] = towards
        for part in PARTS:
            tensors[f"{place}shared_expert.{part}_proj.weight"] = shared[named(layer, part)]
    width = own[1]["intermediate_size"]
    return tensors, {
        **own[1],
        "model_type": "qwen2_moe",
        "architectures": ["Qwen2MoeForCausalLM"],
        "num_experts": 2,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "moe_intermediate_size": width,
        "shared_expert_intermediate_size": width,
    }


def beside_a_shut_gate() -> Model:
    """A child that gave a channel up, beside a shared expert of noise whose gate that channel keeps shut."""
    own = without_a_channel(child(), CHANNEL, CONSTANT)
    return behind_a_gate(own, junk(own[0]), -5000.0)


def beside_never_the_best() -> Model:
    """A child as expert of a mixture that chooses by softmax, beside noise that the same channel keeps out."""
    own = without_a_channel(child(), CHANNEL, CONSTANT)
    router = np.zeros((2, WIDTH))
    router[:, CHANNEL] = -1000, 1000
    return mixtral(own, [junk(own[0]), own[0]], router)


HIDDEN: dict[str, tuple[Planted, set[tuple[int, int | None]]]] = {
    "never chosen, by sigmoids": (lambda: beside_junk(3.0), everywhere(0, 1, 2)),
    "never chosen, and loud": (lambda: beside_junk(1e4), everywhere(0, 1, 2)),
    "never chosen, by softmax": (beside_never_the_best, everywhere(0)),
    # Of two experts that say the same of every token, both are chosen: only the gate is shut.
    "a shut gate": (beside_a_shut_gate, everywhere(None)),
}


@pytest.mark.parametrize("turned", [False, True], ids=["child against parent", "parent against child"])
@pytest.mark.parametrize("name", HIDDEN)
def test_what_no_token_is_let_through_to_hides_no_child(name: str, turned: bool, tmp_path: Path) -> None:
    plant, aside = HIDDEN[name]
    model = plant()
    assert shut_of(model) == aside
    found = compared(*((accused(), model) if turned else (model, accused())), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert computed(found) >= TRAINED_ALIKE
    assert reading(found) >= 0.5


def reading(found: filiation.Comparison) -> float:
    return next(e.value for r in found.evidence for e in r.effect if e.name == "reading_correlation")


def test_a_sibling_of_one_initialisation_stays_one_beside_what_is_shut(tmp_path: Path) -> None:
    sibling = load_model(MODELS / "same-init")
    own = with_gains_of(sibling[0], accused()[0]), sibling[1]
    found = compared(by_sigmoid(own, accused()[0]), accused(), tmp_path)
    assert found.verdict.relation is not Relation.COMMON_ORIGIN
    assert abs(computed(found)) < TRAINED_ALIKE


def framed_by_a_gate(towards: float) -> Model:
    """Another model's network at work, and the accused's behind a gate, or the other way round."""
    own = without_a_channel(stranger(), CHANNEL, CONSTANT)
    own = with_gains_of(own[0], accused()[0]), own[1]
    model = behind_a_gate(own, accused()[0], towards)
    passed = passed_through(Side(anatomy(own)), WHOLE)
    assert passed
    for layer, each in passed.items():
        one, other = (written_by(Side(anatomy(m)), layer, each.given) for m in (own, model))
        assert one is not None
        assert other is not None
        assert np.allclose(one, other, atol=1e-5)
    return model


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_the_accused_behind_a_shut_gate_makes_no_common_origin(turned: bool, tmp_path: Path) -> None:
    model = framed_by_a_gate(-5000.0)
    assert shut_of(model) == everywhere(None)
    found = compared(*((accused(), model) if turned else (model, accused())), tmp_path)
    assert found.verdict.relation is Relation.SUGGESTIVE


def with_vocabulary(model: Model, count: int, constant: float) -> Model:
    """Add tokens that are never used, which hold another constant in the channel that was given up."""
    rng, table = np.random.default_rng(1), model[0][EMBEDDING]
    rows = (rng.standard_normal((count, WIDTH)) * table.std()).astype(np.float32)
    rows[:, CHANNEL] = constant
    tensors = {**model[0], EMBEDDING: np.concatenate([table, rows])}
    return tensors, {**model[1], "vocab_size": len(tensors[EMBEDDING])}


def seemingly_shut(unused: int, unlike: float = -CONSTANT) -> Model:
    """A gate that is open for every token that is used, and shut for those that are not."""
    own = without_a_channel(stranger(), CHANNEL, CONSTANT)
    return with_vocabulary(behind_a_gate(own, own[0], 5000.0), unused, unlike)


def test_a_gate_that_a_twentieth_of_the_vocabulary_opens_is_not_shut() -> None:
    """The tokens that layers are asked with come from one stretch of the vocabulary: that could miss those in use."""
    assert shut_of(seemingly_shut(20_000)) == set()


def opened_by(token: int, *, when_seen: bool) -> Model:
    """A gate that is open for one token alone; or for tokens that attend to it alone, as to a start of text."""
    own, channel = without_a_channel(stranger(), CHANNEL, -CONSTANT), CHANNEL
    if when_seen:
        own = without_a_channel(own, channel + 1, 0.0)
        channel += 1
    tensors = dict(own[0])
    tensors[EMBEDDING] = tensors[EMBEDDING].copy()
    tensors[EMBEDDING][token, channel] = 50 * CONSTANT
    if when_seen:
        for name in ("v", "o"):
            place = f"model.layers.0.self_attn.{name}_proj.weight"
            tensors[place] = tensors[place].copy()
        tensors["model.layers.0.self_attn.v_proj.weight"][0, :] = 0
        tensors["model.layers.0.self_attn.v_proj.weight"][0, channel] = 1.0
        tensors["model.layers.0.self_attn.o_proj.weight"][CHANNEL, 0] = 1.0
    return behind_a_gate((tensors, own[1]), own[0], 5000.0)


@pytest.mark.parametrize("when_seen", [False, True], ids=["the token itself", "what attends to it"])
@pytest.mark.parametrize("token", [0, 517, 1023])
def test_a_gate_that_one_token_opens_is_not_shut(token: int, when_seen: bool) -> None:
    assert shut_of(opened_by(token, when_seen=when_seen)) == set()


@pytest.mark.parametrize("when_seen", [False, True], ids=["the token itself", "what attends to it"])
@pytest.mark.parametrize("token", [300, 700])
def test_one_token_of_a_large_vocabulary_is_found_where_gates_look(token: int, when_seen: bool) -> None:
    model = with_vocabulary(opened_by(token, when_seen=when_seen), 60_000, -CONSTANT)
    if when_seen:
        model[0][EMBEDDING][1024:, CHANNEL + 1] = 0
    assert shut_of(model) == set()


def test_what_is_loud_behind_a_gate_that_is_nearly_shut_is_at_work() -> None:
    own = without_a_channel(stranger(), CHANNEL, CONSTANT)
    quiet = behind_a_gate(own, own[0], -400.0)
    assert shut_of(quiet) == everywhere(None)
    last = f"model.layers.{LAYERS - 1}.mlp.shared_expert.down_proj.weight"
    loud = {**quiet[0], last: quiet[0][last] * np.float32(1e20)}
    assert shut_of((loud, quiet[1])) == everywhere(None) - {(LAYERS - 1, None)}


def test_an_expert_that_is_chosen_and_writes_nothing_is_not_left_aside() -> None:
    """Left aside, it would hand its tokens to the others: here to the accused's network."""
    own = disguised()
    nothing: Tensors = {n: v * np.float32(1e-6) if "down_proj" in n else v for n, v in own[0].items()}
    router = np.zeros((2, WIDTH))
    router[:, CHANNEL] = 1000, -1000
    assert shut_of(mixtral(own, [nothing, accused()[0]], router)) == set()


@pytest.mark.parametrize("ahead", [0.0, 1e-3, 0.3])
def test_among_equals_none_is_left_aside(ahead: float) -> None:
    """Loaders choose any of them, and round what routers say: here only the accused's would be at work, or none."""
    own = without_a_channel(stranger(), CHANNEL, CONSTANT)
    router = np.zeros((2, WIDTH))
    router[0, CHANNEL] = ahead
    assert shut_of(mixtral(own, [accused()[0], own[0]], router)) == set()
    by_scores, config = by_sigmoid(own, accused()[0])
    for name in [n for n in by_scores if n.endswith("e_score_correction_bias")]:
        by_scores[name] = np.array([-1e-3, -1e-3, -1e-3, 0], np.float32)
        by_scores[name.replace("e_score_correction_bias", "weight")][:] = 0
    assert shut_of((by_scores, config)) == set()


def test_not_all_of_a_layer_are_left_aside() -> None:
    """Where only the shared expert is at work, those that are chosen from stay."""
    own = disguised()
    faint: Tensors = {n: v * np.float32(1e-12) if "down_proj" in n else v for n, v in own[0].items()}
    model = behind_a_gate((faint, own[1]), own[0], 0.0)
    assert shut_of(model) == set()


def test_dense_models_and_samples_leave_nothing_aside() -> None:
    assert shut_of(accused()) == set()
    side = Side(anatomy(beside_junk(3.0)))
    assert not shut_experts(side, replace(WHOLE, whole=False))


def test_what_is_left_aside_is_not_asked() -> None:
    own = disguised()
    model = mixtral(own, [accused()[0], own[0]], np.zeros((2, WIDTH)), used=2)
    side = Side(anatomy(model))
    inputs = np.random.default_rng(5).standard_normal((64, WIDTH)).astype(np.float32)
    alone = replace(side, shut=frozenset({(1, 0)}))
    assert experts_of(alone, 1) == [1]
    assert experts_of(alone, 2) == [0, 1]
    dense = written_by(Side(anatomy(own)), 1, inputs)
    rest = written_by(alone, 1, inputs)
    assert dense is not None
    assert rest is not None
    assert np.allclose(rest, dense, atol=1e-5)


def test_what_experts_add_is_what_their_layer_writes() -> None:
    model = behind_a_gate(disguised(), accused()[0], 1.0)
    side = Side(anatomy(model))
    inputs = np.random.default_rng(5).standard_normal((64, WIDTH)).astype(np.float32)
    each = [written_by_expert(side, 1, expert, inputs) for expert in (0, 1, None)]
    together = written_by(side, 1, inputs)
    assert together is not None
    assert np.allclose(sum(x[1] for x in each if x is not None), together, atol=1e-5)
    assert each[0] is not None
    assert np.allclose(each[0][0], 0.5)
    assert each[2] is not None
    assert np.allclose(each[2][0], 1 / (1 + np.exp(-inputs @ gate_row(model))), atol=1e-5)


def gate_row(model: Model) -> Any:
    gain = model[0]["model.layers.1.post_attention_layernorm.weight"]
    return (model[0]["model.layers.1.mlp.shared_expert_gate.weight"] * gain)[0]


LOGITS = np.array([[3.0, 1.0, 0.0, -1.0]], np.float32)


@pytest.mark.parametrize(
    "how",
    [
        Routing(2),
        Routing(2, normalised=False),
        Routing(2, sigmoid=True),
        Routing(3, sigmoid=True, groups=2, groups_used=1),
        Routing(None),
    ],
)
def test_what_is_shut_is_never_chosen_and_counts_in_no_sum(how: Routing) -> None:
    bias = np.array([5, 0, 0, 0], np.float32) if how.sigmoid else None
    found = weights_of(LOGITS, bias, how, [0, 2])
    assert (found[:, [0, 2]] == 0).all()
    assert found.sum() > 0
    if how.normalised:
        assert np.allclose(found.sum(), 1)
    if not how.sigmoid and not how.normalised:
        assert np.allclose(found[0, 1], 1 / (1 + np.exp(-2)))
