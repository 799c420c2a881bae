"""The exact role of selected tensors, family by family."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.anatomy import Axis, dissect
from filiation.anatomy.roles import AXES, axes_of
from tests.anatomy.test_families import dissected, inventory
from tests.support import memory_checkpoint

# family -> tensor -> (component, role, layer, expert)
EXPECTED: dict[str, dict[str, tuple[str, str, int | None, int | None]]] = {
    "llama": {
        "model.layers.1.post_attention_layernorm.weight": ("language", "ffn_norm", 1, None),
        "model.layers.0.mlp.gate_proj.weight": ("language", "gate", 0, None),
        "lm_head.weight": ("language", "head", None, None),
        "model.norm.weight": ("language", "final_norm", None, None),
    },
    "mixtral": {
        "model.layers.1.block_sparse_moe.experts.3.w2.weight": ("language", "down", 1, 3),
        "model.layers.1.block_sparse_moe.experts.3.w3.weight": ("language", "up", 1, 3),
        "model.layers.0.block_sparse_moe.gate.weight": ("language", "router", 0, None),
    },
    "qwen2_moe": {
        "model.layers.0.mlp.shared_expert.down_proj.weight": ("language", "shared.down", 0, None),
        "model.layers.0.mlp.shared_expert_gate.weight": ("language", "shared.router", 0, None),
        "model.layers.0.self_attn.q_proj.bias": ("language", "q.bias", 0, None),
    },
    "deepseek_v3": {
        "model.layers.0.mlp.gate_proj.weight": ("language", "gate", 0, None),
        "model.layers.1.mlp.experts.2.gate_proj.weight": ("language", "gate", 1, 2),
        "model.layers.1.mlp.gate.e_score_correction_bias": ("language", "router.bias", 1, None),
        "model.layers.1.self_attn.kv_a_proj_with_mqa.weight": ("language", "kv_a", 1, None),
        "model.layers.1.self_attn.q_a_layernorm.weight": ("language", "q_a_norm", 1, None),
    },
    "gemma2": {
        "model.layers.0.post_attention_layernorm.weight": ("language", "post_attn_norm", 0, None),
        "model.layers.0.pre_feedforward_layernorm.weight": ("language", "ffn_norm", 0, None),
        "model.layers.0.post_feedforward_layernorm.weight": ("language", "post_ffn_norm", 0, None),
    },
    "glm4": {
        "model.layers.0.post_self_attn_layernorm.weight": ("language", "post_attn_norm", 0, None),
        "model.layers.0.post_attention_layernorm.weight": ("language", "ffn_norm", 0, None),
    },
    "bert": {
        "bert.encoder.layer.1.attention.output.LayerNorm.weight": ("language", "post_attn_norm", 1, None),
        "bert.encoder.layer.1.output.dense.weight": ("language", "down", 1, None),
        "bert.embeddings.LayerNorm.bias": ("language", "embedding_norm.bias", None, None),
        "cls.predictions.bias": ("language", "head.bias", None, None),
    },
    "roberta": {
        "lm_head.dense.weight": ("language", "head_dense", None, None),
        "roberta.embeddings.token_type_embeddings.weight": ("language", "token_type", None, None),
    },
    "t5_v1_1": {
        "shared.weight": ("language", "embedding", None, None),
        "encoder.block.0.layer.1.DenseReluDense.wi_0.weight": ("encoder", "gate", 0, None),
        "decoder.block.1.layer.1.EncDecAttention.k.weight": ("language", "cross.k", 1, None),
        "decoder.block.1.layer.2.layer_norm.weight": ("language", "ffn_norm", 1, None),
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (
            "encoder",
            "rel_bias",
            0,
            None,
        ),
    },
    "whisper": {
        "model.encoder.embed_positions.weight": ("audio", "position", None, None),
        "model.encoder.conv1.weight": ("audio", "conv1", None, None),
        "model.decoder.layers.1.encoder_attn.v_proj.weight": ("language", "cross.v", 1, None),
        "model.encoder.layers.0.fc1.bias": ("audio", "up.bias", 0, None),
    },
    "llava": {
        "vision_tower.encoder.layers.1.mlp.fc2.weight": ("vision", "down", 1, None),
        "vision_tower.embeddings.class_embedding": ("vision", "class_token", None, None),
        "multi_modal_projector.linear_1.weight": ("projector", "linear_1", None, None),
        "language_model.lm_head.weight": ("language", "head", None, None),
    },
    "qwen2_vl": {
        "visual.merger.mlp.2.weight": ("projector", "mlp.2", None, None),
        "visual.patch_embed.proj.weight": ("vision", "patch", None, None),
        "model.layers.1.mlp.up_proj.weight": ("language", "up", 1, None),
    },
    "clip": {
        "text_model.embeddings.token_embedding.weight": ("language", "embedding", None, None),
        "vision_model.post_layernorm.weight": ("vision", "final_norm", None, None),
    },
    "stablelm_12b": {
        "model.layers.1.self_attn.q_layernorm.norms.4.weight": ("language", "q_norm.4", 1, None),
    },
    "gpt_oss": {"model.layers.0.self_attn.sinks": ("language", "sinks", 0, None)},
    "opt_350m": {
        "model.decoder.project_in.weight": ("language", "embedding_in", None, None),
        "model.decoder.embed_tokens.weight": ("language", "embedding", None, None),
    },
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_selected_tensors(name: str) -> None:
    anatomy = dissected(name)
    parts = {p.tensor: (p.component, p.role, p.layer, p.expert) for p in anatomy.parts}
    assert {tensor: parts[tensor] for tensor in EXPECTED[name]} == EXPECTED[name]


FUSED = {
    "gpt2": ("transformer.h.0.attn.c_attn.weight", ("q", "k", "v")),
    "phi3": ("model.layers.0.mlp.gate_up_proj.weight", ("gate", "up")),
    "bloom": ("transformer.h.0.self_attention.query_key_value.weight", ("q", "k", "v")),
    "granitemoe": ("model.layers.0.block_sparse_moe.input_linear.weight", ("gate", "up")),
}


@pytest.mark.parametrize("name", sorted(FUSED))
def test_fused_tensors_are_split(name: str) -> None:
    tensor, roles = FUSED[name]
    assert tuple(dict.fromkeys(p.role for p in dissected(name).parts if p.tensor == tensor)) == roles


def arrays(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k: rng.standard_normal(s).astype(np.float32) for k, s in inventory(name)["shapes"].items()}


def test_neox_rows_go_head_by_head() -> None:
    """GPT-NeoX views its projection as [heads, (q, k, v), d_head]."""
    weights = arrays("gpt_neox")
    anatomy = dissect(memory_checkpoint(weights, inventory("gpt_neox")["config"]))
    stored = weights["gpt_neox.layers.0.attention.query_key_value.weight"].reshape(6, 3, 8, 48)
    for i, role in enumerate(("q", "k", "v")):
        part = anatomy.part(role, 0)
        assert part is not None
        np.testing.assert_array_equal(anatomy.read(part), stored[:, i].reshape(48, 48))
    bias = anatomy.part("k.bias", 0)
    assert bias is not None
    whole = weights["gpt_neox.layers.0.attention.query_key_value.bias"].reshape(6, 3, 8)
    np.testing.assert_array_equal(anatomy.read(bias), whole[:, 1].reshape(48))


def test_gpt2_is_turned() -> None:
    weights = arrays("gpt2")
    anatomy = dissect(memory_checkpoint(weights, inventory("gpt2")["config"]))
    k, down = anatomy.part("k", 1), anatomy.part("down", 1)
    assert k is not None
    assert down is not None
    np.testing.assert_array_equal(anatomy.read(k), weights["transformer.h.1.attn.c_attn.weight"].T[48:96])
    assert down.shape == (48, 80)


def test_gpt_oss_experts_are_turned_and_interleaved() -> None:
    weights = arrays("gpt_oss")
    anatomy = dissect(memory_checkpoint(weights, inventory("gpt_oss")["config"]))
    up, bias = anatomy.part("up", 0, expert=2), anatomy.part("gate.bias", 0, expert=2)
    assert up is not None
    assert bias is not None
    stored = weights["model.layers.0.mlp.experts.gate_up_proj"][2]
    np.testing.assert_array_equal(anatomy.read(up), stored.T[1::2])
    np.testing.assert_array_equal(
        anatomy.read(bias), weights["model.layers.0.mlp.experts.gate_up_proj_bias"][2, 0::2]
    )


def test_gemma_gains_get_their_one() -> None:
    weights = arrays("gemma3_text")
    anatomy = dissect(memory_checkpoint(weights, inventory("gemma3_text")["config"]))
    for role, tensor in (("attn_norm", "input_layernorm"), ("q_norm", "self_attn.q_norm")):
        part = anatomy.part(role, 0)
        assert part is not None
        np.testing.assert_array_equal(anatomy.read(part), weights[f"model.layers.0.{tensor}.weight"] + 1)
    q = anatomy.part("q", 0)
    assert q is not None
    assert q.view.offset == 0.0


def test_axes_of_roles() -> None:
    assert axes_of("o", 2) == (Axis.RESIDUAL, Axis.QUERY)
    assert axes_of("o.bias", 1) == (Axis.RESIDUAL,)
    assert axes_of("whatever", 3) == (Axis.OTHER,) * 3
    assert all(axes for axes in AXES.values())


def test_a_tied_head_counts_once() -> None:
    record = inventory("smollm3")
    shapes = record["shapes"] | {"lm_head.weight": record["shapes"]["model.embed_tokens.weight"]}
    weights = {k: np.zeros(s, np.float32) for k, s in shapes.items()}
    anatomy = dissect(memory_checkpoint(weights, record["config"]))
    assert anatomy.part("head") is None
    assert anatomy.geometry["language"].tied_embeddings
    assert any("lm_head" in i.what for i in anatomy.inferences)
    free = dissect(memory_checkpoint(weights, record["config"] | {"tie_word_embeddings": False}))
    assert free.part("head") is not None


def test_draft_layers_are_a_component_of_their_own() -> None:
    """DeepSeek V3 ships a further layer that predicts the token after the next."""
    record = inventory("deepseek_v3")
    shapes = dict(record["shapes"])
    for name, shape in record["shapes"].items():
        if name.startswith("model.layers.1."):
            shapes[name.replace("layers.1.", "layers.2.")] = shape
    shapes |= {
        "model.layers.2.eh_proj.weight": [48, 96],
        "model.layers.2.enorm.weight": [48],
        "model.layers.2.hnorm.weight": [48],
        "model.layers.2.embed_tokens.weight": [96, 48],
        "model.layers.2.shared_head.norm.weight": [48],
        "model.layers.2.shared_head.head.weight": [96, 48],
    }
    config = record["config"] | {"num_nextn_predict_layers": 1}
    anatomy = dissect(memory_checkpoint({k: np.zeros(s, np.float32) for k, s in shapes.items()}, config))
    assert anatomy.unnamed == ()
    assert anatomy.components == ("language", "draft")
    assert anatomy.spare == ("draft",)
    assert anatomy.geometry["language"].n_layers == 2
    assert {p.layer for p in anatomy.parts if p.component == "draft"} == {2}
    assert max(p.layer or 0 for p in anatomy.parts if p.component == "language") == 1


def test_stacked_experts_are_read_either_way_round() -> None:
    """`mlp.experts.gate_up_proj` has been written as [experts, out, in] and as [experts, in, out]."""
    record = inventory("qwen3_moe")
    shapes = {k: v for k, v in record["shapes"].items() if ".experts." not in k}
    for turned in (False, True):
        stacks = {"gate_up_proj": [4, 64, 48], "down_proj": [4, 48, 32]}
        if turned:
            stacks = {name: [a, c, b] for name, (a, b, c) in stacks.items()}
        both = shapes | {f"model.layers.{n}.mlp.experts.{k}": s for n in range(2) for k, s in stacks.items()}
        anatomy = dissect(
            memory_checkpoint({k: np.zeros(s, np.float32) for k, s in both.items()}, record["config"])
        )
        up, down = anatomy.part("up", 1, expert=3), anatomy.part("down", 1, expert=3)
        assert up is not None
        assert down is not None
        assert (up.shape, down.shape) == ((32, 48), (48, 32))
        assert up.view.transpose is down.view.transpose is turned
