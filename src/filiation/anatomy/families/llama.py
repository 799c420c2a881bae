"""Llama and the models that spell their parts as Llama does."""

from __future__ import annotations

from typing import Any

from filiation.anatomy.tables import Family, Kinds, Names, Rule, experts, fused

LAYER: Names = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.o_proj": "o",
    "self_attn.qkv_proj": fused("q", "k", "v"),
    "self_attn.q_norm": "q_norm",
    "self_attn.k_norm": "k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "gate",
    "mlp.up_proj": "up",
    "mlp.down_proj": "down",
    "mlp.gate_up_proj": fused("gate", "up"),
    # mixtures of experts
    "mlp.gate": "router",
    "mlp.gate.e_score_correction_bias": "router.bias",
    "mlp.experts.{E}.gate_proj": "gate",
    "mlp.experts.{E}.up_proj": "up",
    "mlp.experts.{E}.down_proj": "down",
    "mlp.experts.gate_up_proj": experts("gate", "up"),
    "mlp.experts.down_proj": experts("down"),
    "mlp.shared_expert.gate_proj": "shared.gate",
    "mlp.shared_expert.up_proj": "shared.up",
    "mlp.shared_expert.down_proj": "shared.down",
    "mlp.shared_experts.gate_proj": "shared.gate",
    "mlp.shared_experts.up_proj": "shared.up",
    "mlp.shared_experts.down_proj": "shared.down",
    "mlp.shared_expert_gate": "shared.router",
    "block_sparse_moe.gate": "router",
    "block_sparse_moe.experts.{E}.w1": "gate",
    "block_sparse_moe.experts.{E}.w2": "down",
    "block_sparse_moe.experts.{E}.w3": "up",
}

OUTSIDE: Names = {
    "embed_tokens": "embedding",
    "norm": "final_norm",
    "lm_head": "head",
    "score": "classifier",  # reward models and classifiers
}


def llama_like(
    name: str, *model_types: str, layer: Names | None = None, without: tuple[str, ...] = (), **settings: Any
) -> Family:
    """Return a family that spells its parts as Llama does.

    Args:
        name, model_types, settings: as in :class:`Family`.
        layer: names added to Llama's, or put over them.
        without: roles that Llama has and this family has not.
    """
    names: dict[str, str | Rule] = {key: rule for key, rule in LAYER.items() if rule not in without}
    names |= layer or {}
    settings.setdefault("outside", OUTSIDE)
    settings.setdefault("kinds", Kinds(activation="silu"))
    return Family(name=name, container="layers", layer=names, model_types=model_types, **settings)


META = Family(
    name="llama_meta",
    container="layers",
    layer={
        "attention_norm": "attn_norm",
        "attention.wq": "q",
        "attention.wk": "k",
        "attention.wv": "v",
        "attention.wo": "o",
        "ffn_norm": "ffn_norm",
        "feed_forward.w1": "gate",
        "feed_forward.w2": "down",
        "feed_forward.w3": "up",
        "feed_forward.gate": "router",
        "feed_forward.experts.{E}.w1": "gate",
        "feed_forward.experts.{E}.w2": "down",
        "feed_forward.experts.{E}.w3": "up",
        "attention.inner_attention.rope.freqs": "buffer",
    },
    outside={"tok_embeddings": "embedding", "norm": "final_norm", "output": "head", "rope.freqs": "buffer"},
    kinds=Kinds(activation="silu"),
    pair_rows=True,
    keys={"d_model": "dim", "n_layers": "n_layers", "n_heads": "n_heads", "n_kv_heads": "n_kv_heads"},
)

# Yi's first release had Llama's architecture under its own names for the two norms.
YI_RENAMES = {"ln1": "input_layernorm", "ln2": "post_attention_layernorm"}
YI_LAYER: dict[str, str | Rule] = {
    **{name: role for name, role in LAYER.items() if name not in YI_RENAMES.values()},
    **{new: LAYER[usual] for new, usual in YI_RENAMES.items()},
}

FAMILIES = (
    llama_like(
        "llama",
        "llama",
        "llama_text",
        architectures=("LlamaForCausalLM", "LLaMAForCausalLM", "LlamaModel"),
        gguf=("llama",),
        gguf_permuted=True,
    ),
    llama_like("mistral", "mistral", "ministral", gguf=("mistral3",), gguf_permuted=True),
    llama_like("mixtral", "mixtral"),
    Family(
        name="yi",
        container="layers",
        layer=YI_LAYER,
        outside=OUTSIDE,
        model_types=("Yi", "yi"),
        kinds=Kinds(activation="silu"),
        renames=YI_RENAMES,
    ),
    llama_like("internlm", "internlm"),
    llama_like("smollm3", "smollm3", gguf=("smollm3",), gguf_permuted=True, tied=True),
    llama_like("seed_oss", "seed_oss", gguf=("seed_oss",)),
    llama_like(
        "ernie4_5", "ernie4_5", gguf=("ernie4_5",), kinds=Kinds(activation="silu", rope="interleaved")
    ),
    llama_like(
        "hunyuan",
        "hunyuan_v1_dense",
        "hunyuan",
        gguf=("hunyuan-dense",),
        layer={"self_attn.query_layernorm": "q_norm", "self_attn.key_layernorm": "k_norm"},
    ),
    llama_like(
        "arcee", "arcee", gguf=("arcee",), gguf_permuted=True, kinds=Kinds(gated=False, activation="relu2")
    ),
    META,
)
