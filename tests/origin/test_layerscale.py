"""What stands behind a branch counts: the scale of each channel, and what attention to another tower always writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from filiation.origin.gather import Side
from filiation.origin.network import written_by
from filiation.origin.pairing import Plan
from filiation.origin.stream import passed_through
from tests.derivation.models import Model, anatomy

WIDTH, HIDDEN, LAYERS = 32, 64, 3
DRAWN = np.random.default_rng(0)


def drawn(*shape: int) -> np.ndarray:
    return (0.2 * DRAWN.standard_normal(shape)).astype(np.float32)


def dinov2() -> Model:
    tensors: dict[str, np.ndarray] = {
        "embeddings.cls_token": drawn(1, 1, WIDTH),
        "embeddings.position_embeddings": drawn(1, 17, WIDTH),
        "embeddings.patch_embeddings.projection.weight": drawn(WIDTH, 3, 8, 8),
        "layernorm.weight": np.ones(WIDTH, np.float32),
        "layernorm.bias": np.zeros(WIDTH, np.float32),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        for which in ("query", "key", "value"):
            tensors[f"{at}.attention.attention.{which}.weight"] = drawn(WIDTH, WIDTH)
        tensors[f"{at}.attention.output.dense.weight"] = drawn(WIDTH, WIDTH)
        tensors[f"{at}.attention.output.dense.bias"] = drawn(WIDTH)
        for number in (1, 2):
            tensors[f"{at}.norm{number}.weight"] = np.ones(WIDTH, np.float32)
            tensors[f"{at}.norm{number}.bias"] = np.zeros(WIDTH, np.float32)
            tensors[f"{at}.layer_scale{number}.lambda1"] = drawn(WIDTH)
        tensors[f"{at}.mlp.fc1.weight"], tensors[f"{at}.mlp.fc2.weight"] = (
            drawn(HIDDEN, WIDTH),
            drawn(WIDTH, HIDDEN),
        )
        tensors[f"{at}.mlp.fc2.bias"] = drawn(WIDTH)
    config: dict[str, Any] = {"model_type": "dinov2", "hidden_size": WIDTH, "num_hidden_layers": LAYERS}
    return tensors, {**config, "num_attention_heads": 4, "mlp_ratio": 2, "hidden_act": "gelu"}


@pytest.mark.parametrize(
    ("role", "matrix", "scale"),
    [("down", "mlp.fc2", "layer_scale2"), ("o", "attention.output.dense", "layer_scale1")],
)
def test_rows_of_writers_are_scaled_as_they_are_behind_them(role: str, matrix: str, scale: str) -> None:
    tensors, config = dinov2()
    side = Side(anatomy((tensors, config)), component="vision")
    found = side.writer(role, 1)
    assert found is not None
    at = "encoder.layer.1"
    expected = (tensors[f"{at}.{matrix}.weight"] * tensors[f"{at}.{scale}.lambda1"][:, None]).T
    expected = expected - expected.mean(axis=1, keepdims=True)  # LayerNorm lets nobody see the mean
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_scale_of_zero_silences_a_network_and_its_bias() -> None:
    tensors, config = dinov2()
    tensors["encoder.layer.1.layer_scale2.lambda1"] = np.zeros(WIDTH, np.float32)
    side = Side(anatomy((tensors, config)), component="vision")
    inputs = DRAWN.standard_normal((5, WIDTH)).astype(np.float32)
    silent, loud = written_by(side, 1, inputs), written_by(side, 0, inputs)
    assert silent is not None
    assert loud is not None
    assert not silent.any()
    assert np.abs(loud).max() > 0.01


def whisper() -> Model:
    tensors: dict[str, np.ndarray] = {"model.decoder.embed_tokens.weight": drawn(64, WIDTH)}
    tensors["model.decoder.embed_positions.weight"] = drawn(16, WIDTH)
    tensors["model.encoder.embed_positions.weight"] = drawn(16, WIDTH)
    tensors["model.encoder.conv1.weight"] = drawn(WIDTH, 8, 3)
    tensors["model.encoder.conv2.weight"] = drawn(WIDTH, WIDTH, 3)
    for tower in ("encoder", "decoder"):
        tensors[f"model.{tower}.layer_norm.weight"] = np.ones(WIDTH, np.float32)
        tensors[f"model.{tower}.layer_norm.bias"] = np.zeros(WIDTH, np.float32)
        for layer in range(LAYERS):
            at = f"model.{tower}.layers.{layer}"
            for branch in ("self_attn", "encoder_attn") if tower == "decoder" else ("self_attn",):
                for which in ("q", "k", "v", "out"):
                    tensors[f"{at}.{branch}.{which}_proj.weight"] = drawn(WIDTH, WIDTH)
                    if which != "k":
                        tensors[f"{at}.{branch}.{which}_proj.bias"] = np.zeros(WIDTH, np.float32)
                tensors[f"{at}.{branch}_layer_norm.weight"] = np.ones(WIDTH, np.float32)
                tensors[f"{at}.{branch}_layer_norm.bias"] = np.zeros(WIDTH, np.float32)
            tensors[f"{at}.fc1.weight"], tensors[f"{at}.fc2.weight"] = (
                drawn(HIDDEN, WIDTH),
                drawn(WIDTH, HIDDEN),
            )
            tensors[f"{at}.fc1.bias"], tensors[f"{at}.fc2.bias"] = drawn(HIDDEN), drawn(WIDTH)
            tensors[f"{at}.final_layer_norm.weight"] = np.ones(WIDTH, np.float32)
            tensors[f"{at}.final_layer_norm.bias"] = np.zeros(WIDTH, np.float32)
    config: dict[str, Any] = {"model_type": "whisper", "d_model": WIDTH, "vocab_size": 64}
    config |= {f"{tower}_layers": LAYERS for tower in ("encoder", "decoder")}
    config |= {f"{tower}_attention_heads": 4 for tower in ("encoder", "decoder")}
    config |= {f"{tower}_ffn_dim": HIDDEN for tower in ("encoder", "decoder")}
    return tensors, {**config, "activation_function": "gelu"}


@pytest.mark.parametrize(
    "changed", ["decoder.layers.0.encoder_attn.out_proj.bias", "encoder.layer_norm.bias"]
)
def test_what_cross_attention_always_writes_is_in_the_stream(changed: str) -> None:
    plan, towers = Plan("0" * 64, whole=True), []
    for constant in (0.0, 20.0):
        DRAWN.bit_generator.state = np.random.default_rng(0).bit_generator.state
        tensors, config = whisper()
        tensors[f"model.{changed}"][3] = constant
        whole = anatomy((tensors, config))
        component = next(p.component for p in whole.parts if p.role == "cross.o")
        passed = passed_through(Side(whole, component=component), plan)
        assert passed is not None
        towers.append(passed[0].given.mean(axis=0))
    assert np.abs(towers[1] - towers[0]).max() > 0.3
