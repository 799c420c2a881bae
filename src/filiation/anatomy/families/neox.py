"""GPT-NeoX (Pythia), Bloom, Falcon, MPT, Persimmon: attention stored as one projection, each in its own row order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from filiation.anatomy.built import EVERY_BIAS, Built, Switch
from filiation.anatomy.tables import Config, Family, Kinds, Layout, fused

_QKV = fused("q", "k", "v", layout=Layout.GROUPED)
_KINDS = Kinds(norm="layer", gated=False, activation="gelu")
_KEYS = {"n_layers": "num_hidden_layers", "n_kv_heads": (), "d_head": (), "epsilon": "layer_norm_epsilon"}
_NEOX = {**_KEYS, "d_ff": "intermediate_size", "epsilon": "layer_norm_eps"}
_ALIBI = replace(_KINDS, rope=None, positions="alibi")


def _falcon(config: Config, family: Family) -> Family:
    """RefinedWeb models use ALiBi; Falcon-40B's GGUF calls the FFN's norm ``attn_norm``."""
    if config.get("model_type") == "falcon":
        family = replace(family, keys={**family.keys, "n_layers": "num_hidden_layers"})
    if config.get("alibi"):
        return family.with_kinds(rope=None, positions="alibi")
    groups = config.get("num_key_value_heads")
    if isinstance(groups, int) and groups > 1:
        return replace(family, gguf_layer={"attn_norm": "ffn_norm", "attn_norm_2": "attn_norm"})
    return family


def _mpt(config: Config, family: Family) -> Family:
    attention: Any = config.get("attn_config")
    if isinstance(attention, Mapping) and not attention.get("alibi", False):
        rope = bool(attention.get("rope"))
        return family.with_kinds(rope="neox" if rope else None, positions="rope" if rope else "learned")
    return family


FAMILIES = (
    Family(
        name="gpt_neox",
        container="layers",
        layer={
            "input_layernorm": "attn_norm",
            "attention.query_key_value": _QKV,
            "attention.dense": "o",
            "attention.bias": "buffer",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": "up",
            "mlp.dense_4h_to_h": "down",
        },
        outside={"embed_in": "embedding", "final_layer_norm": "final_norm", "embed_out": "head"},
        model_types=("gpt_neox",),
        layers={"gpt_neox": 44},
        built=Built(biases={**EVERY_BIAS, **dict.fromkeys("qkvo", Switch("attention_bias", True))}),
        gguf=("gptneox",),
        kinds=_KINDS,
        keys=_NEOX,
        further=("use_parallel_residual",),
    ),
    Family(
        name="bloom",
        container="h",
        layer={
            "input_layernorm": "attn_norm",
            "self_attention.query_key_value": _QKV,
            "self_attention.dense": "o",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": "up",
            "mlp.dense_4h_to_h": "down",
        },
        outside={
            "word_embeddings": "embedding",
            "word_embeddings_layernorm": "embedding_norm",
            "ln_f": "final_norm",
            "lm_head": "head",
        },
        model_types=("bloom",),
        gguf=("bloom",),
        kinds=replace(_ALIBI, activation="gelu_pytorch_tanh"),
        keys={**_KEYS, "n_layers": ("num_hidden_layers", "n_layer"), "d_ff": (), "activation": ()},
        layers={"bloom": 2},
        built=Built(biases=EVERY_BIAS),
        tied=True,
    ),
    Family(
        name="falcon",
        container="h",
        layer={
            "input_layernorm": "attn_norm",
            "ln_attn": "attn_norm",
            "ln_mlp": "ffn_norm",
            "self_attention.query_key_value": _QKV,
            "self_attention.dense": "o",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": "up",
            "mlp.dense_4h_to_h": "down",
        },
        outside={"word_embeddings": "embedding", "ln_f": "final_norm", "lm_head": "head"},
        model_types=("falcon", "RefinedWeb", "RefinedWebModel"),
        layers={"falcon": 32},
        architectures=("RWForCausalLM",),
        gguf=("falcon",),
        kinds=_KINDS,
        adjust=_falcon,
        built=Built(biases=dict.fromkeys(("q", "k", "v", "o", "up", "down"), Switch("bias"))),
        keys={
            "n_layers": ("num_hidden_layers", "n_layer"),
            "d_head": (),
            "activation": "activation",
            "epsilon": "layer_norm_epsilon",
        },
        further=("alibi", "multi_query", "new_decoder_architecture", "parallel_attn"),
        ignore=("n_kv_heads", "d_ff"),  # Falcon-7B's config says 71 kv heads; multi_query leaves one
        tied=True,
    ),
    Family(
        name="mpt",
        container="blocks",
        layer={
            "norm_1": "attn_norm",
            "attn.Wqkv": fused("q", "k", "v"),
            "attn.out_proj": "o",
            "attn.q_ln": "q_norm",
            "attn.k_ln": "k_norm",
            "norm_2": "ffn_norm",
            "ffn.up_proj": "up",
            "ffn.down_proj": "down",
        },
        outside={
            "wte": "embedding",
            "wpe": "position",
            "norm_f": "final_norm",
            "lm_head": "head",
        },
        model_types=("mpt",),
        gguf=("mpt",),
        kinds=replace(_ALIBI, norm_bias=False),
        keys={**_KEYS, "n_layers": ("num_hidden_layers", "n_layers"), "d_ff": (), "activation": ()},
        layers={"mpt": 24},
        built=Built(biases={}),
        further=("attn_config",),
        adjust=_mpt,
        tied=True,
    ),
    Family(
        name="persimmon",
        container="layers",
        layer={
            "input_layernorm": "attn_norm",
            "self_attn.query_key_value": _QKV,
            "self_attn.dense": "o",
            "self_attn.q_layernorm": "q_norm",
            "self_attn.k_layernorm": "k_norm",
            "post_attention_layernorm": "ffn_norm",
            "mlp.dense_h_to_4h": "up",
            "mlp.dense_4h_to_h": "down",
        },
        outside={"embed_tokens": "embedding", "final_layernorm": "final_norm", "lm_head": "head"},
        model_types=("persimmon",),
        layers={"persimmon": 36},
        built=Built(
            biases=EVERY_BIAS,
            switched=dict.fromkeys(
                ("self_attn.q_layernorm", "self_attn.k_layernorm"), Switch("qk_layernorm", True)
            ),
        ),
        gguf=("persimmon",),
        kinds=replace(_KINDS, activation="relu2"),
        keys=_NEOX,
    ),
)
