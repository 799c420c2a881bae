"""Vision towers: CLIP and SigLIP, Qwen-VL's, Pixtral's, InternViT; and CLIP's text tower."""

from __future__ import annotations

from filiation.anatomy.tables import Family, Kinds, Names, fused

_KINDS = Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="learned")
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
        model_types=("clip_vision_model", "siglip_vision_model", "idefics2", "idefics3_vision", "siglip"),
        component="vision",
        kinds=_KINDS,
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
        model_types=("clip_text_model", "siglip_text_model", "clip"),
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
        model_types=("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
        component="vision",
        kinds=Kinds(norm="layer", gated=False, activation="gelu"),
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
        component="vision",
        kinds=Kinds(activation="silu"),
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
        component="vision",
        kinds=_KINDS,
    ),
)
