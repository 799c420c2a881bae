"""Vision towers: CLIP and SigLIP, Qwen-VL's, Pixtral's, InternViT; and CLIP's text tower."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import EVERY_BIAS, Built, Switch
from filiation.anatomy.tables import Config, Family, Kinds, Names, fused

_KINDS = Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="learned")
_KEYS = {"n_layers": "num_hidden_layers", "n_kv_heads": (), "d_head": (), "epsilon": "layer_norm_eps"}
_BIASES = Built(biases=EVERY_BIAS)
_LAYERS = {
    **dict.fromkeys(("clip_vision_model", "siglip_vision_model", "idefics3_vision"), 12),
    **dict.fromkeys(("clip_text_model", "siglip_text_model", "dinov2", "dinov2_with_registers"), 12),
    "pixtral": 24,
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_vision"), 27),
    **dict.fromkeys(("qwen2_vl", "qwen2_vl_vision", "qwen2_5_vl", "qwen2_5_vl_vision"), 32),
}
_USUAL = {
    "clip": "quick_gelu",
    "clip_vision_model": "quick_gelu",
    "clip_text_model": "quick_gelu",
    "qwen2_vl": "quick_gelu",
    "qwen2_vl_vision": "quick_gelu",
    "qwen2_5_vl": "silu",
    "qwen2_5_vl_vision": "silu",
    "pixtral": "gelu",
}
"""Model type -> its activation where its config says nothing; of the others here it is :data:`_SIGLIP`."""
_SIGLIP = "gelu_pytorch_tanh"


def _activation(config: Config, family: Family) -> Family:
    kind = config.get("model_type")
    return family.with_kinds(activation=_USUAL.get(kind, _SIGLIP)) if isinstance(kind, str) else family


_QWEN = {
    "qwen2_vl": ("mlp.fc1", "mlp.fc2"),
    "qwen2_5_vl": ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
    "qwen3_vl": ("mlp.linear_fc1", "mlp.linear_fc2"),
}
"""Model type -> the names of its feed-forward network."""
_QWEN_NAMES = frozenset(name for names in _QWEN.values() for name in names)


def _qwen(config: Config, family: Family) -> Family:
    """Qwen2.5-VL's towers have RMSNorm and gates."""
    kind = str(config.get("model_type")).removesuffix("_vision")
    family = _activation(config, family)
    if kind not in _QWEN:
        return family
    if kind == "qwen2_5_vl":
        family = family.with_kinds(norm="rms", gated=True)
    return replace(family, built=replace(_BIASES, foreign=_QWEN_NAMES.difference(_QWEN[kind])))


_CLIP_LAYER: Names = {
    "layer_norm1": "attn_norm",
    "self_attn.q_proj": "q",
    "self_attn.k_proj": "k",
    "self_attn.v_proj": "v",
    "self_attn.out_proj": "o",
    "layer_norm2": "ffn_norm",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
}

