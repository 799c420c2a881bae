"""The nonlinearities of feed-forward networks, by the words that configs use for them.

Words are known whole or not at all: ``relu6`` is no ``relu``, and what a loader clips must be clipped here too, or
units could be at work here that are shut there (ADR 0024).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from filiation.origin.units import Floats

Activation = Callable[[Floats], Floats]


def activation(word: str | None, *, gated: bool) -> Activation | None:
    """Return the function that a config's word names; None for a word that is not known.

    Args:
        word: None where nothing is said: then it is what such networks usually have.
        gated: the network has a gate, whose output the function is applied to.
    """
    return _KNOWN.get(word.lower() if word else "silu" if gated else "gelu_new")


def xielu(values: Floats, alpha_p: float, alpha_n: float, beta: float, eps: float) -> Floats:
    """Return xIELU (arXiv 2411.13010), whose parameters are stored with each layer; alphas before their softplus."""
    rising, falling = np.logaddexp(0, alpha_p), beta + np.logaddexp(0, alpha_n)
    below = (np.expm1(np.minimum(values, eps)) - values) * falling
    return (np.where(values > 0, rising * values * values, below) + beta * values).astype(np.float32)


def _silu(values: Floats) -> Floats:
    # In one piece of memory: these arrays are the largest that are worked on.
    sizes = np.negative(values, dtype=np.float32)
    np.exp(np.minimum(sizes, 60, out=sizes), out=sizes)
    sizes += 1
    return np.divide(values, sizes, out=sizes)


def _sigmoid(values: Floats) -> Floats:
    return np.divide(1, 1 + np.exp(np.minimum(-values, 60)), dtype=np.float32)


def _gelu(values: Floats) -> Floats:
    from scipy.special import erf

    return np.multiply(0.5 * values, 1 + erf(values * np.float32(0.5**0.5)), dtype=np.float32)


def _gelu_tanh(values: Floats) -> Floats:
    inner = np.tanh(0.7978846 * (values + 0.044715 * values * values * values))
    return np.multiply(0.5 * values, 1 + inner, dtype=np.float32)


def _quick_gelu(values: Floats) -> Floats:
    return np.multiply(values, _sigmoid(np.float32(1.702) * values), dtype=np.float32)


def _relu(values: Floats) -> Floats:
    return np.maximum(values, 0)


def _mish(values: Floats) -> Floats:
    return np.multiply(values, np.tanh(np.logaddexp(0, values)), dtype=np.float32)


def _laplace(values: Floats) -> Floats:
    from scipy.special import erf

    return (0.5 * (1 + erf((values - 0.707107) / (0.282095 * 2**0.5)))).astype(np.float32)


def _same(values: Floats) -> Floats:
    return values


_KNOWN: dict[str, Activation] = {
    **dict.fromkeys(("silu", "swish", "swiglu", "gated-silu"), _silu),
    **dict.fromkeys(("gelu", "gelu_python", "geglu"), _gelu),
    **dict.fromkeys(
        (
            *("gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh"),
            *("gelu_tanh", "gated-gelu", "gelu-approximate"),
        ),
        _gelu_tanh,
    ),
    "gelu_10": lambda values: np.clip(_gelu(values), -10, 10),
    **dict.fromkeys(("quick_gelu", "quick-gelu"), _quick_gelu),
    **dict.fromkeys(("relu", "reglu", "gated-relu"), _relu),
    **dict.fromkeys(
        ("relu2", "relu_squared", "squared_relu", "relu^2"), lambda values: np.square(_relu(values))
    ),
    "relu6": lambda values: np.clip(values, 0, 6),
    "leaky_relu": lambda values: np.maximum(values, np.float32(0.01) * values),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "mish": _mish,
    "hardswish": lambda values: values * np.clip(values + 3, 0, 6) / np.float32(6),
    "sqrtsoftplus": lambda values: np.sqrt(np.logaddexp(0, values)),
    "laplace": _laplace,
    **dict.fromkeys(("linear", "identity"), _same),
}
