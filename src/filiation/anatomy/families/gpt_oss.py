"""gpt-oss and Llama 4: experts stacked and transposed."""

from __future__ import annotations

from filiation.anatomy.families.llama import llama_like
from filiation.anatomy.tables import Kinds, Layout, Rule, experts

_INTERLEAVED = experts("gate", "up", transpose=True, layout=Layout.INTERLEAVED)
_DOWN = experts("down", transpose=True)

FAMILIES = (
    llama_like(
        "gpt_oss",
        "gpt_oss",
        gguf=("gpt-oss",),
        # arXiv 2508.10925: the gated product is (up + 1) * glu(gate), clamped.
        kinds=Kinds(activation="silu", up_is_odd=False),
        layer={
            "self_attn.sinks": "sinks",
            "mlp.router": "router",
            "mlp.experts.gate_up_proj": _INTERLEAVED,
            "mlp.experts.gate_up_proj_bias": Rule(("gate.bias", "up.bias"), Layout.INTERLEAVED, stacked=True),
            "mlp.experts.down_proj": _DOWN,
            "mlp.experts.down_proj_bias": Rule(("down.bias",), stacked=True),
        },
        gguf_layer={"attn_post_norm": "ffn_norm", "post_attention_norm": "ffn_norm"},
    ),
    llama_like(
        "llama4",
        "llama4_text",
        "llama4",
        gguf=("llama4",),
        kinds=Kinds(activation="silu", rope="interleaved"),
        layer={
            "feed_forward.gate_proj": "gate",
            "feed_forward.up_proj": "up",
            "feed_forward.down_proj": "down",
            "feed_forward.router": "router",
            "feed_forward.experts.gate_up_proj": experts("gate", "up", transpose=True),
            "feed_forward.experts.down_proj": _DOWN,
            "feed_forward.shared_expert.gate_proj": "shared.gate",
            "feed_forward.shared_expert.up_proj": "shared.up",
            "feed_forward.shared_expert.down_proj": "shared.down",
        },
        ignore=("d_ff",),
    ),
)
