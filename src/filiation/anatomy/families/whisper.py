"""Whisper: an audio encoder with fixed sinusoidal positions, and a decoder; the encoder alone inside audio models."""

from __future__ import annotations

from filiation.anatomy.built import EVERY_BIAS, Built
from filiation.anatomy.tables import Family, Kinds, Names

_KINDS = Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="learned")
_KEYS = {"n_kv_heads": (), "d_head": (), "activation": "activation_function", "epsilon": ()}
_IN_ENCODER = {
    **_KEYS,
    "n_layers": ("num_hidden_layers", "encoder_layers"),
    "n_heads": "encoder_attention_heads",
    "d_ff": "encoder_ffn_dim",
}
_BIASES = {**EVERY_BIAS, "k": False}
_LAYERS = {"whisper": 4, "qwen2_audio_encoder": 32}
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
        keys={
            **_KEYS,
            "n_layers": "decoder_layers",
            "n_heads": "decoder_attention_heads",
            "d_ff": "decoder_ffn_dim",
        },
        layers=_LAYERS,
        built=Built(biases={**_BIASES, **{f"cross.{role}": role != "k" for role in "qkvo"}}),
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
        keys=_IN_ENCODER,
        layers=_LAYERS,
        built=Built(biases=_BIASES),
    ),
    Family(
        name="audio_tower",
        container="layers",
        layer=_ENCODER,
        outside=_BESIDE,
        model_types=("qwen2_audio_encoder",),
        component="audio",
        kinds=Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="sinusoidal"),
        keys=_IN_ENCODER,
        layers=_LAYERS,
        built=Built(biases=_BIASES),
    ),
)
