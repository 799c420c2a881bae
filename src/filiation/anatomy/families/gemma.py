"""Gemma 1 to 3: RMSNorm gains are stored as ``gain - 1``, and from Gemma 2 on norms stand on both sides of a branch.

Gemma 3n's gains are whole; its FFNs are nested (MatFormer, arXiv 2310.07707) and its last layers share keys and values.
"""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.families.llama import BIASED, FFN, OUTSIDE, QK_NORMS, QKV, llama_like, loads
from filiation.anatomy.model import Symmetry
from filiation.anatomy.tables import Kinds, Names

_KINDS = Kinds(norm_offset=1.0, activation="gelu_pytorch_tanh")
_SANDWICH = replace(_KINDS, norm_position="sandwich")
_ACTIVATION = {"activation": "hidden_activation"}
_LAYER: Names = {
    "post_attention_layernorm": "post_attn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffn_norm",
}
_ALTUP = ("correct_output_scale", "correction_coefs", "modality_router", "prediction_coefs", "router_norm")
_LAUREL = ("linear_left", "linear_right", "post_laurel_norm")
_PATHS = (
    *(f"altup.{name}" for name in _ALTUP),  # arXiv 2301.13310
    *(f"laurel.{name}" for name in _LAUREL),  # arXiv 2411.07501
    "per_layer_input_gate",
    "per_layer_projection",
    "post_per_layer_input_norm",
)
_BESIDE = {
    "altup_projections.{N}": "altup_projections",
    "altup_unembed_projections.{N}": "altup_unembed_projections",
    "embed_tokens_per_layer": "embed_tokens_per_layer",
    "per_layer_model_projection": "per_layer_model_projection",
    "per_layer_projection_norm": "per_layer_projection_norm",
}
_SHARED = "values are normalised, and keys and values are shared between layers"

_PLAIN = loads(QKV, FFN, biases=BIASED)
_NORMED = loads(QKV, QK_NORMS, FFN, biases=BIASED)

FAMILIES = (
    llama_like(
        "gemma",
        "gemma",
        gguf=("gemma",),
        kinds=_KINDS,
        tied=True,
        built=_PLAIN,
        # transformers 4 reads the one, transformers 5 the other.
        keys={"activation": ("hidden_activation", "hidden_act")},
    ),
    llama_like(
        "gemma2",
        "gemma2",
        gguf=("gemma2",),
        kinds=_SANDWICH,
        layer=_LAYER,
        tied=True,
        built=_PLAIN,
        keys=_ACTIVATION,
    ),
    llama_like(
        "gemma3",
        "gemma3_text",
        "gemma3",
        gguf=("gemma3",),
        kinds=_SANDWICH,
        layer=_LAYER,
        tied=True,
        built=_NORMED,
        keys=_ACTIVATION,
        wraps={"gemma3": ("language", "vision")},
    ),
    llama_like(
        "gemma3n",
        "gemma3n_text",
        "gemma3n",
        kinds=Kinds(norm_position="sandwich", activation="gelu_pytorch_tanh"),
        layer={**_LAYER, **{path: path for path in _PATHS}},
        outside={**OUTSIDE, **_BESIDE},
        exceptions={
            Symmetry.FFN_ORDER: "nested training (MatFormer) gives the neurons' order a meaning",
            Symmetry.KV_GROUP_ORDER: _SHARED,
            Symmetry.QUERY_HEAD_ORDER: _SHARED,
            Symmetry.VALUE_ORDER: _SHARED,
            Symmetry.VALUE_SIGN: _SHARED,
        },
        tied=True,
        built=_NORMED,
        keys=_ACTIVATION,
        wraps={"gemma3n": ("language", "vision", "audio")},
    ),
)
