"""DeepSeek (1, V2, V3), MiniCPM (1 to 3) and Pangu: Llama's names, with latent attention and mixtures of experts."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import Mixture
from filiation.anatomy.families.llama import (
    ATTENTION_BIAS,
    BIASED,
    CORRECTION,
    EXPERTS,
    FFN,
    MLP_BIAS,
    QKV,
    SHARED_EXPERTS,
    llama_like,
    loads,
)
from filiation.anatomy.model import Symmetry
from filiation.anatomy.tables import Kinds, Names

MLA: Names = {
    # arXiv 2405.04434: keys and values come from one compressed vector.
    "self_attn.q_a_proj": "q_a",
    "self_attn.q_a_layernorm": "q_a_norm",
    "self_attn.q_b_proj": "q_b",
    "self_attn.kv_a_proj_with_mqa": "kv_a",
    "self_attn.kv_a_layernorm": "kv_a_norm",
    "self_attn.kv_b_proj": "kv_b",
}
_DRAFT: Names = {
    # arXiv 2412.19437: a further layer predicts the token after the next.
    "eh_proj": "draft.in",
    "enorm": "draft.embedding_norm",
    "hnorm": "draft.hidden_norm",
    "embed_tokens": "draft.embedding",
    "shared_head.norm": "draft.head_norm",
    "shared_head.head": "draft.head",
}
_KINDS = Kinds(activation="silu", rope="interleaved")
_MINICPM_MOE: Names = {
    "mlp.experts.{E}.w1": "gate",
    "mlp.experts.{E}.w2": "down",
    "mlp.experts.{E}.w3": "up",
}
_PANGU: Names = {
    # Pangu Pro MoE (arXiv 2505.21411) scales each expert's score.
    "mlp.router_scale": "router_scale",
    "mlp.e_score_correction_bias": "router.bias",
}

_MIXTURE = Mixture(dense_first="first_k_dense_replace", dense_usual=0, period="moe_layer_freq")
_V3 = replace(_MIXTURE, dense_usual=None)  # transformers and DeepSeek's own code disagree
_Q = frozenset({"self_attn.q_proj"})  # where queries are not compressed
_MOE = FFN | EXPERTS | SHARED_EXPERTS
_MINICPM = replace(
    loads(QKV, FFN, frozenset({"mlp.gate"}), mixture=Mixture(count="num_experts"), biases=BIASED),
    routed=EXPERTS | {*_MINICPM_MOE},
)

FAMILIES = (
    llama_like(
        "deepseek",
        "deepseek",
        gguf=("deepseek",),
        gguf_permuted=True,
        built=loads(QKV, _MOE, mixture=_MIXTURE, biases=BIASED),
    ),
    llama_like(
        "deepseek_v2",
        "deepseek_v2",
        gguf=("deepseek2",),
        kinds=_KINDS,
        layer=MLA,
        grouped_experts=True,
        built=loads(
            _Q,
            _MOE,
            mixture=_MIXTURE,
            biases={"latent": ATTENTION_BIAS, "o": ATTENTION_BIAS, "ffn": MLP_BIAS},
        ),
    ),
    llama_like(
        "deepseek_v3",
        "deepseek_v3",
        "kimi_k2",
        kinds=_KINDS,
        layer={**MLA, **_DRAFT},
        grouped_experts=True,
        built=loads(
            _Q, _MOE, CORRECTION, mixture=_V3, biases={"latent": ATTENTION_BIAS, "o": ATTENTION_BIAS}
        ),
    ),
    llama_like(
        "minicpm",
        "minicpm",
        gguf=("minicpm",),
        gguf_permuted=True,
        layer=_MINICPM_MOE,
        tied=True,
        built=_MINICPM,
    ),
    llama_like(
        "minicpm3",
        "minicpm3",
        gguf=("minicpm3",),
        layer=MLA,
        tied=True,
        built=loads(_Q, FFN, biases={"latent": ATTENTION_BIAS, "o": ATTENTION_BIAS, "ffn": MLP_BIAS}),
    ),
    llama_like("pangu", "PanguEmbedded", "pangu_embedded", "pangu", gguf=("pangu-embedded",)),
    llama_like(
        "pangu_moe",
        "PanguProMoE",
        "PanguProMoEV2",
        "pangu_pro_moe",
        layer=_PANGU,
        exceptions={
            Symmetry.EXPERT_ORDER: "grouped routing (MoGE) picks experts group by group: order is free only inside one"
        },
    ),
)
