"""Models with Llama's names but LayerNorm, another FFN, or both: StableLM, StarCoder2, Cohere, Nemotron, Apertus."""

from __future__ import annotations

from filiation.anatomy.built import Switch
from filiation.anatomy.families.llama import BIASED, FFN, MLP_BIAS, QK_NORMS, QKV, UNGATED, llama_like, loads
from filiation.anatomy.tables import Kinds

_LAYERNORM = Kinds(norm="layer", activation="silu")

_COHERE = Kinds(norm="layer", norm_bias=False, activation="silu", rope="interleaved")
FAMILIES = (
    llama_like(
        "stablelm",
        "stablelm",
        "stablelm_epoch",
        gguf=("stablelm",),
        kinds=_LAYERNORM,
        layer={
            "self_attn.q_layernorm.norms.{N}": "q_norm",
            "self_attn.k_layernorm.norms.{N}": "k_norm",
        },
        built=loads(
            QKV,
            FFN,
            biases={"qkv": Switch("use_qkv_bias"), "qk_norms": False},
            switched={f"self_attn.{role}_layernorm.norms.{{N}}": Switch("qk_layernorm") for role in "qk"},
        ),
        keys={"epsilon": ("layer_norm_eps", "norm_eps")},
        further=("use_parallel_residual",),
    ),
    llama_like(
        "starcoder2",
        "starcoder2",
        gguf=("starcoder2",),
        kinds=Kinds(norm="layer", gated=False, activation="gelu_pytorch_tanh"),
        layer={"mlp.c_fc": "up", "mlp.c_proj": "down"},
        keys={"epsilon": "norm_epsilon"},
        built=loads(QKV, biases=dict.fromkeys(("qkv", "o", "ffn"), Switch("use_bias", True))),
        tied=True,
    ),
    llama_like(
        "cohere",
        "cohere",
        gguf=("command-r",),
        kinds=_COHERE,
        keys={"epsilon": "layer_norm_eps"},
        built=loads(
            QKV, QK_NORMS, FFN, biases=BIASED, switched=dict.fromkeys(QK_NORMS, Switch("use_qk_norm"))
        ),
        without=("ffn_norm",),  # the branches are parallel: one norm feeds both
        tied=True,
    ),
    llama_like(
        "cohere2",
        "cohere2",
        gguf=("cohere2",),
        kinds=_COHERE,
        keys={"epsilon": "layer_norm_eps"},
        built=loads(QKV, FFN, biases=BIASED),
        without=("ffn_norm",),  # the branches are parallel: one norm feeds both
        tied=True,
    ),
    llama_like(
        "nemotron",
        "nemotron",
        gguf=("nemotron",),
        kinds=Kinds(norm="layer", norm_offset=1.0, gated=False, activation="relu2"),
        keys={"epsilon": "norm_eps"},
        built=loads(QKV, UNGATED, biases={**BIASED, "ffn": MLP_BIAS}),
    ),
    llama_like(
        "apertus",
        "apertus",
        gguf=("apertus",),
        kinds=Kinds(gated=False, activation="xielu"),
        layer={
            "attention_layernorm": "attn_norm",
            "feedforward_layernorm": "ffn_norm",
            "mlp.act_fn.alpha_n": "activation.alpha_n",
            "mlp.act_fn.alpha_p": "activation.alpha_p",
            "mlp.act_fn.beta": "activation.beta",
            "mlp.act_fn.eps": "activation.eps",
        },
        built=loads(QKV, QK_NORMS, UNGATED, biases={**BIASED, "ffn": MLP_BIAS}),
    ),
)
