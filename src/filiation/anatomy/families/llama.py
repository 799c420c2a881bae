"""Llama and the models that spell their parts as Llama does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from filiation.anatomy.built import Built, Mixture, Switch
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


QKV = frozenset({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
FUSED_QKV = frozenset({"self_attn.qkv_proj"})
QK_NORMS = frozenset({"self_attn.q_norm", "self_attn.k_norm"})
UNGATED = frozenset({"mlp.up_proj", "mlp.down_proj"})
FFN = UNGATED | {"mlp.gate_proj"}
FUSED_FFN = frozenset({"mlp.gate_up_proj", "mlp.down_proj"})
EXPERTS = frozenset({"mlp.gate", *(f"mlp.experts.{{E}}.{name}_proj" for name in ("gate", "up", "down"))})
STACKED = frozenset({"mlp.experts.gate_up_proj", "mlp.experts.down_proj"})
CORRECTION = frozenset({"mlp.gate.e_score_correction_bias"})
SHARED = frozenset(name for name in LAYER if name.startswith("mlp.shared_expert"))
SHARED_EXPERT = frozenset(name for name in SHARED if not name.startswith("mlp.shared_experts"))
SHARED_EXPERTS = SHARED - SHARED_EXPERT
MIXTRAL = frozenset(name for name in LAYER if name.startswith("block_sparse_moe"))
_DENSE = FFN | FUSED_FFN
_ROUTED = EXPERTS | STACKED | CORRECTION | SHARED | MIXTRAL
_ALL = QKV | FUSED_QKV | QK_NORMS | _DENSE | _ROUTED
"""The names of :data:`LAYER` that not every family's loader reads; norms and ``o`` are every family's."""


def loads(
    *held: frozenset[str],
    mixture: Mixture | None = None,
    biases: Mapping[str, bool | Switch] | None = None,
    switched: Mapping[str, Switch] | None = None,
) -> Built:
    """Return what loaders build of a layer of a family with Llama's names.

    Args:
        held: the groups of names above that they read; names of the family's own are read as well.
        mixture: which layers are mixtures of experts, where some are.
        biases: of ``qkv``, ``o``, ``ffn`` (shared experts' too), ``router``, ``latent`` (DeepSeek's q_a and kv_a);
            what is not listed has none. ``qk_norms`` have what the other norms have where they are not listed.
        switched: names that are built only where a setting is on.
    """
    return Built(
        foreign=_ALL.difference(*held),
        biases={role: state for group, state in (biases or {}).items() for role in _BIASED[group]},
        dense=_DENSE,
        routed=_ROUTED,
        mixture=mixture,
        switched=switched or {},
    )


_BIASED: Mapping[str, Iterable[str]] = {
    "qkv": ("q", "k", "v"),
    "o": ("o",),
    "ffn": ("gate", "up", "down", "shared.gate", "shared.up", "shared.down"),
    "router": ("router",),
    "latent": ("q_a", "kv_a"),
    "qk_norms": ("q_norm", "k_norm"),
}
ATTENTION_BIAS, MLP_BIAS = Switch("attention_bias"), Switch("mlp_bias")
BIASED: Mapping[str, bool | Switch] = {"qkv": ATTENTION_BIAS, "o": ATTENTION_BIAS}
"""Llama's attention has biases where the config says so; its feed-forward networks have a key of their own."""
_LLAMA = loads(QKV, FFN, biases={**BIASED, "ffn": MLP_BIAS})


_LAYERS: Mapping[str, int] = {
    **dict.fromkeys(("llama", "mistral", "ministral", "mixtral", "hunyuan_v1_dense", "arcee"), 32),
    **dict.fromkeys(("deepseek_v2", "granite", "granitemoe", "granitemoeshared", "stablelm"), 32),
    **dict.fromkeys(("nemotron", "apertus", "olmo", "olmo2", "olmo3", "exaone4", "phi3", "phimoe"), 32),
    **dict.fromkeys(("qwen2", "qwen3", "qwen3_vl_text"), 32),
    **dict.fromkeys(("cohere", "cohere2", "glm", "glm4"), 40),
    **dict.fromkeys(("gemma2", "gemma3_text"), 26),
    **dict.fromkeys(("qwen2_moe", "qwen3_moe"), 24),
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text"), 80),
    "smollm3": 36,
    "seed_oss": 64,
    "ernie4_5": 18,
    "deepseek_v3": 61,
    "minicpm3": 62,
    "gemma": 28,
    "gemma3n_text": 35,
    "glm4_moe": 46,
    "gpt_oss": 36,
    "llama4_text": 48,
    "starcoder2": 30,
    "olmoe": 16,
}
"""Model type -> how many layers transformers builds where a config does not say."""


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
    usual = {"n_layers": "num_hidden_layers", "epsilon": "rms_norm_eps"}
    settings["keys"] = {**usual, **settings.get("keys", {})}
    settings["layers"] = {kind: _LAYERS[kind] for kind in model_types if kind in _LAYERS}
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
    keys={
        "activation": (),
        "d_model": "dim",
        "n_layers": "n_layers",
        "n_heads": "n_heads",
        "n_kv_heads": "n_kv_heads",
    },
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
        built=_LLAMA,
    ),
    llama_like(
        "mistral", "mistral", "ministral", gguf=("mistral3",), gguf_permuted=True, built=loads(QKV, FFN)
    ),
    llama_like("mixtral", "mixtral", built=loads(QKV, MIXTRAL, mixture=Mixture())),
    Family(
        name="yi",
        container="layers",
        layer=YI_LAYER,
        outside=OUTSIDE,
        model_types=("Yi", "yi"),
        kinds=Kinds(activation="silu"),
        renames=YI_RENAMES,
        built=_LLAMA,
        keys={"n_layers": "num_hidden_layers", "epsilon": "rms_norm_eps"},
    ),
    llama_like(
        "internlm",
        "internlm",
        built=loads(QKV, FFN, biases={"qkv": Switch("bias", True), "o": Switch("bias", True)}),
    ),
    llama_like("smollm3", "smollm3", gguf=("smollm3",), gguf_permuted=True, tied=True, built=_LLAMA),
    llama_like(
        "seed_oss",
        "seed_oss",
        gguf=("seed_oss",),
        built=loads(
            QKV,
            FFN,
            biases={
                "qkv": Switch("attention_bias", True),
                "o": Switch("attention_out_bias"),
                "ffn": MLP_BIAS,
            },
        ),
    ),
    llama_like(
        "ernie4_5",
        "ernie4_5",
        gguf=("ernie4_5",),
        kinds=Kinds(activation="silu", rope="interleaved"),
        built=loads(QKV, FFN, biases=dict.fromkeys(("qkv", "o", "ffn"), Switch("use_bias"))),
    ),
    llama_like(
        "hunyuan",
        "hunyuan_v1_dense",
        "hunyuan",
        gguf=("hunyuan-dense",),
        layer={"self_attn.query_layernorm": "q_norm", "self_attn.key_layernorm": "k_norm"},
        built=loads(QKV, FFN, biases=BIASED),
    ),
    llama_like(
        "arcee",
        "arcee",
        gguf=("arcee",),
        gguf_permuted=True,
        kinds=Kinds(gated=False, activation="relu2"),
        built=loads(QKV, UNGATED, biases={**BIASED, "ffn": MLP_BIAS}),
    ),
    META,
)
