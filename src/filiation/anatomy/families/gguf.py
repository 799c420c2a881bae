"""The names of llama.cpp's GGUF files, which are one set for every architecture.

What an architecture is (norm, gating, activation) still comes from its own table; :func:`as_gguf` gives that table
GGUF's names. The converter has by then made contiguous what was fused head by head, untransposed Conv1D, added
Gemma's missing 1 to the norm gains, and put llama-like q and k rows into rotary pair order.
"""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import Built, Mixture
from filiation.anatomy.tables import Config, Family, Kinds, Names, experts, fused

LAYER: Names = {
    "attn_norm": "attn_norm",
    "attn_norm_2": "attn_norm",
    "attn_q": "q",
    "attn_k": "k",
    "attn_v": "v",
    "attn_qkv": fused("q", "k", "v"),
    "attn_output": "o",
    "attn_q_norm": "q_norm",
    "attn_k_norm": "k_norm",
    "attn_sinks": "sinks",
    "attn_rot_embd": "buffer",
    "attn_sub_norm": "attn_sub_norm",
    "attn_output_norm": "post_attn_norm",
    "post_attention_norm": "post_attn_norm",
    "ffn_norm": "ffn_norm",
    "ffn_sub_norm": "ffn_sub_norm",
    "post_ffw_norm": "post_ffn_norm",
    "layer_output_norm": "post_ffn_norm",
    "ffn_gate": "gate",
    "ffn_up": "up",
    "ffn_down": "down",
    "ffn": "ffn_act_scale",
    "ffn_gate_inp": "router",
    "exp_probs_b": "router.bias",
    "exp_probs_b.bias": "router.bias",
    "ffn_gate.{E}": "gate",
    "ffn_up.{E}": "up",
    "ffn_down.{E}": "down",
    "ffn_gate_exps": experts("gate"),
    "ffn_up_exps": experts("up"),
    "ffn_down_exps": experts("down"),
    "ffn_gate_up_exps": experts("gate", "up"),
    "ffn_gate_shexp": "shared.gate",
    "ffn_up_shexp": "shared.up",
    "ffn_down_shexp": "shared.down",
    "ffn_gate_inp_shexp": "shared.router",
    "attn_q_a": "q_a",
    "attn_q_a_norm": "q_a_norm",
    "attn_q_b": "q_b",
    "attn_kv_a_mqa": "kv_a",
    "attn_kv_a_norm": "kv_a_norm",
    "attn_kv_b": "kv_b",
    "attn_k_b": "k_b",
    "attn_v_b": "v_b",
    "nextn.eh_proj": "draft.in",
    "nextn.embed_tokens": "draft.embedding",
    "nextn.enorm": "draft.embedding_norm",
    "nextn.hnorm": "draft.hidden_norm",
    "nextn.shared_head_head": "draft.head",
    "nextn.shared_head_norm": "draft.head_norm",
    "attn_o": "o",
    "attn_rel_b": "rel_bias",
    "cross_attn_norm": "cross_norm",
    "cross_attn_q": "cross.q",
    "cross_attn_k": "cross.k",
    "cross_attn_v": "cross.v",
    "cross_attn_o": "cross.o",
    "cross_attn_rel_b": "rel_bias",
}

OUTSIDE: Names = {
    "token_embd": "embedding",
    "token_embd_norm": "embedding_norm",
    "token_types": "token_type",
    "position_embd": "position",
    "output_norm": "final_norm",
    "output": "head",
    "rope_freqs": "buffer",
    "rope_factors_long": "buffer",
    "rope_factors_short": "buffer",
    "cls": "pooler",
    "cls.output": "classifier",
    "cls.norm": "classifier.norm",
    "dense_2": "pooler.2",
    "dense_3": "pooler.3",
}

_BUILT = Built(
    dense=frozenset({"ffn_gate", "ffn_up", "ffn_down"}),
    routed=frozenset(name for name in LAYER if any(word in name for word in ("exp", "{E}", "gate_inp"))),
    # A file without experts says so; which of a mixture's layers are dense, each architecture says its own way.
    mixture=Mixture(count="num_experts", dense_first="leading_dense"),
)
_BOTH = ("arctic", "gemma4")
"""Architectures whose layers hold a dense network beside the experts."""

CONTAINERS = {"language": "blk", "encoder": "enc.blk"}


def as_gguf(family: Family) -> Family:
    """Return ``family``, already adjusted to its config, with the names its GGUF files have."""
    container = CONTAINERS.get(family.component, "blk")
    if family.component == "language" and family.container.startswith("decoder."):
        container = "dec.blk"
    return replace(
        family,
        container=container,
        layer={**LAYER, **family.gguf_layer},
        outside=OUTSIDE if container == "blk" else {**OUTSIDE, f"{container[:3]}.output_norm": "final_norm"},
        keys={},
        kinds=replace(family.kinds, norm_offset=0.0),
        adjust=None,
        pair_rows=family.gguf_permuted,
        renames={},
        built=_BUILT,
    )


def _unknown(config: Config, family: Family) -> Family:
    return replace(family, both=config.get("model_type") in _BOTH)


UNKNOWN = Family(
    name="gguf", container="blk", layer=LAYER, outside=OUTSIDE, kinds=Kinds(), adjust=_unknown, built=_BUILT
)
"""For an architecture that has no table: names are known, kinds are read off the tensors."""

FAMILIES = (UNKNOWN,)
