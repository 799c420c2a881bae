"""RWKV-4: no attention, and initial values that depend on the channel's number (arXiv 2305.13048)."""

from __future__ import annotations

from filiation.anatomy.built import Built
from filiation.anatomy.model import Symmetry
from filiation.anatomy.tables import Family, Kinds

_INDEXED = "time-mixing weights start from values that depend on the channel's number"
_MIXING = ("attention.key", "attention.value", "attention.receptance", "attention.output")
_VECTORS = ("time_decay", "time_first", "time_mix_key", "time_mix_value", "time_mix_receptance")

FAMILIES = (
    Family(
        name="rwkv",
        container="blocks",
        layer={
            "pre_ln": "embedding_norm",
            "ln1": "attn_norm",
            "ln2": "ffn_norm",
            **{name: name.replace("attention.", "mix.") for name in _MIXING},
            **{f"attention.{name}": f"mix.{name}" for name in _VECTORS},
            **{f"feed_forward.{name}": f"ffn_mix.{name}" for name in _VECTORS},
            "feed_forward.key": "up",
            "feed_forward.value": "down",
            "feed_forward.receptance": "ffn_mix.receptance",
        },
        outside={"embeddings": "embedding", "ln_out": "final_norm", "head": "head"},
        model_types=("rwkv",),
        kinds=Kinds(norm="layer", gated=False, activation="relu2", rope=None, positions=None),
        layers={"rwkv": 32},
        built=Built(biases={}),
        keys={
            "n_layers": "num_hidden_layers",
            "d_head": "head_size",
            "activation": (),
            "epsilon": "layer_norm_epsilon",
        },
        exceptions={Symmetry.RESIDUAL_ORDER: _INDEXED, Symmetry.RESIDUAL_SIGN: _INDEXED},
    ),
)
