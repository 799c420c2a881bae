"""Tensors that loaders of the stated family drop are no parts; what two claim to be is not used; nothing else goes."""

from __future__ import annotations

from typing import Any

import pytest

from filiation.anatomy import Anatomy, describe, dissect
from filiation.anatomy.built import Mixture
from filiation.anatomy.names import find_stacks
from tests.anatomy.test_families import FAMILIES, dissected, inventory
from tests.anatomy.test_gguf import llama_shapes, metadata
from tests.support import shape_checkpoint

Shapes = dict[str, list[int]]
WIDTH, HIDDEN = 48, 80
FFN: Shapes = {"gate": [HIDDEN, WIDTH], "up": [HIDDEN, WIDTH], "down": [WIDTH, HIDDEN]}
NUMBERED: Shapes = {f"mlp.experts.0.{role}_proj.weight": shape for role, shape in FFN.items()}
MIXTRAL: Shapes = {
    "block_sparse_moe.experts.0.w1.weight": FFN["gate"],
    "block_sparse_moe.experts.0.w2.weight": FFN["down"],
    "block_sparse_moe.experts.0.w3.weight": FFN["up"],
    "block_sparse_moe.gate.weight": [1, WIDTH],
}
MINICPM: Shapes = {
    name.replace("block_sparse_moe", "mlp"): shape for name, shape in MIXTRAL.items() if "experts" in name
}
DENSE: Shapes = {f"mlp.{role}_proj.weight": shape for role, shape in FFN.items()}
FUSED: Shapes = {"mlp.gate_up_proj.weight": [2 * HIDDEN, WIDTH], "self_attn.qkv_proj.weight": [96, WIDTH]}
BIASES: Shapes = {f"mlp.{role}_proj.bias": shape[:1] for role, shape in FFN.items()}
ATTENTION_BIASES: Shapes = {"self_attn.q_proj.bias": [48], "self_attn.o_proj.bias": [48]}
ENDINGS: Shapes = {"mlp.gate_proj.g": [HIDDEN, WIDTH], "mlp.up_proj": [HIDDEN, WIDTH]}
NORMS: Shapes = {"input_layernorm.bias": [WIDTH], "self_attn.q_norm.weight": [8]}
CORRECTION: Shapes = {"mlp.gate.e_score_correction_bias": [4]}


def in_layers(planted: Shapes, prefix: str = "model.layers.") -> Shapes:
    return {f"{prefix}{layer}.{name}": shape for layer in (0, 1) for name, shape in planted.items()}


def planted(family: str, extra: Shapes, **config: Any) -> Anatomy:
    record = inventory(family)
    shapes = record["shapes"] | in_layers(extra, prefix_of(family))
    return dissect(shape_checkpoint(shapes, {**record["config"], **config}))


def prefix_of(family: str) -> str:
    return "model.layers." if "model.norm.weight" in inventory(family)["shapes"] else "transformer.h."


def places(anatomy: Anatomy) -> set[tuple[Any, ...]]:
    return {(p.component, p.role, p.layer, p.expert, p.tensor, p.shape) for p in anatomy.parts}


@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize("name", FAMILIES)
def test_everything_that_save_pretrained_writes_is_loaded(name: str, config: bool) -> None:
    anatomy = dissected(name, config=config)
    assert not anatomy.unread
    assert not anatomy.disputed


