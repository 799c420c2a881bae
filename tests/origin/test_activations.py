"""Nonlinearities are those of the loaders: what one clips is clipped here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from filiation.origin.activations import activation, xielu
from filiation.origin.gather import Side
from filiation.origin.network import fired

AT = np.array([-12, -3, -1, -0.5, 0, 0.5, 1, 3, 12], np.float32)
#: What transformers 5.23.0 with torch 2.13.0 gives at these places, by the words of its table.
BY_TRANSFORMERS = {
    "gelu": (-0, -0.00405023, -0.158655, -0.154269, 0, 0.345731, 0.841345, 2.99595, 12),
    "gelu_10": (-0, -0.00405023, -0.158655, -0.154269, 0, 0.345731, 0.841345, 2.99595, 10),
    "gelu_accurate": (-0, -0.00363743, -0.158808, -0.154286, 0, 0.345714, 0.841192, 2.99636, 12),
    "gelu_fast": (-0, -0.00363743, -0.158808, -0.154286, 0, 0.345714, 0.841192, 2.99636, 12),
    "gelu_new": (-0, -0.00363743, -0.158808, -0.154286, 0, 0.345714, 0.841192, 2.99636, 12),
    "gelu_python": (-0, -0.00404969, -0.158655, -0.154269, 0, 0.345731, 0.841345, 2.99595, 12),
    "gelu_python_tanh": (-0, -0.00363743, -0.158808, -0.154286, 0, 0.345714, 0.841192, 2.99636, 12),
    "gelu_pytorch_tanh": (-0, -0.00363743, -0.158808, -0.154286, 0, 0.345714, 0.841192, 2.99636, 12),
    "hardswish": (-0, -0, -0.333333, -0.208333, 0, 0.291667, 0.666667, 3, 12),
    "laplace": (0, 0, 0, 9.38773e-06, 0.00609446, 0.231421, 0.85043, 1, 1),
    "leaky_relu": (-0.12, -0.03, -0.01, -0.005, 0, 0.5, 1, 3, 12),
    "linear": (-12, -3, -1, -0.5, 0, 0.5, 1, 3, 12),
    "mish": (-7.37303e-05, -0.145647, -0.303401, -0.220744, 0, 0.375245, 0.865098, 2.98654, 12),
    "quick_gelu": (-1.61864e-08, -0.0180713, -0.154204, -0.149612, 0, 0.350388, 0.845796, 2.98193, 12),
    "relu": (0, 0, 0, 0, 0, 0.5, 1, 3, 12),
    "relu2": (0, 0, 0, 0, 0, 0.25, 1, 9, 144),
    "relu6": (0, 0, 0, 0, 0, 0.5, 1, 3, 6),
    "sigmoid": (6.14417e-06, 0.0474259, 0.268941, 0.377541, 0.5, 0.622459, 0.731059, 0.952574, 0.999994),
    "silu": (-7.37301e-05, -0.142278, -0.268941, -0.18877, 0, 0.31123, 0.731059, 2.85772, 11.9999),
    "sqrtsoftplus": (0.00247875, 0.220425, 0.559698, 0.688532, 0.832555, 0.986953, 1.14598, 1.74602, 3.4641),
    "swish": (-7.37301e-05, -0.142278, -0.268941, -0.18877, 0, 0.31123, 0.731059, 2.85772, 11.9999),
    "tanh": (-1, -0.995055, -0.761594, -0.462117, 0, 0.462117, 0.761594, 0.995055, 1),
}


@pytest.mark.parametrize("word", BY_TRANSFORMERS)
def test_values_are_those_of_the_loader(word: str) -> None:
    known = activation(word, gated=True)
    assert known is not None
    found = known(AT.copy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, BY_TRANSFORMERS[word], atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("word", ["xielu", "prelu", "relu6 ", "my_gelu", ""])
def test_a_word_is_known_whole_or_not_at_all(word: str) -> None:
    assert activation(word or "unheard of", gated=True) is None


def test_what_is_usual_stands_for_no_word() -> None:
    silu, gelu = activation(None, gated=True), activation(None, gated=False)
    assert silu is activation("silu", gated=True)
    assert gelu is activation("gelu_new", gated=False)


def test_xielu_has_parameters_of_its_own() -> None:
    """Values of a fresh one in transformers 5.23.0, whose parameters are stored in bfloat16."""
    found = xielu(AT, 0.2034, -1.0502, 0.5, -1e-6)
    fresh = (2.8086, 0.141431, -0.205409, -0.164692, 0, 0.450195, 1.30078, 8.70703, 121.312)
    np.testing.assert_allclose(found, fresh, rtol=0.02, atol=2e-3)


def test_what_gpt_oss_clamps_is_clamped() -> None:
    config = {"model_type": "gpt_oss", "swiglu_limit": 5.0}
    checkpoint = SimpleNamespace(config=config, metadata={}, tensors={})
    geometry = SimpleNamespace(activation="quick_gelu", up_is_odd=False)
    side: Any = SimpleNamespace(
        geometry=geometry, anatomy=SimpleNamespace(checkpoint=checkpoint), component="language"
    )
    fed, gated = np.array([[-9, 2, 9]], np.float32), np.array([[1, 3, 9]], np.float32)
    found = fired(cast("Side", side), 0, fed, gated)
    gate = np.minimum(gated, 5)
    expected = gate / (1 + np.exp(-1.702 * gate)) * (np.clip(fed, -5, 5) + 1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
