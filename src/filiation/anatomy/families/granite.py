"""Granite and its mixtures, whose experts are stacked."""

from __future__ import annotations

from filiation.anatomy.built import Mixture
from filiation.anatomy.families.llama import BIASED, FFN, MLP_BIAS, QKV, llama_like, loads
from filiation.anatomy.tables import experts, fused

FAMILIES = (
    llama_like(
        "granite",
        "granite",
        gguf=("granite",),
        gguf_permuted=True,
        built=loads(QKV, FFN, biases={**BIASED, "ffn": MLP_BIAS}),
    ),
    llama_like(
        "granitemoe",
        "granitemoe",
        "granitemoeshared",
        gguf=("granitemoe",),
        gguf_permuted=True,
        layer={
            "block_sparse_moe.input_linear": experts("gate", "up"),
            "block_sparse_moe.output_linear": experts("down"),
            "block_sparse_moe.router.layer": "router",
            "shared_mlp.input_linear": fused("shared.gate", "shared.up"),
            "shared_mlp.output_linear": "shared.down",
        },
        built=loads(QKV, mixture=Mixture(), biases=BIASED),
    ),
)
