"""T5: an encoder and a decoder over one embedding, with relative positions (arXiv 1910.10683)."""

from __future__ import annotations

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


def _gate(config: Config, family: Family) -> Family:
    """T5 v1.1 gates its FFN."""
    kind = str(config.get("feed_forward_proj", ""))
    return family.with_kinds(gated=True, activation="gelu_new") if kind.startswith("gated") else family


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
        keys={"n_layers": "num_decoder_layers"},
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
        keys={"n_layers": "num_layers"},
        tied=True,
    ),
)
