"""ChatGLM's own code (1; 2, 3 and GLM-4) and GLM as transformers spells it."""

from __future__ import annotations

from filiation.anatomy.built import Mixture, Switch
from filiation.anatomy.families.llama import (
    ATTENTION_BIAS,
    CORRECTION,
    EXPERTS,
    FFN,
    FUSED_FFN,
    QK_NORMS,
    QKV,
    SHARED_EXPERTS,
    llama_like,
    loads,
)
from filiation.anatomy.tables import Family, Kinds, Layout, Names, fused

_KINDS = Kinds(activation="silu", rope="interleaved")
_FUSED_UP: Names = {"ffn_up": fused("gate", "up")}

_COUNT = ("num_layers", "num_hidden_layers")
_FUSED = loads(QKV, FUSED_FFN, biases={"qkv": Switch("attention_bias", True)})
_MIXTURE = Mixture(dense_first="first_k_dense_replace", dense_usual=1)

FAMILIES = (
    Family(
        name="chatglm",
        container="encoder.layers",
        layer={
            "input_layernorm": "attn_norm",
            "self_attention.query_key_value": fused("q", "k", "v"),
            "self_attention.dense": "o",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": fused("gate", "up"),
            "mlp.dense_4h_to_h": "down",
        },
        outside={
            "embedding.word_embeddings": "embedding",
            "encoder.final_layernorm": "final_norm",
            "output_layer": "head",
        },
        model_types=("chatglm",),
        architectures=("ChatGLMModel", "ChatGLMForConditionalGeneration"),
        gguf=("chatglm",),
        gguf_layer=_FUSED_UP,
        kinds=_KINDS,
        keys={"n_layers": _COUNT, "activation": (), "epsilon": "layernorm_epsilon"},
        wraps={"chatglm": ("vision",)},
    ),
    Family(
        name="chatglm1",
        container="layers",
        layer={
            "input_layernorm": "attn_norm",
            "attention.query_key_value": fused("q", "k", "v", layout=Layout.GROUPED),
            "attention.dense": "o",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": "up",
            "mlp.dense_4h_to_h": "down",
        },
        outside={"word_embeddings": "embedding", "final_layernorm": "final_norm", "lm_head": "head"},
        model_types=("chatglm",),
        # The normed input, not the raw one, is carried past each branch.
        kinds=Kinds(norm="layer", norm_position="post", gated=False, activation="gelu"),
        keys={
            "n_layers": _COUNT,
            "d_ff": "inner_hidden_size",
            "activation": (),
            "epsilon": "layernorm_epsilon",
        },
    ),
    llama_like("glm", "glm", kinds=_KINDS, built=_FUSED),
    llama_like(
        "glm4",
        "glm4",
        gguf=("glm4",),
        gguf_layer=_FUSED_UP,
        kinds=Kinds(norm_position="sandwich", activation="silu", rope="interleaved"),
        layer={
            "post_self_attn_layernorm": "post_attn_norm",
            "post_mlp_layernorm": "post_ffn_norm",
        },
        built=_FUSED,
    ),
    llama_like(
        "glm4_moe",
        "glm4_moe",
        gguf=("glm4moe",),
        grouped_experts=True,
        gguf_layer={"post_attention_norm": "ffn_norm"},
        built=loads(
            QKV,
            QK_NORMS,
            FFN,
            EXPERTS,
            SHARED_EXPERTS,
            CORRECTION,
            mixture=_MIXTURE,
            biases={"qkv": ATTENTION_BIAS},
            switched=dict.fromkeys(QK_NORMS, Switch("use_qk_norm")),
        ),
    ),
)
