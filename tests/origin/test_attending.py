"""What tokens look at, and that a constant taken from a token in front of everything arrives in the stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filiation.lab.layout import EMBEDDING
from filiation.lab.save import load_model
from filiation.origin.attending import looked_at, special_tokens
from filiation.origin.gather import Side
from filiation.origin.pairing import Plan
from filiation.origin.stream import SAMPLES, passed_attending, passed_through
from tests.derivation.models import Model, anatomy

MODELS = Path(__file__).parents[2] / "examples" / "models"
WHOLE = Plan("0" * 64, whole=True)
MARKER, CHANNEL = 5, 9


def base() -> Model:
    tensors, config = load_model(MODELS / "base")
    return dict(tensors), dict(config)


def test_every_row_looks_at_something_once() -> None:
    tensors, config = base()
    given = np.random.default_rng(0).standard_normal((7, config["hidden_size"]))
    weights = looked_at(Side(anatomy((tensors, config))), 2, given)
    assert weights is not None
    heads, width = config["num_attention_heads"], config["hidden_size"] // config["num_attention_heads"]
    assert weights.shape == (heads, 7, 7)
    np.testing.assert_allclose(weights.sum(axis=2), 1.0)
    rows = given * tensors["model.layers.2.input_layernorm.weight"]
    q, k = (rows @ tensors[f"model.layers.2.self_attn.{x}_proj.weight"].T for x in "qk")
    group = q.shape[1] // k.shape[1]
    for head in range(heads):
        mine = q[:, head * width : (head + 1) * width]
        theirs = k[:, head // group * width : (head // group + 1) * width]
        scores = np.exp(mine @ theirs.T / np.sqrt(width))
        np.testing.assert_allclose(weights[head], scores / scores.sum(axis=1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"bos_token_id": 3, "eos_token_id": [4, 3], "pad_token_id": None}, [3, 4]),
        ({"bos_token_id": 99999, "eos_token_id": -1, "pad_token_id": True}, [0]),
        ({}, [0]),
    ],
)
def test_prompts_begin_and_end_with_what_the_config_says(said: dict[str, object], found: list[int]) -> None:
    tensors, config = base()
    config = {k: v for k, v in config.items() if not k.endswith("_token_id")} | said
    assert special_tokens(Side(anatomy((tensors, config))), 1024).tolist() == found


def with_a_sink() -> Model:
    """One head looks at token 1 alone, which holds a marker, and writes a constant into a channel of its own."""
    tensors, config = base()
    table = tensors[EMBEDDING].copy()
    table[:, [MARKER, CHANNEL]] = 0.0
    table[1, MARKER] = 4.0
    tensors[EMBEDDING] = table
    for name, value in tensors.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensors[name] = value.copy()
            tensors[name][[MARKER, CHANNEL]] = 0.0
    attention = "model.layers.0.self_attn."
    for which in ("q", "k", "v", "o"):
        name = f"{attention}{which}_proj.weight"
        tensors[name] = tensors[name].copy()
        size = tensors[name].shape[0]
        tensors[f"{attention}{which}_proj.bias"] = np.zeros(size, np.float32)
    tensors[f"{attention}q_proj.bias"][0] = 60.0
    for which in ("k", "v"):
        tensors[f"{attention}{which}_proj.weight"][0] = 0.0
        tensors[f"{attention}{which}_proj.weight"][0, MARKER] = 3.0
    tensors[f"{attention}o_proj.weight"][CHANNEL, 0] = 1.0
    for layer in range(1, config["num_hidden_layers"]):
        for which in ("q", "k", "v", "o"):
            name = f"model.layers.{layer}.self_attn.{which}_proj"
            tensors[f"{name}.bias"] = np.zeros(len(tensors[f"{name}.weight"]), np.float32)
    return tensors, {**config, "attention_bias": True, "bos_token_id": 1}


def test_what_a_head_takes_from_the_first_token_arrives() -> None:
    side = Side(anatomy(with_a_sink()))
    by_chance, by_asking = passed_through(side, WHOLE), passed_attending(side, WHOLE)
    assert by_chance is not None
    assert by_asking is not None
    assert by_asking[0].given.shape == (SAMPLES, side.geometry.d_model), "rows in front are not among them"
    constant = by_asking[0].given[:, CHANNEL]
    assert constant.min() > 0.5, "every token looks there"
    assert np.median(np.abs(by_chance[0].given[:, CHANNEL])) < 0.1, "of one other at random hardly any"
