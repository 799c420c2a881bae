"""OLMo: LayerNorm without parameters, then (2, 3) RMSNorm on the output of each branch."""

from __future__ import annotations

from filiation.anatomy.built import Mixture
from filiation.anatomy.families.llama import BIASED, EXPERTS, FFN, QK_NORMS, QKV, llama_like, loads
from filiation.anatomy.tables import Family, Kinds, Names, fused

_PLAIN = Kinds(norm="layer", norm_bias=False, activation="silu")
_OUTPUT = Kinds(norm_position="output", activation="silu")
_OLMO2: Names = {
    "post_attention_layernorm": "post_attn_norm",
    "post_feedforward_layernorm": "post_ffn_norm",
}

_NORMED = loads(QKV, QK_NORMS, FFN, biases=BIASED)

FAMILIES = (
    llama_like(
        "olmo",
        "olmo",
        without=("attn_norm", "ffn_norm"),
        gguf=("olmo",),
        gguf_permuted=True,
        kinds=_PLAIN,
        keys={"epsilon": ()},
        built=loads(QKV, FFN, biases=BIASED),
    ),
    llama_like(
        "olmo2",
        "olmo2",
        gguf=("olmo2",),
        kinds=_OUTPUT,
        layer=_OLMO2,
        without=("attn_norm", "ffn_norm"),
        built=_NORMED,
    ),
    llama_like(
        "olmo3", "olmo3", kinds=_OUTPUT, layer=_OLMO2, without=("attn_norm", "ffn_norm"), built=_NORMED
    ),
    llama_like(
        "olmoe",
        "olmoe",
        gguf=("olmoe",),
        built=loads(QKV, QK_NORMS, EXPERTS, mixture=Mixture(), biases=BIASED),
    ),
    # EXAONE 4 places its norms as OLMo 2 does.
    llama_like(
        "exaone4",
        "exaone4",
        gguf=("exaone4",),
        kinds=_OUTPUT,
        layer=_OLMO2,
        without=("attn_norm", "ffn_norm"),
        built=loads(QKV, QK_NORMS, FFN),
    ),
    Family(
        name="olmo_original",
        container="blocks",
        layer={
            "att_proj": fused("q", "k", "v"),
            "attn_out": "o",
            "ff_proj": fused("up", "gate"),
            "ff_out": "down",
            "attn_norm": "attn_norm",
            "ff_norm": "ffn_norm",
            "q_norm": "q_norm",
            "k_norm": "k_norm",
        },
        outside={"wte": "embedding", "ff_out": "head", "ln_f": "final_norm"},
        model_types=("hf_olmo",),
        kinds=_PLAIN,
        keys={
            "n_layers": ("num_hidden_layers", "n_layers"),
            "activation": "activation_type",
            "epsilon": "layer_norm_eps",
        },
        ignore=("d_ff", "vocab"),  # mlp_hidden_size counts both halves; embedding_size pads vocab_size
    ),
)