LEFT_OVER: list[tuple[str, Shapes]] = [
    ("llama", NUMBERED),
    ("llama", MIXTRAL),
    ("llama", MINICPM),
    ("llama", FUSED),
    ("llama", BIASES),
    ("llama", ATTENTION_BIASES),
    ("llama", ENDINGS),
    ("llama", NORMS),
    ("llama", {**NUMBERED, **MINICPM, **FUSED, **BIASES}),
    ("mistral", BIASES | ATTENTION_BIASES),
    ("gemma2", BIASES | ATTENTION_BIASES),
    ("qwen2", BIASES | {"self_attn.o_proj.bias": [48]}),
    ("qwen3", NUMBERED | MIXTRAL),
    ("mixtral", DENSE),
    ("mixtral", NUMBERED),
    ("qwen3_moe", DENSE),
    ("qwen3_moe", CORRECTION | {"mlp.shared_expert.down_proj.weight": [WIDTH, HIDDEN]}),
    ("phi3", DENSE | {"self_attn.q_proj.weight": [48, 48]}),
    ("nemotron", {"mlp.gate_proj.weight": [HIDDEN, WIDTH]}),
    ("glm", DENSE),
    ("falcon_7b", {"mlp.dense_h_to_4h.bias": [4 * WIDTH]}),
    ("gptj", {"attn.q_proj.bias": [WIDTH]}),
    ("gpt_neo", {"attn.attention.k_proj.bias": [WIDTH]}),
]


@pytest.mark.parametrize(("family", "extra"), LEFT_OVER)
def test_what_loaders_drop_is_listed_and_changes_nothing(family: str, extra: Shapes) -> None:
    found, plain = planted(family, extra), dissected(family)
    left = {name for name in in_layers(extra, prefix_of(family)) if name not in inventory(family)["shapes"]}
    assert places(found) == places(plain)
    assert found.geometry == plain.geometry
    assert found.rulings == plain.rulings
    assert {*found.unread["language"]} == left
    assert not found.disputed
    assert any("stored and not loaded" in inference.what for inference in found.inferences)
    assert describe(found)["unread"] == {"language": list(found.unread["language"])}
    assert found.renamed("language", "other").unread == {"other": found.unread["language"]}


@pytest.mark.parametrize("lie", [{"num_local_experts": 1}, {"architectures": ["LlamaForCausalLM", "Odd"]}])
def test_a_config_that_lies_about_experts_gets_none(lie: dict[str, Any]) -> None:
    assert places(planted("llama", NUMBERED, **lie)) == places(dissected("llama"))


def test_a_type_and_an_architecture_that_disagree_leave_neither() -> None:
    found = planted("llama", MIXTRAL, architectures=["MixtralForCausalLM"])
    assert not [p for p in found.parts if p.role in ("gate", "up", "down")]
    assert {*in_layers(MIXTRAL)} <= {*found.unread["language"]} | {*found.disputed.get("language", ())}


def test_biases_are_loaded_where_they_are_switched_on() -> None:
    extra = BIASES | {f"self_attn.{role}_proj.bias": [48 if role in "qo" else 24] for role in "qkvo"}
    found = planted("llama", extra, mlp_bias=True, attention_bias=True)
    assert not found.unread
    assert {*in_layers(extra)} <= {p.tensor for p in found.parts}
    half = planted("llama", extra, mlp_bias=True)
    assert {*half.unread["language"]} == {*in_layers({n: s for n, s in extra.items() if "attn" in n})}


def test_qwen2_needs_no_key_for_its_biases() -> None:
    record = inventory("qwen2")
    config = {key: value for key, value in record["config"].items() if "bias" not in key}
    found = dissect(shape_checkpoint(record["shapes"], config))
    assert not found.unread
    assert len([p for p in found.parts if p.role.endswith(".bias")]) == 6


