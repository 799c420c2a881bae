"""gpt-oss and Llama 4: experts stacked and transposed."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import Mixture, Switch
from filiation.anatomy.families.llama import BIASED, QKV, STACKED, llama_like, loads
from filiation.anatomy.tables import Kinds, Layout, Rule, experts

_INTERLEAVED = experts("gate", "up", transpose=True, layout=Layout.INTERLEAVED)
_DOWN = experts("down", transpose=True)

_BIASED = dict.fromkeys(("qkv", "o"), Switch("attention_bias", True))
_FFN = ("gate_proj", "up_proj", "down_proj")
_LLAMA4 = replace(
    loads(QKV, mixture=Mixture(mixed="moe_layers", step="interleave_moe_layer_step"), biases=BIASED),
    dense=frozenset(f"feed_forward.{name}" for name in _FFN),
    routed=frozenset(
        {
            "feed_forward.router",
            "feed_forward.experts.gate_up_proj",
            "feed_forward.experts.down_proj",
            *(f"feed_forward.shared_expert.{name}" for name in _FFN),
        }
    ),
)

FAMILIES = (
    llama_like(
        "gpt_oss",
        "gpt_oss",
        gguf=("gpt-oss",),
        # arXiv 2508.10925: the gated product is (up + 1) * glu(gate), clamped.
        kinds=Kinds(activation="quick_gelu", up_is_odd=False),
        keys={"activation": ()},
        layer={
            "self_attn.sinks": "sinks",
            "mlp.router": "router",
            "mlp.experts.gate_up_proj": _INTERLEAVED,
            "mlp.experts.gate_up_proj_bias": Rule(("gate.bias", "up.bias"), Layout.INTERLEAVED, stacked=True),
            "mlp.experts.down_proj": _DOWN,
            "mlp.experts.down_proj_bias": Rule(("down.bias",), stacked=True),
        },
        gguf_layer={"attn_post_norm": "ffn_norm", "post_attention_norm": "ffn_norm"},
        built=loads(QKV, STACKED, mixture=Mixture(), biases={**_BIASED, "router": True}),
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
        wraps={"llama4": ("language", "vision")},
        built=_LLAMA4,
    ),
)