FAMILIES = (
    Family(
        name="clip_vision",
        container="encoder.layers",
        layer=_CLIP_LAYER,
        outside={
            "embeddings.class_embedding": "class_token",
            "embeddings.patch_embedding": "patch",
            "embeddings.position_embedding": "position",
            "pre_layrnorm": "embedding_norm",
            "post_layernorm": "final_norm",
            # SigLIP's pooling head
            "head.probe": "head.probe",
            "head.attention.in_proj_weight": "head.qkv",
            "head.attention.in_proj_bias": "head.qkv.bias",
            "head.attention.out_proj": "head.o",
            "head.layernorm": "head_norm",
            "head.mlp.fc1": "head.up",
            "head.mlp.fc2": "head.down",
        },
        layers=_LAYERS,
        built=_BIASES,
        model_types=("clip_vision_model", "siglip_vision_model", "idefics2", "idefics3_vision", "siglip"),
        component="vision",
        kinds=_KINDS,
        keys=_KEYS,
        adjust=_activation,
        wraps=dict.fromkeys(("siglip", "idefics2"), ("language", "vision")),
    ),
    Family(
        name="clip_text",
        container="encoder.layers",
        layer=_CLIP_LAYER,
        outside={
            "embeddings.token_embedding": "embedding",
            "embeddings.position_embedding": "position",
            "final_layer_norm": "final_norm",
            "head": "text_out",
        },
        layers=_LAYERS,
        built=_BIASES,
        model_types=("clip_text_model", "siglip_text_model", "clip"),
        kinds=_KINDS,
        keys=_KEYS,
        adjust=_activation,
        wraps={"clip": ("language", "vision")},
    ),
    Family(
        name="dinov2",
        container="encoder.layer",
        layer={
            "norm1": "attn_norm",
            "attention.attention.query": "q",
            "attention.attention.key": "k",
            "attention.attention.value": "v",
            "attention.output.dense": "o",
            "layer_scale1.lambda1": "attn_scale",
            "norm2": "ffn_norm",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
            "mlp.weights_in": fused("gate", "up"),
            "mlp.weights_out": "down",
            "layer_scale2.lambda1": "ffn_scale",
        },
        outside={
            "embeddings.cls_token": "class_token",
            "embeddings.register_tokens": "class_token",
            "embeddings.patch_embeddings.projection": "patch",
            "embeddings.position_embeddings": "position",
            "layernorm": "final_norm",
        },
        model_types=("dinov2", "dinov2_with_registers"),
        keys={**_KEYS, "d_ff": ()},
        layers=_LAYERS,
        built=Built(
            biases={**EVERY_BIAS, **dict.fromkeys("qkv", Switch("qkv_bias", True))},
            switched=dict.fromkeys(("mlp.weights_in", "mlp.weights_out"), Switch("use_swiglu_ffn")),
        ),
        component="vision",
        kinds=_KINDS,
    ),
    Family(
        name="qwen_vision",
        container="blocks",
        layer={
            "norm1": "attn_norm",
            "attn.qkv": fused("q", "k", "v"),
            "attn.proj": "o",
            "norm2": "ffn_norm",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
            "mlp.linear_fc1": "up",
            "mlp.linear_fc2": "down",
            "mlp.gate_proj": "gate",
            "mlp.up_proj": "up",
            "mlp.down_proj": "down",
        },
        outside={"patch_embed.proj": "patch", "pos_embed": "position"},
        model_types=(*_QWEN, *(f"{kind}_vision" for kind in _QWEN)),
        layers=_LAYERS,
        built=_BIASES,
        component="vision",
        kinds=Kinds(norm="layer", gated=False, activation="gelu"),
        keys={"n_layers": "depth", "n_kv_heads": (), "d_head": (), "epsilon": ()},
        adjust=_qwen,
        wraps=dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"), ("language", "vision")),
        ignore=("d_model", "d_ff"),  # Qwen2-VL's hidden_size is the language model's
    ),
    Family(
        name="pixtral",
        container="transformer.layers",
        layer={
            "attention_norm": "attn_norm",
            "attention.q_proj": "q",
            "attention.k_proj": "k",
            "attention.v_proj": "v",
            "attention.o_proj": "o",
            "ffn_norm": "ffn_norm",
            "feed_forward.gate_proj": "gate",
            "feed_forward.up_proj": "up",
            "feed_forward.down_proj": "down",
        },
        outside={"patch_conv": "patch", "ln_pre": "embedding_norm"},
        model_types=("pixtral",),
        layers=_LAYERS,
        built=Built(biases={}),
        component="vision",
        kinds=Kinds(activation="silu"),
        keys={"n_layers": "num_hidden_layers", "n_kv_heads": (), "epsilon": ()},
        adjust=_activation,
    ),
    Family(
        name="intern_vit",
        container="encoder.layers",
        layer={
            "norm1": "attn_norm",
            "attn.qkv": fused("q", "k", "v"),
            "attn.q_norm": "q_norm",
            "attn.k_norm": "k_norm",
            "attn.proj": "o",
            "ls1": "attn_scale",
            "norm2": "ffn_norm",
            "mlp.fc1": "up",
            "mlp.fc2": "down",
            "ls2": "ffn_scale",
        },
        outside={
            "embeddings.class_embedding": "class_token",
            "embeddings.patch_embedding": "patch",
            "embeddings.position_embedding": "position",
        },
        model_types=("intern_vit_6b",),
        built=Built(biases={**EVERY_BIAS, **dict.fromkeys("qkv", Switch("qkv_bias"))}),
        component="vision",
        kinds=_KINDS,
        keys=_KEYS,
    ),
)