def test_a_model_stored_in_another_familys_way_keeps_its_parts() -> None:
    """A Llama whose projections are fused, as inference servers store them, is somebody's model."""
    record = inventory("phi3")
    config = {**record["config"], "model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    found = dissect(shape_checkpoint(record["shapes"], config))
    assert not found.unread
    assert {"q", "k", "v", "gate", "up"} <= {p.role for p in found.parts}


@pytest.mark.parametrize("kept", ["dense", "experts"])
def test_which_layers_are_mixtures_is_the_configs(kept: str) -> None:
    """A dense layer keeps its network, a mixture its experts, whatever else stands there."""
    shared = {f"mlp.shared_experts.{role}_proj.weight": shape for role, shape in FFN.items()}
    extra = {**DENSE, **shared, "mlp.gate.weight": [1, WIDTH]}
    found = planted("deepseek_v3", extra | NUMBERED, first_k_dense_replace=2 if kept == "dense" else 0)
    roles = {(p.role, p.expert is not None) for p in found.parts if p.role in ("gate", "up", "down")}
    assert roles == {(role, kept == "experts") for role in ("gate", "up", "down")}
    assert not found.disputed


@pytest.mark.parametrize(
    ("mixture", "config", "expected"),
    [
        (Mixture(), {}, [True, True, True]),
        (Mixture(), {"num_experts": 0}, [False, False, False]),
        (Mixture(), {"num_experts": 0, "num_local_experts": 2}, [None, None, None]),
        (Mixture(count="num_experts"), {}, [False, False, False]),
        (Mixture(count="num_experts"), {"num_experts": 8}, [True, True, True]),
        (Mixture(dense_first="first", dense_usual=1), {}, [False, True, True]),
        (Mixture(dense_first="first"), {}, [None, None, None]),
        (Mixture(dense_first="first"), {"first": 2}, [False, False, True]),
        (Mixture(dense_first="first"), {"first": "2"}, [None, None, None]),
        (Mixture(dense_first="first", period="freq"), {"first": 0, "freq": 2}, [None, None, None]),
        (Mixture(step="step", dense="only"), {"step": 2, "only": [1]}, [False, False, False]),
        (Mixture(step="step", dense="only"), {"only": [1]}, [True, False, True]),
        (Mixture(mixed="moe", step="step"), {"moe": [2], "step": 1}, [False, False, True]),
        (Mixture(mixed="moe", step="step"), {"step": 2}, [False, True, False]),
    ],
)
def test_mixtures_by_the_words_of_configs(
    mixture: Mixture, config: dict[str, Any], expected: list[bool | None]
) -> None:
    assert [mixture.at(config, layer) for layer in range(3)] == expected


@pytest.mark.parametrize("config", [None, {"model_type": "nobody_knows"}])
def test_of_two_claims_that_nobody_can_judge_none_is_used(config: dict[str, Any] | None) -> None:
    shapes = inventory("llama")["shapes"]
    found = dissect(shape_checkpoint(shapes | in_layers(NUMBERED), config))
    assert {*found.disputed["language"]} == {*in_layers(NUMBERED), *in_layers(DENSE)}
    assert not [p for p in found.parts if p.role in ("gate", "up", "down")]
    assert any("none of them was used" in inference.basis for inference in found.inferences)
    again = dissect(shape_checkpoint(shapes | in_layers({"mlp.gate_up_proj.weight": [160, 48]}), config))
    assert {p.role for p in again.parts} >= {"down", "q", "k", "v", "o"}
    assert {p.role for p in again.parts}.isdisjoint({"gate", "up"})


def test_biases_of_unknown_families_are_kept() -> None:
    shapes = inventory("llama")["shapes"] | in_layers(BIASES)
    found = dissect(shape_checkpoint(shapes, {"model_type": "nobody_knows"}))
    assert {*in_layers(BIASES)} <= {p.tensor for p in found.parts}


BESIDE: list[Shapes] = [
    {"embed_tokens.weight": [96, WIDTH]},
    {"model.embed_tokens.g": [96, WIDTH]},
    {"model.embed_tokens": [96, WIDTH], "lm_head.g": [96, WIDTH]},
    {"norm.weight": [WIDTH], "model.norm.bias": [WIDTH]},
]


@pytest.mark.parametrize("extra", BESIDE)
def test_what_stands_beside_the_layers_is_read_under_one_name(extra: Shapes) -> None:
    record = inventory("llama")
    for shapes in (record["shapes"] | extra, extra | record["shapes"]):
        found = dissect(shape_checkpoint(shapes, record["config"]))
        assert places(found) == places(dissected("llama"))
        assert {*found.unread["language"]} == {*extra}
        assert found.geometry == dissected("llama").geometry


@pytest.mark.parametrize("padded", ["00", "٠"])
def test_a_layer_number_is_written_in_one_way(padded: str) -> None:
    shapes = inventory("llama")["shapes"]
    left = {f"model.layers.{padded}.{name}": shape for name, shape in DENSE.items()}
    for together in (shapes | left, left | shapes):
        found = dissect(shape_checkpoint(together, inventory("llama")["config"]))
        assert places(found) == places(dissected("llama"))
    alone = {name.replace("layers.0.", f"layers.{padded}."): shape for name, shape in shapes.items()}
    found = dissect(shape_checkpoint(alone, inventory("llama")["config"]))
    assert {p.tensor for p in found.parts} == {*alone}


@pytest.mark.parametrize("padded", ["00", "٠"])
def test_an_experts_number_is_written_in_one_way(padded: str) -> None:
    left = {name.replace("experts.0", f"experts.{padded}"): shape for name, shape in MIXTRAL.items()}
    left = {name: shape for name, shape in left.items() if padded in name}
    assert places(planted("mixtral", left)) == places(dissected("mixtral"))


def test_what_wrappers_add_to_a_name_hides_nothing() -> None:
    """``base_layer`` in the middle of a name is passed over, unless a plain name says the same."""
    plain, wrapped = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.base_layer.up_proj.weight"
    for names in ([plain, wrapped], [wrapped, plain]):
        stacks, _ = find_stacks(names)
        (stack,) = stacks.values()
        assert stack.layers[0]["mlp", "up_proj", "weight"] == plain
        assert wrapped in stack.layers[0].values()
    (alone,) = find_stacks([wrapped])[0].values()
    assert alone.layers[0] == {("mlp", "up_proj", "weight"): wrapped}


GGUF_EXPERTS: Shapes = {
    "ffn_gate_exps.weight": [2, 80, 48],
    "ffn_up_exps.weight": [2, 80, 48],
    "ffn_down_exps.weight": [2, 48, 80],
    "ffn_gate_inp.weight": [2, 48],
}


@pytest.mark.parametrize("arch", ["llama", "nobody_knows"])
def test_a_gguf_file_without_experts_says_so(arch: str) -> None:
    shapes = {**llama_shapes(), **in_layers(GGUF_EXPERTS, "blk.")}
    found = dissect(shape_checkpoint(shapes, metadata=metadata(arch), format="gguf"))
    assert {*found.unread["language"]} == {*in_layers(GGUF_EXPERTS, "blk.")}
    assert {p.tensor for p in found.parts} == {*llama_shapes()}


@pytest.mark.parametrize("arch", ["llama", "nobody_knows"])
def test_biases_in_a_gguf_file_are_loaded(arch: str) -> None:
    """llama.cpp refuses a file that holds what it does not load."""
    biases = in_layers({"attn_norm.bias": [48], "attn_q.bias": [48], "ffn_up.bias": [80]}, "blk.")
    found = dissect(shape_checkpoint({**llama_shapes(), **biases}, metadata=metadata(arch), format="gguf"))
    assert not found.unread
    assert {*biases} <= {p.tensor for p in found.parts}


@pytest.mark.parametrize(("arch", "are_kept"), [("llama", False), ("nobody_knows", False), ("arctic", True)])
def test_a_gguf_mixture_beside_a_dense_network(arch: str, are_kept: bool) -> None:
    """Which of a mixture's layers are dense is not read; Arctic's hold both."""
    shapes = {**llama_shapes(), **in_layers(GGUF_EXPERTS, "blk.")}
    found = dissect(shape_checkpoint(shapes, metadata=metadata(arch, expert_count=2), format="gguf"))
    assert bool(found.disputed) is not are_kept
    assert ("down" in {p.role for p in found.parts}) is are_kept
    assert not found.unread
