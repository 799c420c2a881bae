"""Whisper: an audio encoder with fixed sinusoidal positions, and a decoder; the encoder alone inside audio models."""

from __future__ import annotations

from filiation.anatomy.tables import Family, Kinds, Names

_KINDS = Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="learned")
_ENCODER: Names = {
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "o",
    "self_attn_layer_norm": "attn_norm",
    "fc1": "up",
    "fc2": "down",
    "final_layer_norm": "ffn_norm",
}
_BESIDE: Names = {
    "conv1": "conv1",
    "conv2": "conv2",
    "embed_positions": "position",
    "layer_norm": "final_norm",
    "ln_post": "final_norm",
    "proj": "audio_out",
}

FAMILIES = (
    Family(
        name="whisper",
        container="decoder.layers",
        layer={
            **_ENCODER,
            "encoder_attn.q_proj": "cross.q",
            "encoder_attn.k_proj": "cross.k",
            "encoder_attn.v_proj": "cross.v",
            "encoder_attn.out_proj": "cross.o",
            "encoder_attn_layer_norm": "cross_norm",
        },
        outside={
            "decoder.embed_tokens": "embedding",
            "decoder.embed_positions": "position",
            "decoder.layer_norm": "final_norm",
            "proj_out": "head",
        },
        model_types=("whisper",),
        kinds=_KINDS,
        keys={"n_layers": "decoder_layers", "n_heads": "decoder_attention_heads", "d_ff": "decoder_ffn_dim"},
        tied=True,
    ),
    Family(
        name="whisper_encoder",
        container="encoder.layers",
        layer=_ENCODER,
        outside={f"encoder.{name}": role for name, role in _BESIDE.items()},
        model_types=("whisper",),
        component="audio",
        kinds=Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="sinusoidal"),
        keys={"n_layers": "encoder_layers", "n_heads": "encoder_attention_heads", "d_ff": "encoder_ffn_dim"},
    ),
    Family(
        name="audio_tower",
        container="layers",
        layer=_ENCODER,
        outside=_BESIDE,
        model_types=("qwen2_audio_encoder",),
        component="audio",
        kinds=Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="sinusoidal"),
        keys={"n_layers": "encoder_layers", "n_heads": "encoder_attention_heads", "d_ff": "encoder_ffn_dim"},
    ),
)
