"""A T5's decoder: blocks beyond its encoder's number and biases, neither of which any T5 loads, make no relative."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation
from tests.comparison.test_beyond_config import (
    DEPTH,
    Tensors,
    is_no_finding,
    saved,
    shipped,
    with_gains_of,
)

WIDTH, HEADS, GROUPS, HIDDEN = 64, 4, 2, 192
NETWORK = {"wi_0": "gate", "wi_1": "up", "wo": "down"}
T5: Mapping[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_model": WIDTH,
    "d_kv": WIDTH // HEADS,
    "d_ff": HIDDEN,
    "num_heads": HEADS,
    "num_layers": DEPTH,
    "vocab_size": 1024,
    "feed_forward_proj": "gated-silu",
    "tie_word_embeddings": False,
}


def ffn(layer: int) -> str:
    return f"decoder.block.{layer}.layer.2.DenseReluDense."


def blocks(llama: Tensors, first: int = 0) -> dict[str, Any]:
    """A Llama's layers as blocks of a T5's decoder, from a block on."""
    found: dict[str, Any] = {}
    for layer in range(DEPTH):
        old, new = f"model.layers.{layer}.", f"decoder.block.{layer + first}.layer."
        rng = np.random.default_rng(layer + first)
        for role in "qkvo":
            matrix = llama[f"{old}self_attn.{role}_proj.weight"]
            if role in "kv":
                by_head = matrix.reshape(GROUPS, -1, WIDTH)
                matrix = np.repeat(by_head, HEADS // GROUPS, 0).reshape(WIDTH, WIDTH)
            found[f"{new}0.SelfAttention.{role}.weight"] = matrix
            found[f"{new}1.EncDecAttention.{role}.weight"] = 0.03 * rng.standard_normal((WIDTH, WIDTH))
        for name, role in NETWORK.items():
            found[f"{ffn(layer + first)}{name}.weight"] = llama[f"{old}mlp.{role}_proj.weight"]
        found[f"{new}0.layer_norm.weight"] = llama[f"{old}input_layernorm.weight"]
        found[f"{new}1.layer_norm.weight"] = np.ones(WIDTH)
        found[f"{new}2.layer_norm.weight"] = llama[f"{old}post_attention_layernorm.weight"]
    return found


def around(llama: Tensors, seed: int, hidden: int = HIDDEN) -> dict[str, Any]:
    """What else a T5 has: tables, norms, and an encoder of its own."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {
        "shared.weight": llama["model.embed_tokens.weight"],
        "lm_head.weight": llama["model.embed_tokens.weight"],
        "decoder.final_layer_norm.weight": llama["model.norm.weight"],
        "encoder.final_layer_norm.weight": np.ones(WIDTH),
    }
    for tower in ("encoder", "decoder"):
        bias = f"{tower}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        found[bias] = rng.standard_normal((32, HEADS))
    for layer in range(DEPTH):
        new = f"encoder.block.{layer}.layer."
        for role in "qkvo":
            found[f"{new}0.SelfAttention.{role}.weight"] = 0.05 * rng.standard_normal((WIDTH, WIDTH))
        for name in NETWORK:
            shape = (WIDTH, hidden) if name == "wo" else (hidden, WIDTH)
            found[f"{new}1.DenseReluDense.{name}.weight"] = 0.05 * rng.standard_normal(shape)
        found[f"{new}0.layer_norm.weight"] = found[f"{new}1.layer_norm.weight"] = np.ones(WIDTH)
    return found


def written(tensors: Tensors, folder: Path, **changes: Any) -> str:
    values = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    return saved(values, {**T5, "torch_dtype": "float32", **changes}, folder)


@pytest.fixture(scope="module")
def accused(tmp_path_factory: pytest.TempPathFactory) -> str:
    model = shipped("base")[0]
    return written({**blocks(model), **around(model, 1)}, tmp_path_factory.mktemp("accused"))


@pytest.mark.parametrize("turned", [False, True])
def test_a_decoder_has_as_many_blocks_as_its_encoder(accused: str, turned: bool, tmp_path: Path) -> None:
    """Old T5 configs give one number for both; the accused's blocks stand behind one's own."""
    other, stranger = shipped("base")[0], shipped("twin")[0]
    framer = written({**blocks(stranger), **blocks(other, DEPTH), **around(stranger, 2)}, tmp_path)
    found = filiation.compare(*([accused, framer] if turned else [framer, accused]))
    assert is_no_finding(found)
    assert not found.verdict.inherited_share
    assert "layers_not_loaded" in found.report.limits


@pytest.mark.parametrize("turned", [False, True])
def test_biases_that_no_t5_loads_silence_nothing(accused: str, turned: bool, tmp_path: Path) -> None:
    """Units that cancel one another, and biases that would shut what cancels, were they loaded."""
    other, stranger = shipped("base")[0], shipped("twin")[0]
    own = blocks(with_gains_of(stranger, other))
    out = {**own, **around(stranger, 2, 5 * HIDDEN)}
    for layer in range(DEPTH):
        name = f"model.layers.{layer}.mlp."
        g, u, d = (other[f"{name}{role}_proj.weight"] for role in ("gate", "up", "down"))
        gate, up, down = (own[f"{ffn(layer)}{role}.weight"] for role in NETWORK)
        out[ffn(layer) + "wi_0.weight"] = np.concatenate([g, -g, u, -u, gate])
        out[ffn(layer) + "wi_1.weight"] = np.concatenate([u, u, g, g, up])
        out[ffn(layer) + "wo.weight"] = np.concatenate([2 * d, -2 * d, -2 * d, 2 * d, down], axis=1)
        shut = np.full(5 * HIDDEN, -1e4)
        shut[:HIDDEN] = 0
        out[ffn(layer) + "wi_0.bias"] = shut
    framer = written(out, tmp_path, d_ff=5 * HIDDEN)
    found = filiation.compare(*([accused, framer] if turned else [framer, accused]))
    assert is_no_finding(found)
    assert "tensors_not_loaded" in found.report.limits


def test_a_child_of_a_t5_is_found(accused: str, tmp_path: Path) -> None:
    """With the number left out, and biases that nobody loads beside its own."""
    model, rng = shipped("base")[0], np.random.default_rng(3)
    whole = {**blocks(model), **around(model, 1)}
    child = {n: v + 0.2 * np.std(v) * rng.standard_normal(np.shape(v)) for n, v in whole.items()}
    junk = {f"{ffn(layer)}wi_0.bias": rng.standard_normal(HIDDEN) for layer in range(DEPTH)}
    found = filiation.compare(written({**child, **junk}, tmp_path), accused)
    assert found.verdict.relation == Relation.COMMON_ORIGIN
