"""Gemma 1 to 3: RMSNorm gains are stored as ``gain - 1``, and from Gemma 2 on norms stand on both sides of a branch."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.families.llama import llama_like
from filiation.anatomy.tables import Kinds, Names

_KINDS = Kinds(norm_offset=1.0, activation="gelu_pytorch_tanh")
_SANDWICH = replace(_KINDS, norm_position="sandwich")
_LAYER: Names = {
    "post_attention_layernorm": "post_attn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffn_norm",
}

FAMILIES = (
    llama_like("gemma", "gemma", gguf=("gemma",), kinds=_KINDS, tied=True),
    llama_like("gemma2", "gemma2", gguf=("gemma2",), kinds=_SANDWICH, layer=_LAYER, tied=True),
    llama_like("gemma3", "gemma3_text", "gemma3", gguf=("gemma3",), kinds=_SANDWICH, layer=_LAYER, tied=True),
)
