"""GPT-2 and the models that grew out of its code: GPT-J, GPT-Neo, CodeGen, GPT-BigCode."""

from __future__ import annotations

from dataclasses import replace

from filiation.anatomy.built import EVERY_BIAS, Built
from filiation.anatomy.tables import Config, Family, Kinds, Layout, Names, Rule, conv1d, fused

_OUTSIDE: Names = {
    "wte": "embedding",
    "wpe": "position",
    "ln_f": "final_norm",
    "lm_head": "head",
}
_KINDS = Kinds(norm="layer", gated=False, activation="gelu_new", rope=None, positions="learned")
_ROPED = Kinds(norm="layer", gated=False, activation="gelu_new", rope="interleaved")
_FFN_BIASES = Built(biases={"up": True, "down": True})
_NEO_BIASES = Built(biases={"o": True, "up": True, "down": True})
_BIASES = Built(biases=EVERY_BIAS)
_KEYS = {
    "n_layers": ("num_hidden_layers", "n_layer"),
    "n_kv_heads": (),
    "d_head": (),
    "d_ff": "n_inner",
    "activation": "activation_function",
    "epsilon": "layer_norm_epsilon",
    "rope_theta": (),
}
_NORMS: dict[str, str | Rule] = {
    "ln_1": "attn_norm",
    "ln_2": "ffn_norm",
    "attn.bias": "buffer",
    "attn.causal_mask": "buffer",
    "attn.attention.bias": "buffer",
}


def _bigcode(config: Config, family: Family) -> Family:
    """With ``multi_query`` off, the fused rows go head by head."""
    if config.get("multi_query", True):
        return family
    rows = fused("q", "k", "v", layout=Layout.GROUPED)
    return replace(family, layer={**family.layer, "attn.c_attn": rows})


GPT2 = Family(
    name="gpt2",
    container="h",
    layer={
        **_NORMS,
        "attn.c_attn": conv1d("q", "k", "v"),
        "attn.c_proj": conv1d("o"),
        "mlp.c_fc": conv1d("up"),
        "mlp.c_proj": conv1d("down"),
    },
    outside=_OUTSIDE,
    model_types=("gpt2",),
    layers={"gpt2": 12},
    built=_BIASES,
    gguf=("gpt2",),
    kinds=_KINDS,
    keys=_KEYS,
    tied=True,
)

FAMILIES = (
    GPT2,
    Family(
        name="gpt_bigcode",
        container="h",
        layer={
            **_NORMS,
            "attn.c_attn": fused("q", "k", "v"),
            "attn.c_proj": "o",
            "mlp.c_fc": "up",
            "mlp.c_proj": "down",
        },
        outside=_OUTSIDE,
        model_types=("gpt_bigcode",),
        layers={"gpt_bigcode": 12},
        built=_BIASES,
        gguf=("starcoder",),
        kinds=replace(_KINDS, activation="gelu_pytorch_tanh"),
        keys=_KEYS,
        further=("multi_query",),
        adjust=_bigcode,
        tied=True,
    ),
    Family(
        name="gpt_neo",
        container="h",
        layer={
            **_NORMS,
            "attn.attention.q_proj": "q",
            "attn.attention.k_proj": "k",
            "attn.attention.v_proj": "v",
            "attn.attention.out_proj": "o",
            "mlp.c_fc": "up",
            "mlp.c_proj": "down",
        },
        outside=_OUTSIDE,
        model_types=("gpt_neo",),
        layers={"gpt_neo": 24},
        built=_NEO_BIASES,
        kinds=_KINDS,
        keys={**_KEYS, "d_ff": "intermediate_size", "n_layers": ("num_hidden_layers", "num_layers")},
        tied=True,
    ),
    Family(
        name="gptj",
        container="h",
        layer={
            **_NORMS,
            "attn.q_proj": "q",
            "attn.k_proj": "k",
            "attn.v_proj": "v",
            "attn.out_proj": "o",
            "mlp.fc_in": "up",
            "mlp.fc_out": "down",
        },
        outside=_OUTSIDE,
        model_types=("gptj",),
        layers={"gptj": 28},
        built=_FFN_BIASES,
        gguf=("gptj",),
        kinds=_ROPED,
        keys=_KEYS,
    ),
    Family(
        name="codegen",
        container="h",
        layer={
            **_NORMS,
            "attn.qkv_proj": fused("q", "v", "k", layout=Layout.BLOCKED),
            "attn.out_proj": "o",
            "mlp.fc_in": "up",
            "mlp.fc_out": "down",
        },
        outside=_OUTSIDE,
        model_types=("codegen",),
        layers={"codegen": 28},
        built=_FFN_BIASES,
        gguf=("codegen",),
        kinds=_ROPED,
        keys=_KEYS,
    ),
)
