"""Phi: the parallel LayerNorm models (1, 1.5, 2), the fused RMSNorm ones (3, 4), and Phi-3.5-MoE."""

from __future__ import annotations

from filiation.anatomy.built import EVERY_BIAS, Built, Mixture, Switch
from filiation.anatomy.families.llama import BIASED, FUSED_FFN, FUSED_QKV, MIXTRAL, QKV, llama_like, loads
from filiation.anatomy.tables import Family, Kinds, fused

_KINDS = Kinds(norm="layer", gated=False, activation="gelu_new")

FAMILIES = (
    Family(
        name="phi",
        container="layers",
        layer={
            "input_layernorm": "attn_norm",  # the FFN, in parallel, reads it too
            "self_attn.q_proj": "q",
            "self_attn.k_proj": "k",
            "self_attn.v_proj": "v",
            "self_attn.dense": "o",
            "self_attn.q_layernorm": "q_norm",
            "self_attn.k_layernorm": "k_norm",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
        },
        outside={"embed_tokens": "embedding", "final_layernorm": "final_norm", "lm_head": "head"},
        model_types=("phi",),
        gguf=("phi2",),
        kinds=_KINDS,
        keys={"n_layers": "num_hidden_layers", "epsilon": "layer_norm_eps"},
        layers={"phi": 24},
        built=Built(
            biases=EVERY_BIAS,
            switched=dict.fromkeys(
                ("self_attn.q_layernorm", "self_attn.k_layernorm"), Switch("qk_layernorm")
            ),
        ),
    ),
    Family(
        name="phi_original",
        container="h",
        layer={
            "ln": "attn_norm",
            "mixer.Wqkv": fused("q", "k", "v"),
            "mixer.out_proj": "o",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
        },
        outside={"embd.wte": "embedding", "lm_head.ln": "final_norm", "lm_head.linear": "head"},
        model_types=("phi-msft", "mixformer-sequential"),
        kinds=_KINDS,
        keys={
            "n_layers": ("num_hidden_layers", "n_layer"),
            "activation": "activation_function",
            "epsilon": "layer_norm_epsilon",
        },
    ),
    llama_like(
        "phi3",
        "phi3",
        gguf=("phi3",),
        gguf_layer={"ffn_up": fused("gate", "up")},
        built=loads(FUSED_QKV, FUSED_FFN),
    ),
    llama_like(
        "phimoe",
        "phimoe",
        gguf=("phimoe",),
        kinds=Kinds(norm="layer", activation="silu"),
        built=loads(QKV, MIXTRAL, mixture=Mixture(), biases=BIASED),
    ),
)
