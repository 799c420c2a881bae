"""The forward pass of a Llama-shaped model over canonical matrices, for the two methods that look at activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.fingerprints.subject import CannotTestError, Index, Real, Subject


@dataclass(frozen=True, eq=False)
class Trace:
    """What a batch of token rows leaves behind.

    Attributes:
        hidden: the residual stream after each layer, (batch, length, d_model).
        gate: each layer's gate projections before the activation function, (batch * length, units).
        up: each layer's up projections, likewise. Both are empty where a layer is a mixture of experts.
    """

    hidden: tuple[Real, ...]
    gate: tuple[Real, ...]
    up: tuple[Real, ...]


def trace(model: Subject, tokens: Index) -> Trace:
    """Run token rows of shape (batch, length) through a model.

    Raises:
        CannotTestError: it is not of the shape of Llama, Qwen2, Qwen3, Mistral or Mixtral.
    """
    _refuse(model)
    x = model.need("embedding")[tokens]
    hidden: list[Real] = []
    gates: list[Real] = []
    ups: list[Real] = []
    for layer in model.layers:
        x = x + _attention(model, layer, _norm(model, x, model.need("attn_norm", layer)))
        inside = _norm(model, x, model.need("ffn_norm", layer))
        if model.find("router", layer) is None:
            gate, up = (_project(model, role, layer, inside) for role in ("gate", "up"))
            gates.append(gate.reshape(-1, gate.shape[-1]))
            ups.append(up.reshape(-1, up.shape[-1]))
            x = x + _project(model, "down", layer, _silu(gate) * up)
        else:
            x = x + _mixture(model, layer, inside)
        hidden.append(x)
    dense = len(gates) == len(hidden)
    return Trace(tuple(hidden), tuple(gates) if dense else (), tuple(ups) if dense else ())


def _refuse(model: Subject) -> None:
    g = model.geometry
    plain = g.norm == "rms" and g.norm_position == "pre" and g.gated and g.activation == "silu"
    if not plain or g.rope != "neox" or g.mla or not (g.n_heads and g.n_kv_heads and g.d_head):
        raise CannotTestError("our forward pass does not run this family")


def _norm(model: Subject, x: Real, gain: Real) -> Real:
    small = float(model.settings.get("rms_norm_eps", 1e-5))
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(small)) * gain


def _project(model: Subject, role: str, layer: int, x: Real) -> Real:
    y, bias = x @ model.need(role, layer).T, model.find(f"{role}.bias", layer)
    return y if bias is None else y + bias


def _silu(x: Real) -> Real:
    # Both branches of the logistic function, so that nothing overflows.
    small = np.exp(-np.abs(x))
    return x * np.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _heads(model: Subject, role: str, layer: int, x: Real) -> Real:
    """Return one projection as (batch, heads, length, d_head), normed where the model norms it."""
    y = _project(model, role, layer, x)
    y = y.reshape(*x.shape[:2], -1, model.geometry.d_head or 1)
    gain = model.find(f"{role}_norm", layer)
    return (y if gain is None else _norm(model, y, gain)).transpose(0, 2, 1, 3)


def _turned(x: Real, theta: float) -> Real:
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[2]), theta ** (-np.arange(half) / half))
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _softmax(x: Real) -> Real:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _attention(model: Subject, layer: int, x: Real) -> Real:
    g = model.geometry
    theta = g.rope_theta or 10000.0
    query = _turned(_heads(model, "q", layer, x), theta)
    share = (g.n_heads or 1) // (g.n_kv_heads or 1)
    key = np.repeat(_turned(_heads(model, "k", layer, x), theta), share, axis=1)
    value = np.repeat(_heads(model, "v", layer, x), share, axis=1)
    scores = query @ key.swapaxes(-1, -2) / np.float32(np.sqrt(query.shape[-1]))
    scores[..., np.triu(np.ones((x.shape[1], x.shape[1]), dtype=bool), 1)] = -np.inf
    mixed = (_softmax(scores) @ value).transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return _project(model, "o", layer, mixed)


def _mixture(model: Subject, layer: int, x: Real) -> Real:
    shares = _softmax(x @ model.need("router", layer).T)
    chosen = int(model.settings.get("num_experts_per_tok", 2))
    last = np.sort(shares, axis=-1)[..., -chosen][..., None]
    shares = np.where(shares >= last, shares, 0)
    shares = shares / shares.sum(-1, keepdims=True)
    out = np.zeros_like(x)
    for expert in range(model.geometry.n_experts or 0):
        gate, up, down = (model.find(role, layer, expert) for role in ("gate", "up", "down"))
        if gate is None or up is None or down is None:
            raise CannotTestError(f"expert {expert} of layer {layer} is not whole")
        out = out + shares[..., expert, None] * ((_silu(x @ gate.T) * (x @ up.T)) @ down.T)
    return out
