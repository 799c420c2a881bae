"""T5: an encoder and a decoder over one embedding, with relative positions (arXiv 1910.10683)."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import Built
from filiation.anatomy.tables import Config, Family, Kinds, Names

_KINDS = Kinds(gated=False, activation="relu", rope=None, positions="relative")


def _attention(at: int, block: str, prefix: str) -> Names:
    return {f"layer.{at}.{block}.{role}": f"{prefix}{role}" for role in ("q", "k", "v", "o")}


def _ffn(at: int) -> Names:
    return {
        f"layer.{at}.DenseReluDense.wi": "up",
        f"layer.{at}.DenseReluDense.wi_0": "gate",
        f"layer.{at}.DenseReluDense.wi_1": "up",
        f"layer.{at}.DenseReluDense.wo": "down",
        f"layer.{at}.layer_norm": "ffn_norm",
    }


_SELF: Names = {
    **_attention(0, "SelfAttention", ""),
    "layer.0.SelfAttention.relative_attention_bias": "rel_bias",
    "layer.0.layer_norm": "attn_norm",
}
_CROSS: Names = {
    **_attention(1, "EncDecAttention", "cross."),
    "layer.1.EncDecAttention.relative_attention_bias": "rel_bias",
    "layer.1.layer_norm": "cross_norm",
}
_TYPES = ("t5", "mt5", "umt5", "longt5")


_KEYS = {
    "n_kv_heads": (),
    "d_ff": "d_ff",
    "activation": (),  # see _gate
    "epsilon": "layer_norm_epsilon",
    "rope_theta": (),
}
_GATED = ("mt5", "umt5")
_LAYERS = {"t5": 6, "mt5": 8, "umt5": 8, "longt5": 6}
_BUILT = Built(biases={})


def _gate(config: Config, family: Family) -> Family:
    """T5 v1.1 gates its FFN, and says so in the word for its activation."""
    usual = "gated-gelu" if config.get("model_type") in _GATED else "relu"
    first, _, last = str(config.get("feed_forward_proj") or usual).rpartition("-")
    word = "gelu_new" if (first, last) == ("gated", "gelu") else last
    # What loaders make of that word is saved beside it, and read again.
    own, saved = config.get("dense_act_fn"), config.get("is_gated_act")
    gated = saved if isinstance(saved, bool) else first == "gated"
    other = ("wi",) if gated else ("wi_0", "wi_1")
    foreign = frozenset(f"layer.{at}.DenseReluDense.{name}" for at in (1, 2) for name in other)
    found = family.with_kinds(gated=gated, activation=own if isinstance(own, str) else word)
    return replace(found, built=replace(_BUILT, foreign=foreign))


FAMILIES = (
    Family(
        name="t5",
        container="decoder.block",
        layer={**_SELF, **_CROSS, **_ffn(2)},
        outside={
            "shared": "embedding",
            "decoder.embed_tokens": "embedding",
            "decoder.final_layer_norm": "final_norm",
            "lm_head": "head",
        },
        model_types=_TYPES,
        gguf=("t5",),
        kinds=_KINDS,
        adjust=_gate,
        keys={**_KEYS, "n_layers": ("num_decoder_layers", "num_layers")},
        layers=_LAYERS,
        built=_BUILT,
        tied=True,
    ),
    Family(
        name="t5_encoder",
        container="encoder.block",
        layer={**_SELF, **_ffn(1)},
        outside={
            "shared": "embedding",
            "encoder.embed_tokens": "embedding",
            "encoder.final_layer_norm": "final_norm",
        },
        model_types=_TYPES,
        gguf=("t5", "t5encoder"),
        component="encoder",
        kinds=_KINDS,
        adjust=_gate,
        keys={**_KEYS, "n_layers": ("num_hidden_layers", "num_layers")},
        layers=_LAYERS,
        built=_BUILT,
        tied=True,
    ),
)
