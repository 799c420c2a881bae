"""Families whose code is not in transformers: names as their modeling files and checkpoints spell them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.anatomy import Anatomy, Symmetry, dissect
from tests.support import memory_checkpoint, shape_checkpoint

D, F, V, H, KV, HD, LAYERS = 48, 80, 96, 6, 3, 8, 2
Shapes = dict[str, tuple[int, ...]]
CONFIG: dict[str, Any] = {
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": H,
    "num_key_value_heads": KV,
    "vocab_size": V,
}


def model(layer: str, inside: Shapes, outside: Shapes, layers: int = LAYERS) -> Shapes:
    shapes = {f"{layer}.{n}.{name}": shape for n in range(layers) for name, shape in inside.items()}
    return shapes | outside


LLAMA_LAYER: Shapes = {
    "self_attn.q_proj.weight": (H * HD, D),
    "self_attn.k_proj.weight": (KV * HD, D),
    "self_attn.v_proj.weight": (KV * HD, D),
    "self_attn.o_proj.weight": (D, H * HD),
    "mlp.gate_proj.weight": (F, D),
    "mlp.up_proj.weight": (F, D),
    "mlp.down_proj.weight": (D, F),
    "input_layernorm.weight": (D,),
    "post_attention_layernorm.weight": (D,),
}
LLAMA_OUTSIDE: Shapes = {
    "model.embed_tokens.weight": (V, D),
    "model.norm.weight": (D,),
    "lm_head.weight": (V, D),
}


def swap(shapes: Shapes, *pairs: tuple[str, str]) -> Shapes:
    for old, new in pairs:
        shapes = {name.replace(old, new): shape for name, shape in shapes.items()}
    return shapes


YI = model(
    "model.layers",
    swap(LLAMA_LAYER, ("input_layernorm", "ln1"), ("post_attention_layernorm", "ln2")),
    LLAMA_OUTSIDE,
)
BAICHUAN_LAYER = {
    k: v for k, v in LLAMA_LAYER.items() if k.split(".")[1] not in ("q_proj", "k_proj", "v_proj")
}
BAICHUAN = model(
    "model.layers",
    {
        **BAICHUAN_LAYER,
        "self_attn.W_pack.weight": (3 * D, D),
        "self_attn.rotary_emb.inv_freq": (HD // 2,),
    },
    LLAMA_OUTSIDE,
)
INTERNLM2 = model(
    "model.layers",
    {
        "attention.wqkv.weight": ((H + 2 * KV) * HD, D),
        "attention.wo.weight": (D, H * HD),
        "attention_norm.weight": (D,),
        "feed_forward.w1.weight": (F, D),
        "feed_forward.w2.weight": (D, F),
        "feed_forward.w3.weight": (F, D),
        "ffn_norm.weight": (D,),
    },
    {"model.tok_embeddings.weight": (V, D), "model.norm.weight": (D,), "output.weight": (V, D)},
)
CHATGLM = model(
    "transformer.encoder.layers",
    {
        "input_layernorm.weight": (D,),
        "self_attention.query_key_value.weight": ((H + 2 * KV) * HD, D),
        "self_attention.query_key_value.bias": ((H + 2 * KV) * HD,),
        "self_attention.dense.weight": (D, D),
        "post_attention_layernorm.weight": (D,),
        "mlp.dense_h_to_4h.weight": (2 * F, D),
        "mlp.dense_4h_to_h.weight": (D, F),
    },
    {
        "transformer.embedding.word_embeddings.weight": (V, D),
        "transformer.encoder.final_layernorm.weight": (D,),
        "transformer.output_layer.weight": (V, D),
        "transformer.rotary_pos_emb.inv_freq": (HD // 4,),
    },
)
CHATGLM_CONFIG = {
    "model_type": "chatglm",
    "hidden_size": D,
    "ffn_hidden_size": F,
    "num_layers": LAYERS,
    "num_attention_heads": H,
    "kv_channels": HD,
    "multi_query_attention": True,
    "multi_query_group_num": KV,
    "padded_vocab_size": V,
}
CHATGLM1 = model(
    "transformer.layers",
    {
        "input_layernorm.weight": (D,),
        "input_layernorm.bias": (D,),
        "attention.query_key_value.weight": (3 * D, D),
        "attention.query_key_value.bias": (3 * D,),
        "attention.dense.weight": (D, D),
        "attention.dense.bias": (D,),
        "attention.rotary_emb.inv_freq": (HD // 4,),
        "post_attention_layernorm.weight": (D,),
        "post_attention_layernorm.bias": (D,),
        "mlp.dense_h_to_4h.weight": (F, D),
        "mlp.dense_h_to_4h.bias": (F,),
        "mlp.dense_4h_to_h.weight": (D, F),
        "mlp.dense_4h_to_h.bias": (D,),
    },
    {
        "transformer.word_embeddings.weight": (V, D),
        "transformer.final_layernorm.weight": (D,),
        "transformer.final_layernorm.bias": (D,),
        "lm_head.weight": (V, D),
    },
)
QWEN1 = model(
    "transformer.h",
    {
        "ln_1.weight": (D,),
        "attn.c_attn.weight": (3 * D, D),
        "attn.c_attn.bias": (3 * D,),
        "attn.c_proj.weight": (D, D),
        "ln_2.weight": (D,),
        "mlp.w1.weight": (F, D),
        "mlp.w2.weight": (F, D),
        "mlp.c_proj.weight": (D, F),
    },
    {
        "transformer.wte.weight": (V, D),
        "transformer.ln_f.weight": (D,),
        "lm_head.weight": (V, D),
    },
)
MINICPM_MOE = model(
    "model.layers",
    {
        **{k: v for k, v in LLAMA_LAYER.items() if not k.startswith("mlp.")},
        "mlp.gate.weight": (4, D),
        **{f"mlp.experts.{e}.w1.weight": (F, D) for e in range(4)},
        **{f"mlp.experts.{e}.w2.weight": (D, F) for e in range(4)},
        **{f"mlp.experts.{e}.w3.weight": (F, D) for e in range(4)},
    },
    {k: v for k, v in LLAMA_OUTSIDE.items() if k != "lm_head.weight"},
)
PANGU_MOE = model(
    "model.layers",
    {
        **{k: v for k, v in LLAMA_LAYER.items() if not k.startswith("mlp.")},
        "self_attn.q_proj.bias": (H * HD,),
        "self_attn.k_proj.bias": (KV * HD,),
        "self_attn.v_proj.bias": (KV * HD,),
        "self_attn.o_proj.bias": (D,),
        "mlp.gate.weight": (4, D),
        "mlp.router_scale": (1, 4),
        **{f"mlp.experts.{e}.{p}_proj.weight": (24, D) for e in range(4) for p in ("gate", "up")},
        **{f"mlp.experts.{e}.down_proj.weight": (D, 24) for e in range(4)},
        "mlp.shared_expert.gate_proj.weight": (40, D),
        "mlp.shared_expert.up_proj.weight": (40, D),
        "mlp.shared_expert.down_proj.weight": (D, 40),
    },
    LLAMA_OUTSIDE,
)
META = model(
    "layers",
    {
        "attention.wq.weight": (H * HD, D),
        "attention.wk.weight": (KV * HD, D),
        "attention.wv.weight": (KV * HD, D),
        "attention.wo.weight": (D, H * HD),
        "feed_forward.w1.weight": (F, D),
        "feed_forward.w2.weight": (D, F),
        "feed_forward.w3.weight": (F, D),
        "attention_norm.weight": (D,),
        "ffn_norm.weight": (D,),
    },
    {
        "tok_embeddings.weight": (V, D),
        "norm.weight": (D,),
        "output.weight": (V, D),
        "rope.freqs": (HD // 2,),
    },
)
OLMO1 = model(
    "model.transformer.blocks",
    {
        "att_proj.weight": (3 * D, D),
        "attn_out.weight": (D, D),
        "ff_proj.weight": (2 * F, D),
        "ff_out.weight": (D, F),
    },
    {"model.transformer.wte.weight": (V, D), "model.transformer.ff_out.weight": (V, D)},
)
PHI1 = model(
    "transformer.h",
    {
        "ln.weight": (D,),
        "ln.bias": (D,),
        "mixer.Wqkv.weight": (3 * D, D),
        "mixer.Wqkv.bias": (3 * D,),
        "mixer.out_proj.weight": (D, D),
        "mixer.out_proj.bias": (D,),
        "mlp.fc1.weight": (F, D),
        "mlp.fc1.bias": (F,),
        "mlp.fc2.weight": (D, F),
        "mlp.fc2.bias": (D,),
    },
    {
        "transformer.embd.wte.weight": (V, D),
        "lm_head.ln.weight": (D,),
        "lm_head.ln.bias": (D,),
        "lm_head.linear.weight": (V, D),
        "lm_head.linear.bias": (V,),
    },
)

MHA = {**CONFIG, "num_key_value_heads": H}
CASES: dict[str, tuple[Shapes, dict[str, Any]]] = {
    "yi": (YI, {**CONFIG, "model_type": "Yi"}),
    "baichuan": (BAICHUAN, {**MHA, "model_type": "baichuan"}),
    "internlm2": (INTERNLM2, {**CONFIG, "model_type": "internlm2"}),
    "chatglm": (CHATGLM, CHATGLM_CONFIG),
    "chatglm1": (CHATGLM1, {**MHA, "model_type": "chatglm", "inner_hidden_size": F}),
    "qwen": (QWEN1, {**MHA, "model_type": "qwen", "intermediate_size": 2 * F}),
    "minicpm": (MINICPM_MOE, {**CONFIG, "model_type": "minicpm", "num_experts": 4}),
    "pangu_moe": (PANGU_MOE, {**CONFIG, "model_type": "PanguProMoE", "num_experts": 4, "num_groups": 2}),
    "llama_meta": (META, {"dim": D, "n_layers": LAYERS, "n_heads": H, "n_kv_heads": KV, "vocab_size": V}),
    "olmo_original": (OLMO1, {"model_type": "hf_olmo", "d_model": D, "n_heads": H, "n_layers": LAYERS}),
    "phi_original": (PHI1, {**MHA, "model_type": "phi-msft"}),
}


def case(name: str) -> Anatomy:
    shapes, config = CASES[name]
    return dissect(shape_checkpoint(shapes, config))


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_tensor_is_named_and_split(name: str) -> None:
    anatomy = case(name)
    assert anatomy.family == name
    assert anatomy.unnamed == ()
    assert {part.tensor for part in anatomy.parts} == set(CASES[name][0])
    for role in ("q", "k", "v", "o"):
        part = anatomy.part(role, 0)
        assert part is not None, role
    geometry = anatomy.geometry["language"]
    assert (geometry.n_heads, geometry.d_head) == (H, HD)
    q, v = anatomy.part("q", 1), anatomy.part("v", 1)
    assert q is not None
    assert v is not None
    assert q.shape == (H * HD, D)
    assert v.shape == ((geometry.n_kv_heads or 0) * HD, D)


def test_yi_is_said_to_be_llama_renamed() -> None:
    assert case("yi").rename_map == {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}


def test_qwen_gate_is_w2() -> None:
    gate, up = case("qwen").part("gate", 0), case("qwen").part("up", 0)
    assert gate is not None
    assert up is not None
    assert (gate.tensor, up.tensor) == ("transformer.h.0.mlp.w2.weight", "transformer.h.0.mlp.w1.weight")


def test_internlm2_rows_go_group_by_group() -> None:
    """Per kv head: two query heads, a key head, a value head."""
    anatomy = case("internlm2")
    rows = {role: anatomy.part(role, 0) for role in ("q", "k", "v")}
    heads = {
        role: [int(r) // HD for r in part.view.rows[::HD]]
        for role, part in rows.items()
        if part is not None and part.view.rows is not None
    }
    assert heads == {"q": [0, 1, 4, 5, 8, 9], "k": [2, 6, 10], "v": [3, 7, 11]}


def test_baichuan_13b_has_alibi() -> None:
    wide = {
        name: tuple(320 if n == D else 960 if n == 3 * D else n for n in s) for name, s in BAICHUAN.items()
    }
    config = {**MHA, "model_type": "baichuan", "hidden_size": 320, "num_attention_heads": 40}
    del config["num_key_value_heads"]
    anatomy = dissect(shape_checkpoint(wide, config))
    assert anatomy.geometry["language"].alibi
    assert "ALiBi" in anatomy.holds(Symmetry.KV_GROUP_ORDER).reason
    assert anatomy.holds(Symmetry.VALUE_ORDER).holds


def test_pangu_routes_by_groups() -> None:
    ruling = case("pangu_moe").holds(Symmetry.EXPERT_ORDER)
    assert not ruling.holds
    assert "group" in ruling.reason


def test_meta_rows_become_half_split() -> None:
    """Meta's q rows lie in rotary pairs; read through the view they are as Hugging Face's conversion leaves them."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in META.items()}
    anatomy = dissect(memory_checkpoint(arrays, CASES["llama_meta"][1]))
    q = anatomy.part("q", 0)
    assert q is not None
    stored = arrays["layers.0.attention.wq.weight"]
    # The conversion: view(heads, dim // 2, 2, in).transpose(1, 2).
    expected = stored.reshape(H, HD // 2, 2, D).transpose(0, 2, 1, 3).reshape(H * HD, D)
    np.testing.assert_array_equal(anatomy.read(q), expected)
