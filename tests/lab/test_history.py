"""The breeder's own check: what it says of copies, of strangers, and of what lies between."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab.derive import add_noise
from filiation.lab.history import shared
from filiation.lab.launder import flip_ffn_signs, permute_ffn, permute_residual
from tests.lab.models import FFN, LAYERS, WIDTH, llama, mixtral


@pytest.mark.parametrize("model", [llama, mixtral])
def test_a_copy_shares_everything(model) -> None:
    tensors, config = model()
    found = shared(tensors, tensors, config)
    assert found.gain_correlation == pytest.approx(1)
    assert found.weight_cosine == pytest.approx(1)
    assert found.gain_channels == found.embedding_channels == found.channels == WIDTH
    assert found.order == found.signs == found.units == sum(layer[2] for layer in found.layers)
    assert found.is_history


def test_strangers_share_what_chance_leaves() -> None:
    found = [shared(llama(seed)[0], llama(seed + 100)[0], llama()[1]) for seed in range(20)]
    assert abs(np.mean([f.gain_correlation for f in found])) < 0.1
    assert abs(np.mean([f.weight_cosine for f in found])) < 0.02
    # One fixed point a layer is expected whatever its size; half of the signs agree.
    assert abs(np.mean([f.order for f in found]) / LAYERS - 1) < 0.5
    assert abs(np.mean([f.signs for f in found]) / (FFN * LAYERS) - 0.5) < 0.05
    assert not any(f.is_history for f in found)


def test_order_signs_and_channels_are_told_apart() -> None:
    tensors, config = llama()
    moved = shared(permute_ffn(tensors, config, seed=1)[0], tensors, config)
    assert moved.order < FFN
    assert moved.signs == moved.units
    flipped = shared(flip_ffn_signs(tensors, config, seed=1)[0], tensors, config)
    assert flipped.order == flipped.units
    assert flipped.signs == flipped.units // 2
    turned = shared(permute_residual(tensors, config, seed=1)[0], tensors, config)
    assert max(turned.gain_channels, turned.embedding_channels) <= WIDTH // 3


def test_constant_gains_say_nothing_and_weights_decide() -> None:
    tensors, config = llama()
    for name, value in tensors.items():
        if value.ndim == 1:
            tensors[name] = np.ones_like(value)
    found = shared(add_noise(tensors, config, level=0.5, seed=1)[0], tensors, config)
    assert found.gain_correlation == 0
    assert found.weight_cosine == pytest.approx(1 / np.sqrt(1.25), abs=0.03)
    assert found.is_history
