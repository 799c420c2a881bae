"""OPT."""

from __future__ import annotations

from filiation.anatomy.built import EVERY_BIAS, Built, Switch
from filiation.anatomy.tables import Config, Family, Kinds


def _position(config: Config, family: Family) -> Family:
    """OPT-350M normalises after each branch."""
    return family if config.get("do_layer_norm_before", True) else family.with_kinds(norm_position="post")


FAMILIES = (
    Family(
        name="opt",
        container="layers",
        layer={
            "self_attn.q_proj": "q",
            "self_attn.k_proj": "k",
            "self_attn.v_proj": "v",
            "self_attn.out_proj": "o",
            "self_attn_layer_norm": "attn_norm",
            "fc1": "up",
            "fc2": "down",
            "final_layer_norm": "ffn_norm",
        },
        outside={
            "embed_tokens": "embedding",
            "embed_positions": "position",
            "project_in": "embedding_in",
            "project_out": "embedding_out",
            "final_layer_norm": "final_norm",
            "layer_norm": "final_norm",
            "lm_head": "head",
        },
        model_types=("opt",),
        kinds=Kinds(norm="layer", gated=False, activation="relu", rope=None, positions="learned"),
        layers={"opt": 12},
        built=Built(biases=dict.fromkeys(EVERY_BIAS, Switch("enable_bias", True))),
        keys={
            "n_layers": "num_hidden_layers",
            "n_kv_heads": (),
            "d_head": (),
            "d_ff": "ffn_dim",
            "activation": "activation_function",
            "epsilon": (),
            "rope_theta": (),
        },
        further=("do_layer_norm_before",),
        adjust=_position,
        tied=True,
    ),
)
