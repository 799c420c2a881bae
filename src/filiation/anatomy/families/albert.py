"""ALBERT (arXiv 1909.11942): one layer's weights serve every layer, so there is one label set of each kind."""

from __future__ import annotations

from filiation.anatomy.built import EVERY_BIAS, Built
from filiation.anatomy.tables import Family, Kinds

_LAYER = "albert_layers.0."

FAMILIES = (
    Family(
        name="albert",
        container="encoder.albert_layer_groups",
        layer={
            _LAYER + "attention.query": "q",
            _LAYER + "attention.key": "k",
            _LAYER + "attention.value": "v",
            _LAYER + "attention.dense": "o",
            _LAYER + "attention.LayerNorm": "post_attn_norm",
            _LAYER + "ffn": "up",
            _LAYER + "ffn_output": "down",
            _LAYER + "full_layer_layer_norm": "post_ffn_norm",
        },
        outside={
            "embeddings.word_embeddings": "embedding",
            "embeddings.position_embeddings": "position",
            "embeddings.token_type_embeddings": "token_type",
            "embeddings.LayerNorm": "embedding_norm",
            "encoder.embedding_hidden_mapping_in": "embedding_in",
            "pooler": "pooler",
            "predictions.bias": "head.bias",
            "predictions.decoder": "head",
            "predictions.dense": "head_dense",
            "predictions.LayerNorm": "head_norm",
            "sop_classifier.classifier": "classifier",
            "classifier": "classifier",
            "qa_outputs": "classifier",
        },
        model_types=("albert",),
        built=Built(biases=EVERY_BIAS),
        layers={"albert": 1},
        keys={
            "n_layers": "num_hidden_groups",  # those that are stored; each serves several layers
            "n_kv_heads": (),
            "d_head": (),
            "d_ff": "intermediate_size",
            "epsilon": "layer_norm_eps",
            "rope_theta": (),
        },
        kinds=Kinds(
            norm="layer",
            norm_position="post",
            gated=False,
            activation="gelu_new",
            rope=None,
            positions="learned",
        ),
        tied=True,
    ),
)
