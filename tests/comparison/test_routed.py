"""Experts are chosen, and inputs lie around a mean, as where a model is loaded: else what is never at work decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation.anatomy.flow import Flow, flow_of
from filiation.anatomy.routing import Routing, experts_used, routing_of
from filiation.errors import CorruptCheckpointError
from filiation.evidence import Relation
from filiation.lab.layout import EMBEDDING, Tensors
from filiation.lab.save import load_model
from filiation.origin.chosen import weights_of
from filiation.origin.computed import TRAINED_ALIKE, UNRELATED
from filiation.origin.gather import Side
from filiation.origin.network import written_by
from filiation.origin.pairing import Plan
from filiation.origin.stream import passed_through
from tests.comparison.test_arranged import named
from tests.comparison.test_computed import computed
from tests.comparison.test_without_effect import (
    LAYERS,
    MODELS,
    WIDTH,
    accused,
    compared,
    same_function,
    stranger,
    with_gains_of,
)
from tests.derivation.models import Model, anatomy

PARTS = ("gate", "up", "down")
WHOLE = Plan("0" * 64, whole=True)


def side(model: Model) -> Side:
    return Side(anatomy(model))


def written(model: Model, layer: int = 1) -> np.ndarray:
    inputs = np.random.default_rng(5).standard_normal((64, WIDTH)).astype(np.float32)
    found = written_by(side(model), layer, inputs)
    assert found is not None
    return found


def as_mixture(model: Model, experts: list[Tensors], spelled: Callable[[int, int, str], str]) -> Tensors:
    """Return a model whose dense networks are taken away and whose experts are these models' networks."""
    tensors = {n: v for n, v in model[0].items() if ".mlp." not in n}
    for layer in range(LAYERS):
        for number, source in enumerate(experts):
            for part in PARTS:
                tensors[spelled(layer, number, part)] = source[named(layer, part)]
    return tensors


def by_sigmoid(own: Model, theirs: Tensors) -> Model:
    """The last expert is one's own; three loud ones are the accused's, and a bias keeps them from being chosen."""
    tensors = as_mixture(
        own, [theirs] * 3 + [own[0]], lambda i, e, p: f"model.layers.{i}.mlp.experts.{e}.{p}_proj.weight"
    )
    rng = np.random.default_rng(3)
    for layer in range(LAYERS):
        rows = 30 * np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][:3]
        router = np.concatenate([rows, np.zeros((1, WIDTH))]).astype(np.float32)
        tensors[f"model.layers.{layer}.mlp.gate.weight"] = router
        bias = np.array([-2, -2, -2, 0], np.float32)
        tensors[f"model.layers.{layer}.mlp.gate.e_score_correction_bias"] = bias
    return tensors, {
        **own[1],
        "model_type": "glm4_moe",
        "architectures": ["Glm4MoeForCausalLM"],
        "n_routed_experts": 4,
        "num_experts_per_tok": 1,
        "moe_intermediate_size": own[1]["intermediate_size"],
        "first_k_dense_replace": 0,
        "n_group": 1,
        "topk_group": 1,
    }


MIXTRAL = {"gate": "w1", "up": "w3", "down": "w2"}


def mixtral(own: Model, experts: list[Tensors], router: np.ndarray, used: int = 1) -> Model:
    tensors = as_mixture(
        own,
        experts,
        lambda i, e, p: f"model.layers.{i}.block_sparse_moe.experts.{e}.{MIXTRAL[p]}.weight",
    )
    for layer in range(LAYERS):
        tensors[f"model.layers.{layer}.block_sparse_moe.gate.weight"] = router.astype(np.float32)
    return tensors, {
        **own[1],
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": len(experts),
        "num_experts_per_tok": used,
    }


def wrapped(model: Model, **outside: Any) -> Model:
    """The same model inside a wrapper of several towers."""
    tensors = {n.replace("model.", "language_model.model.", 1): v for n, v in model[0].items()}
    outer = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], **outside}
    return tensors, {**outer, "text_config": model[1]}


def disguised() -> Model:
    own, config = stranger()
    return with_gains_of(own, accused()[0]), config


def never_chosen_by_sigmoid() -> Model:
    own = disguised()
    model = by_sigmoid(own, accused()[0])
    assert np.allclose(written(model), written(own), atol=1e-5), "only the last expert is at work"
    return model


def one_of_four() -> Model:
    own = disguised()
    model = mixtral(own, [own[0]] + [accused()[0]] * 3, np.zeros((4, WIDTH)))
    same_function(own, model)
    model = wrapped(model, num_experts_per_tok=4)
    assert np.allclose(written(model), written(own), atol=1e-5), "the wrapper's number is read by nobody"
    return model


def without_a_channel(model: Model, channel: int, constant: float) -> Model:
    """Give a channel up: every token row holds the same there, and nothing reads or writes it."""
    tensors: Tensors = {}
    for name, value in model[0].items():
        value = value.copy()
        if name == EMBEDDING:
            value[:, channel] = constant
        elif value.ndim == 2 and name.endswith(("o_proj.weight", "down_proj.weight")):
            value[channel] = 0
        elif value.ndim == 2:
            value[:, channel] = 0
        tensors[name] = value
    return tensors, model[1]


