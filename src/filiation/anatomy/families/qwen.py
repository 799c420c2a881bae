"""Qwen: the first generation's own names, then Llama's."""

from __future__ import annotations

from filiation.anatomy.built import Built, Mixture, Switch
from filiation.anatomy.families.llama import (
    BIASED,
    EXPERTS,
    FFN,
    QK_NORMS,
    QKV,
    SHARED_EXPERT,
    llama_like,
    loads,
)
from filiation.anatomy.tables import Family, Kinds, fused

QWEN1 = Family(
    name="qwen",
    container="h",
    layer={
        "ln_1": "attn_norm",
        "attn.c_attn": fused("q", "k", "v"),
        "attn.c_proj": "o",
        "attn.logn_tensor": "buffer",
        "ln_2": "ffn_norm",
        # modeling_qwen.py multiplies w1(x) by silu(w2(x)): the gate is w2.
        "mlp.w1": "up",
        "mlp.w2": "gate",
        "mlp.c_proj": "down",
    },
    outside={
        "wte": "embedding",
        "ln_f": "final_norm",
        "lm_head": "head",
    },
    model_types=("qwen",),
    architectures=("QWenLMHeadModel",),
    gguf=("qwen",),
    kinds=Kinds(activation="silu"),
    keys={"n_layers": "num_hidden_layers", "activation": (), "epsilon": "layer_norm_epsilon"},
    wraps={"qwen": ("vision",)},
    built=Built(
        biases={
            **dict.fromkeys("qkv", True),
            **dict.fromkeys(("o", "gate", "up", "down"), Switch("no_bias", negated=True)),
        }
    ),
    ignore=("d_ff",),  # intermediate_size is twice the width of w1 and w2
)

_MIXTURE = Mixture(step="decoder_sparse_step", dense="mlp_only_layers")
_QWEN3 = loads(QKV, QK_NORMS, FFN, biases=BIASED)

FAMILIES = (
    QWEN1,
    llama_like(
        "qwen2",
        "qwen2",
        "qwen2_vl_text",
        "qwen2_5_vl_text",
        gguf=("qwen2", "qwen2vl"),
        built=loads(QKV, FFN, biases={"qkv": True}),
    ),
    llama_like(
        "qwen2_moe",
        "qwen2_moe",
        gguf=("qwen2moe",),
        built=loads(
            QKV, FFN, EXPERTS, SHARED_EXPERT, mixture=_MIXTURE, biases={"qkv": Switch("qkv_bias", True)}
        ),
    ),
    llama_like("qwen3", "qwen3", "qwen3_vl_text", gguf=("qwen3", "qwen3vl"), built=_QWEN3),
    llama_like(
        "qwen3_moe",
        "qwen3_moe",
        gguf=("qwen3moe",),
        built=loads(QKV, QK_NORMS, FFN, EXPERTS, mixture=_MIXTURE, biases=BIASED),
    ),
)
