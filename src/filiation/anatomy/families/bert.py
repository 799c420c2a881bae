"""BERT and the encoders in its line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from filiation.anatomy.built import EVERY_BIAS, Built, Switch
from filiation.anatomy.tables import Config, Family, Kinds, Names, Rule, fused

_KINDS = Kinds(
    norm="layer", norm_position="post", gated=False, activation="gelu", rope=None, positions="learned"
)

_LAYER: Names = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "o",
    "attention.output.LayerNorm": "post_attn_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "post_ffn_norm",
    # cross attention of BERT used as a decoder
    "crossattention.self.query": "cross.q",
    "crossattention.self.key": "cross.k",
    "crossattention.self.value": "cross.v",
    "crossattention.output.dense": "cross.o",
    "crossattention.output.LayerNorm": "cross_norm",
}

_OUTSIDE: Names = {
    "embeddings.word_embeddings": "embedding",
    "embeddings.position_embeddings": "position",
    "embeddings.token_type_embeddings": "token_type",
    "embeddings.LayerNorm": "embedding_norm",
    "embeddings.token_type_ids": "buffer",
    "embeddings_project": "embedding_in",
    "pooler.dense": "pooler",
    "cls.predictions.bias": "head.bias",
    "cls.predictions.decoder": "head",
    "cls.predictions.transform.dense": "head_dense",
    "cls.predictions.transform.LayerNorm": "head_norm",
    "cls.seq_relationship": "classifier",
    "lm_head.bias": "head.bias",
    "lm_head.decoder": "head",
    "lm_head.dense": "head_dense",
    "lm_head.layer_norm": "head_norm",
    "classifier": "classifier",
    "classifier.dense": "classifier.dense",
    "classifier.out_proj": "classifier.out",
    "qa_outputs": "classifier",
}


_SIZES = {"n_layers": "num_hidden_layers", "n_kv_heads": (), "d_head": (), "d_ff": "intermediate_size"}
_KEYS = {**_SIZES, "epsilon": "layer_norm_eps", "rope_theta": ()}
_BIASES = Built(biases={**EVERY_BIAS, **{f"cross.{role}": True for role in "qkvo"}})
_AS_DECODER = {name: Switch("add_cross_attention") for name in _LAYER if name.startswith("cross")}
_LAYERS = {"xlm-roberta-xl": 36, "distilbert": 6, "modernbert": 22}
_MLP_BIAS, _ATTENTION_BIAS, _NORM_BIAS = Switch("mlp_bias"), Switch("attention_bias"), Switch("norm_bias")
_MODERN = Built(
    biases={
        **dict.fromkeys("qkvo", _ATTENTION_BIAS),
        **dict.fromkeys(("gate", "up", "down"), _MLP_BIAS),
        **dict.fromkeys(("attn_norm", "ffn_norm"), _NORM_BIAS),
    }
)


def _positions(config: Config, family: Family) -> Family:
    kind = config.get("position_embedding_type", "absolute")
    return family if kind == "absolute" else family.with_kinds(positions="relative")


def _modern(config: Config, family: Family) -> Family:
    return family.with_kinds(norm_bias=_NORM_BIAS.state(config) is not False)


def _bert(name: str, *model_types: str, **settings: Any) -> Family:
    settings = {"layer": _LAYER, "outside": _OUTSIDE, "kinds": _KINDS, "tied": True, **settings}
    settings["layers"] = {kind: _LAYERS.get(kind, 12) for kind in model_types}
    return Family(
        name=name,
        container="encoder.layer",
        model_types=model_types,
        adjust=_positions,
        keys=_KEYS,
        further=("position_embedding_type",),
        built=replace(_BIASES, switched=_AS_DECODER),
        **settings,
    )


_MPNET: dict[str, str | Rule] = {
    "attention.attn.q": "q",
    "attention.attn.k": "k",
    "attention.attn.v": "v",
    "attention.attn.o": "o",
    "attention.LayerNorm": "post_attn_norm",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "post_ffn_norm",
}

FAMILIES = (
    _bert("bert", "bert", gguf=("bert",)),
    _bert("roberta", "roberta", "camembert"),
    _bert("xlm-roberta", "xlm-roberta", "xlm-roberta-xl"),
    _bert("electra", "electra"),
    _bert(
        "mpnet",
        "mpnet",
        layer=_MPNET,
        outside={**_OUTSIDE, "encoder.relative_attention_bias": "rel_bias"},
    ),
    Family(
        name="distilbert",
        container="transformer.layer",
        layer={
            "attention.q_lin": "q",
            "attention.k_lin": "k",
            "attention.v_lin": "v",
            "attention.out_lin": "o",
            "sa_layer_norm": "post_attn_norm",
            "ffn.lin1": "up",
            "ffn.lin2": "down",
            "output_layer_norm": "post_ffn_norm",
        },
        outside={
            **_OUTSIDE,
            "vocab_transform": "head_dense",
            "vocab_layer_norm": "head_norm",
            "vocab_projector": "head",
            "pre_classifier": "pooler",
        },
        model_types=("distilbert",),
        kinds=_KINDS,
        keys={
            **_KEYS,
            "n_layers": ("num_hidden_layers", "n_layers"),
            "d_ff": "hidden_dim",
            "activation": "activation",
            "epsilon": (),
        },
        layers=_LAYERS,
        built=_BIASES,
        tied=True,
    ),
    Family(
        name="modernbert",
        container="layers",
        layer={
            "attn_norm": "attn_norm",
            "attn.Wqkv": fused("q", "k", "v"),
            "attn.Wo": "o",
            "mlp_norm": "ffn_norm",
            "mlp.Wi": fused("gate", "up"),
            "mlp.Wo": "down",
        },
        outside={
            "embeddings.tok_embeddings": "embedding",
            "embeddings.norm": "embedding_norm",
            "final_norm": "final_norm",
            "head.dense": "head_dense",
            "head.norm": "head_norm",
            "decoder": "head",
            "classifier": "classifier",
        },
        model_types=("modernbert",),
        gguf=("modern-bert",),
        kinds=Kinds(norm="layer", norm_bias=False, activation="gelu"),
        keys={**_SIZES, "activation": "hidden_activation", "epsilon": "norm_eps"},
        layers=_LAYERS,
        built=_MODERN,
        adjust=_modern,
        tied=True,
    ),
)