def kept_shut_by_a_constant() -> Model:
    own = with_gains_of(without_a_channel(stranger(), 3, 0.05)[0], accused()[0]), stranger()[1]
    router = np.zeros((4, WIDTH))
    router[:3, 3], router[3, 3] = -1000, 1000
    model = mixtral(own, [accused()[0]] * 3 + [own[0]], router)
    same_function(own, model)
    return model


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize("framed", [never_chosen_by_sigmoid, one_of_four, kept_shut_by_a_constant])
def test_experts_that_are_never_chosen_make_no_common_origin(
    framed: Callable[[], Model], turned: bool, tmp_path: Path
) -> None:
    model = framed()
    found = compared(*((accused(), model) if turned else (model, accused())), tmp_path)
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.reason == "computes_otherwise"
    assert abs(computed(found)) < UNRELATED


def test_a_mixture_made_of_a_model_computes_alike() -> None:
    found = filiation.compare(str(MODELS / "moe-upcycled"), str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert computed(found) >= 2 * TRAINED_ALIKE


def test_a_child_behind_sigmoids_computes_alike(tmp_path: Path) -> None:
    child = load_model(MODELS / "continued")
    found = compared(by_sigmoid(child, child[0]), accused(), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert computed(found) >= TRAINED_ALIKE


LOGITS = np.array([[3.0, 1.0, 0.0, -1.0]], np.float32)
SIGMOIDS = 1 / (1 + np.exp(-LOGITS))
ROUTES: dict[str, tuple[Routing, list[float] | None, np.ndarray]] = {
    "softmax of those chosen": (
        Routing(2),
        None,
        np.array([[np.exp(3), np.exp(1), 0, 0]]) / (np.exp(3) + np.exp(1)),
    ),
    "softmax of all": (
        Routing(1, normalised=False),
        None,
        np.array([[np.exp(3), 0, 0, 0]]) / np.exp(LOGITS).sum(),
    ),
    "a bias chooses and weighs nothing": (
        Routing(1, sigmoid=True, normalised=False),
        [-2, 0, 0, 1],
        SIGMOIDS * np.array([[0, 0, 0, 1]]),
    ),
    "scaled": (Routing(1, sigmoid=True, factor=2.5), None, np.array([[2.5, 0, 0, 0]])),
    "the better group by its best two": (
        Routing(1, sigmoid=True, normalised=False, groups=2, groups_used=1),
        [-1, 0, 0, 1],
        SIGMOIDS * np.array([[0, 0, 0, 1]]),
    ),
    "the better group by its best": (
        Routing(1, normalised=False, groups=2, groups_used=1, of_group=1),
        [0, 0, 1, 0],
        np.array([[0, 0, np.exp(0), 0]]) / np.exp(LOGITS).sum(),
    ),
    "no more than the group holds": (
        Routing(3, groups=2, groups_used=1),
        None,
        np.array([[np.exp(3), np.exp(1), 0, 0]]) / (np.exp(3) + np.exp(1)),
    ),
}


@pytest.mark.parametrize("name", ROUTES)
def test_how_much_experts_count(name: str) -> None:
    how, bias, expected = ROUTES[name]
    correction = None if bias is None else np.array(bias, np.float32)
    assert np.allclose(weights_of(LOGITS, correction, how), expected, atol=1e-6)


def route(config: dict[str, Any], *, corrected: bool = False) -> Routing:
    return routing_of(config, {}, "language", corrected=corrected)


def test_a_family_reads_its_own_settings_only() -> None:
    stated = {"norm_topk_prob": False, "routed_scaling_factor": 1e-9, "scoring_func": "sigmoid"}
    assert route({"model_type": "mixtral", **stated}) == Routing(2)
    assert route({"model_type": "qwen2_moe", **stated}) == Routing(4, normalised=False)
    v3 = {"model_type": "deepseek_v3", **stated, "scoring_func": "softmax", "n_group": 4, "topk_group": 2}
    assert route(v3) == Routing(8, sigmoid=True, normalised=False, factor=1e-9, groups=4, groups_used=2)
    v2 = {"model_type": "deepseek_v2", "num_experts_per_tok": 6, "n_group": 8, "topk_group": 3}
    assert route(v2).groups == 1
    assert route({**v2, "topk_method": "group_limited_greedy"}).groups == 8


def test_a_family_that_is_not_known_does_as_its_config_says() -> None:
    assert route({"num_experts_per_tok": 2}) == Routing(2)
    assert route({"num_experts_per_tok": 2}, corrected=True) == Routing(2, sigmoid=True)
    assert route({"scoring_func": "softmax"}, corrected=True) == Routing()
    assert route({"norm_topk_prob": False, "routed_scaling_factor": 3}).factor == 3


def test_a_gguf_file_says_how_experts_are_chosen() -> None:
    metadata = {
        "general.architecture": "deepseek2",
        "deepseek2.expert_used_count": 6,
        "deepseek2.expert_gating_func": 2,
        "deepseek2.expert_weights_norm": True,
        "deepseek2.expert_weights_scale": 2.5,
    }
    assert routing_of(None, metadata, "language", corrected=True) == Routing(6, sigmoid=True, factor=2.5)


def test_how_many_experts_work_is_read_from_the_tower() -> None:
    inside = {"model_type": "mixtral", "num_experts_per_tok": 1}
    assert route({"num_experts_per_tok": 4, "text_config": inside}).used == 1
    assert route({"num_experts_per_tok": 4, "text_config": {"model_type": "mixtral"}}).used == 2
    assert experts_used({"moe_topk": 3}) == 3
    assert experts_used({}) is None


@pytest.mark.parametrize("said", ["two", -1, 1.5, True, {"a": 1}])
def test_a_number_of_experts_that_is_none_is_named_with_its_model(said: Any, tmp_path: Path) -> None:
    own = disguised()
    model = mixtral(own, [own[0], own[0]], np.zeros((2, WIDTH)))
    model = model[0], {**model[1], "num_experts_per_tok": said}
    with pytest.raises(CorruptCheckpointError) as caught:
        compared(model, accused(), tmp_path)
    assert str(tmp_path / "suspect") in caught.value.message
    assert "num_experts_per_tok" in (caught.value.reason or "")


@pytest.mark.parametrize("shape", [(3,), (1,), (4, WIDTH)])
def test_a_correction_of_another_shape_corrects_nothing(shape: tuple[int, ...]) -> None:
    model = by_sigmoid(disguised(), accused()[0])
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    none = {n: v for n, v in model[0].items() if n != name}
    odd = {**none, name: np.full(shape, 5, np.float32)}
    assert np.array_equal(written((odd, model[1])), written((none, model[1])))


def test_shared_experts_count_as_their_gate_lets_them() -> None:
    own = disguised()
    tensors = as_mixture(
        own, [own[0]] * 2, lambda i, e, p: f"model.layers.{i}.mlp.experts.{e}.{p}_proj.weight"
    )
    config = {**own[1], "model_type": "qwen2_moe", "num_experts": 2, "num_experts_per_tok": 2}
    config |= {"norm_topk_prob": True, "moe_intermediate_size": own[1]["intermediate_size"]}
    for layer in range(LAYERS):
        tensors[f"model.layers.{layer}.mlp.gate.weight"] = np.zeros((2, WIDTH), np.float32)
    alone = written((tensors, config))
    for layer in range(LAYERS):
        for part in PARTS:
            place = f"model.layers.{layer}.mlp.shared_expert.{part}_proj.weight"
            tensors[place] = accused()[0][named(layer, part)]
        tensors[f"model.layers.{layer}.mlp.shared_expert_gate.weight"] = np.zeros((1, WIDTH), np.float32)
    half = written((tensors, config)) - alone
    shared = as_mixture(own, [], lambda i, e, p: "")
    shared |= {named(i, p): accused()[0][named(i, p)] for i in range(LAYERS) for p in PARTS}
    assert np.allclose(half, 0.5 * written((shared, own[1])), atol=1e-5)


def test_what_layers_are_given_holds_what_a_bias_writes() -> None:
    """``attention_bias`` is loaded: a constant that attention writes is there for every token."""
    model = stranger()
    before = passed_through(side(model), WHOLE)
    along = np.zeros(WIDTH, np.float32)
    along[7] = 1.0
    tensors = {**model[0], "model.layers.0.self_attn.o_proj.bias": 5 * along}
    after = passed_through(side((tensors, {**model[1], "attention_bias": True})), WHOLE)
    assert before is not None
    assert after is not None
    assert np.abs(before[0].given[:, 7].mean()) < 1
    assert after[0].given[:, 7].mean() > 5
    assert after[LAYERS - 1].given[:, 7].mean() > 1
    assert passed_through(side(model), replace(WHOLE, whole=False)) is None


def test_what_layers_are_given_is_normed_and_the_same_each_time() -> None:
    one, other = (passed_through(side(accused()), WHOLE) for _ in range(2))
    assert one is not None
    assert other is not None
    assert list(one) == list(range(LAYERS))
    for layer, passed in one.items():
        assert np.array_equal(passed.given, other[layer].given)
        assert np.allclose(np.square(passed.given).mean(axis=1), 1, atol=1e-2)


def test_how_a_residual_stream_is_summed() -> None:
    def flow(**config: Any) -> Flow:
        return flow_of(config, {}, "language", 64, 4)

    assert flow(model_type="llama", rms_norm_eps=1e-5, embedding_multiplier=12.0) == Flow(epsilon=1e-5)
    assert flow(model_type="gemma2").embedding == 8
    assert flow(model_type="granite", embedding_multiplier=12.0, residual_multiplier=0.2) == Flow(
        12.0, 0.2, 1e-6
    )
    assert flow(model_type="minicpm", scale_emb=12, scale_depth=1.4) == Flow(12.0, 0.7, 1e-6)
    assert flow(model_type="gpt_neox").parallel
    assert not flow(model_type="gpt_neox", use_parallel_residual=False).parallel
