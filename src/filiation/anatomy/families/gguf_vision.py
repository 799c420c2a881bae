"""The vision towers in llama.cpp's mmproj files (architecture ``clip``)."""

from __future__ import annotations

from filiation.anatomy.tables import Family, Kinds, fused

FAMILIES = (
    Family(
        name="gguf_vision",
        container="v.blk",
        layer={
            "ln1": "attn_norm",
            "attn_q": "q",
            "attn_k": "k",
            "attn_v": "v",
            "attn_qkv": fused("q", "k", "v"),
            "attn_out": "o",
            "attn_q_norm": "q_norm",
            "attn_k_norm": "k_norm",
            "ls1": "attn_scale",
            "ln2": "ffn_norm",
            "ffn_gate": "gate",
            "ffn_up": "up",
            "ffn_down": "down",
            "ls2": "ffn_scale",
        },
        outside={
            "v.class_embd": "class_token",
            "v.patch_embd": "patch",
            "v.patch_embd.weight.1": "patch.1",
            "v.position_embd": "position",
            "v.pre_ln": "embedding_norm",
            "v.post_ln": "final_norm",
        },
        component="vision",
        kinds=Kinds(norm="layer", gated=False, activation="gelu", rope=None, positions="learned"),
    ),
)
