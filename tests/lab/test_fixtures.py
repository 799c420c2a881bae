"""What any two models can be made to share without kinship: each change does what it says, to the function too."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab import fixtures
from filiation.lab.forward import logits
from filiation.lab.layout import EMBEDDING
from tests.lab.models import FFN, llama, tokens

UP = "model.layers.1.mlp.up_proj.weight"
GATE = "model.layers.1.mlp.gate_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize("change", [fixtures.sort_units, fixtures.sort_channels])
def test_sorting_keeps_the_function(change) -> None:
    tensors, config = llama()
    out, settings = change(tensors, config)
    np.testing.assert_allclose(logits(out, settings, tokens()), logits(tensors, config, tokens()), atol=1e-4)
    assert any(not np.array_equal(out[name], tensors[name]) for name in tensors)


def test_sorted_units_and_channels_lie_in_the_order_of_their_norms() -> None:
    out, _ = fixtures.sort_units(*llama())
    importance = np.linalg.norm(out[UP], axis=1) * np.linalg.norm(out[DOWN], axis=0)
    assert (np.diff(importance) <= 0).all()
    out, _ = fixtures.sort_channels(*llama())
    assert (np.diff(np.linalg.norm(out[EMBEDDING], axis=0)) <= 0).all()


def test_padding_adds_units_of_zeros_and_keeps_the_function() -> None:
    tensors, config = llama()
    out, settings = fixtures.pad_units(tensors, config, units=FFN + 8)
    assert settings["intermediate_size"] == FFN + 8 == out[UP].shape[0] == out[DOWN].shape[1]
    assert not out[UP][FFN:].any()
    assert not out[DOWN][:, FFN:].any()
    np.testing.assert_allclose(logits(out, settings, tokens()), logits(tensors, config, tokens()), atol=1e-4)


def test_silencing_zeroes_the_least_units_whole_or_the_blocks_output() -> None:
    tensors, config = llama()
    out, _ = fixtures.silence_units(tensors, config, fraction=0.5)
    silent = ~out[UP].any(axis=1)
    assert silent.sum() == round(0.5 * FFN)
    assert not out[GATE][silent].any()
    assert not out[DOWN][:, silent].any()
    assert np.array_equal(out[UP][~silent], tensors[UP][~silent])
    out, _ = fixtures.silence_blocks(tensors, config, layers=[1])
    assert not out[DOWN].any()
    assert np.array_equal(
        out[DOWN.replace("layers.1", "layers.0")], tensors[DOWN.replace("layers.1", "layers.0")]
    )


def test_units_made_alike_are_all_the_mean() -> None:
    tensors, config = llama()
    out, _ = fixtures.make_units_alike(tensors, config)
    assert (out[UP] == out[UP][0]).all()
    np.testing.assert_allclose(out[UP][0], tensors[UP].mean(0), atol=1e-6)
    np.testing.assert_allclose(out[DOWN][:, 0], tensors[DOWN].mean(1), atol=1e-6)
