"""The forward pass of a Llama or Mixtral in numpy, to show that a laundered model still computes the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from filiation.lab.layout import EMBEDDING, FINAL_NORM, HEAD, Array, Config, Ffn, ffn_blocks, layer_prefix

Real = npt.NDArray[np.float32] | npt.NDArray[np.float64]


class _Watched(dict[str, Real]):
    """Parameters that note what each projection is given."""

    def __init__(self, values: Mapping[str, Real], seen: dict[str, Real]) -> None:
        super().__init__(values)
        self.seen = seen


def logits(
    tensors: Mapping[str, Array],
    config: Config,
    tokens: npt.NDArray[np.int64],
    *,
    double: bool = False,
    seen: dict[str, Real] | None = None,
) -> Real:
    """Return next-token logits, shape (batch, length, vocab), for token ids of shape (batch, length).

    Args:
        double: compute in float64 instead of float32.
        seen: gets, for the stem of each projection, what it was given: shape (batch * length, inputs).
    """
    p: dict[str, Real] = {n: t.astype(np.float64) if double else t for n, t in tensors.items()}
    if seen is not None:
        p = _Watched(p, seen)
    x = p[EMBEDDING][tokens]
    for layer in range(int(config["num_hidden_layers"])):
        at = layer_prefix(layer)
        x = x + _attention(p, at + "self_attn.", _norm(x, p[at + "input_layernorm.weight"], config), config)
        x = x + _ffn(p, layer, _norm(x, p[at + "post_attention_layernorm.weight"], config), config)
    x = _norm(x, p[FINAL_NORM], config)
    return x @ p.get(HEAD, p[EMBEDDING]).T


def _norm(x: Real, gain: Real, config: Config) -> Real:
    scale = np.sqrt((x * x).mean(-1, keepdims=True) + float(config["rms_norm_eps"]))
    return (x / scale * gain).astype(x.dtype)


def _project(p: Mapping[str, Real], stem: str, x: Real) -> Real:
    if isinstance(p, _Watched):
        p.seen[stem] = x.reshape(-1, x.shape[-1])
    y = x @ p[stem + ".weight"].T
    return y + p[stem + ".bias"] if stem + ".bias" in p else y


def _heads(p: Mapping[str, Real], at: str, kind: str, x: Real, count: int, config: Config) -> Real:
    """Return one projection as (batch, heads, length, head_dim), with its head norm where there is one."""
    y = _project(p, f"{at}{kind}_proj", x)
    y = y.reshape(*x.shape[:2], count, int(config["head_dim"]))
    norm = f"{at}{kind}_norm.weight"
    if norm in p:
        y = _norm(y, p[norm], config)
    return y.transpose(0, 2, 1, 3)


def _rotate(x: Real, theta: float) -> Real:
    half = x.shape[-1] // 2
    angles = np.outer(np.arange(x.shape[2]), theta ** (-np.arange(half) / half))
    cos, sin = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def _softmax(x: Real) -> Real:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _shares(scores: Real, sinks: Real | None) -> Real:
    """Return what each position gives to each; a sink takes its part and gives nothing back (arXiv 2508.10925)."""
    if sinks is None:
        return _softmax(scores)
    sink = sinks[:, None, None]
    top = np.maximum(scores.max(-1, keepdims=True), sink)
    e = np.exp(scores - top)
    return e / (e.sum(-1, keepdims=True) + np.exp(sink - top))


def _attention(p: Mapping[str, Real], at: str, x: Real, config: Config) -> Real:
    heads, kv = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    theta = float(config["rope_theta"])
    q = _rotate(_heads(p, at, "q", x, heads, config), theta)
    k = np.repeat(_rotate(_heads(p, at, "k", x, kv, config), theta), heads // kv, axis=1)
    v = np.repeat(_heads(p, at, "v", x, kv, config), heads // kv, axis=1)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]).astype(x.dtype)
    future = np.triu(np.ones((x.shape[1], x.shape[1]), dtype=bool), 1)
    scores[..., future] = -np.inf
    mixed = (_shares(scores, p.get(at + "sinks")) @ v).transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return _project(p, at + "o_proj", mixed)


def _swiglu(p: Mapping[str, Real], block: Ffn, x: Real) -> Real:
    gate = _project(p, block.gate, x)
    return _project(p, block.down, gate / (1 + np.exp(-gate)) * _project(p, block.up, x))


def _ffn(p: Mapping[str, Real], layer: int, x: Real, config: Config) -> Real:
    blocks = ffn_blocks(p, layer)  # pyright: ignore[reportArgumentType] - reads names alone, not values
    router = layer_prefix(layer) + "block_sparse_moe.gate.weight"
    if router not in p:
        return _swiglu(p, blocks[0], x)
    probabilities = _softmax(x @ p[router].T)
    top = np.argsort(-probabilities, axis=-1, kind="stable")[..., : int(config["num_experts_per_tok"])]
    weight = np.zeros_like(probabilities)
    np.put_along_axis(weight, top, np.take_along_axis(probabilities, top, -1), -1)
    weight /= weight.sum(-1, keepdims=True)
    return sum((weight[..., e, None] * _swiglu(p, b, x) for e, b in enumerate(blocks)), np.zeros_like(x))
