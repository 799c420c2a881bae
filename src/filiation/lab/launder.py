"""Changes that leave a model's function as it was and hide where its weights came from.

Every function takes tensors under the Hugging Face names of a Llama or Mixtral (float32) with their config, and
returns both anew; the input is never written to. The function computed stays the same up to rounding, which
`filiation.lab.forward.logits` shows. They are the attacks the exact tests must survive, and each undoes a
different label: permutations hide order, sign flips hide signs, the rotation hides the residual basis, gain
folding hides the norm gains (compare arXiv 2404.00456 and 2405.16406, where the same steps serve quantisation).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.layout import (
    Array,
    Config,
    Tensors,
    ffn_blocks,
    gain_readers,
    is_gain,
    layer_count,
    layer_prefix,
    residual_axis,
    unit_tensors,
    untie,
)

Index = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Result = tuple[Tensors, Config]


def permute_ffn(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Put the feed-forward units of every block (each layer, each expert) in a random order."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            order = generator.permutation(tensors[block.gate + ".weight"].shape[0])
            for name, axis in unit_tensors(tensors, block):
                out[name] = np.ascontiguousarray(tensors[name].take(order, axis=axis))
    return out, dict(config)


def flip_ffn_signs(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Flip the sign of a random half of the feed-forward units: up row (with its bias) and down column together."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            signs = _signs(generator, tensors[block.up + ".weight"].shape[0])
            for name, axis in unit_tensors(tensors, block):
                if not name.startswith(block.gate):
                    out[name] = _along(tensors[name], signs, axis)
    return out, dict(config)


def permute_residual(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Put the channels of the residual stream in a random order, in every tensor that has them."""
    order = np.random.default_rng(seed).permutation(int(config["hidden_size"]))
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        out[name] = value if axis is None else np.ascontiguousarray(value.take(order, axis=axis))
    return out, dict(config)


def flip_residual_signs(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Flip the sign of a random half of the residual channels. Gains are even in the channel and stay."""
    signs = _signs(np.random.default_rng(seed), int(config["hidden_size"]))
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        out[name] = value if axis is None or is_gain(name) else _along(value, signs, axis)
    return out, dict(config)


def signed_permutation(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Permute the residual channels and flip their signs: the whole symmetry group of an RMSNorm with gains."""
    return flip_residual_signs(*permute_residual(tensors, config, seed=seed), seed=seed + 1)


def fold_gains(tensors: Tensors, config: Config) -> Result:
    """Multiply every norm gain into the matrices that read through it and leave gains of one.

    A tied model gets a head of its own, because the final gain is folded into the head alone.
    """
    source, settings = untie(tensors, config)
    out = dict(source)
    for name in source:
        if is_gain(name):
            for reader in gain_readers(source, name):
                out[reader] = _along(out[reader], source[name], 1)
            out[name] = np.ones_like(source[name])
    return out, dict(settings)


def rotate_residual(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Fold the gains, then turn the residual stream by a Haar-random orthogonal matrix.

    Embedding, head and every reader (..., width) become W Q; every writer (width, ...) becomes Q^T W. An RMSNorm
    with gains of one commutes with any rotation, so the function stays the same.
    """
    folded, settings = fold_gains(tensors, config)
    rotation = haar_orthogonal(int(config["hidden_size"]), seed=seed)
    out: Tensors = {}
    for name, value in folded.items():
        axis = residual_axis(name)
        if axis is None or is_gain(name):
            out[name] = value
        elif axis == 1:
            out[name] = (value.astype(np.float64) @ rotation).astype(np.float32)
        else:
            out[name] = (rotation.T @ value.astype(np.float64)).astype(np.float32)
    return out, settings


def haar_orthogonal(size: int, *, seed: int) -> npt.NDArray[np.float64]:
    """Draw an orthogonal matrix of shape (size, size) from the Haar measure (QR with the signs of R undone)."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return q * np.sign(np.diag(r))


def permute_value_channels(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Put the value channels inside each kv head in a random order: v rows and bias, o columns of its q heads."""
    generator = np.random.default_rng(seed)
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    out = dict(tensors)
    for layer in range(layer_count(config)):
        inner = np.stack([generator.permutation(dim) for _ in range(kv)])
        _reindex_values(out, config, layer, inner, np.ones((kv, dim), dtype=np.float32))
    return out, dict(config)


def flip_value_signs(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Flip the sign of a random half of the value channels of each kv head."""
    generator = np.random.default_rng(seed)
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    out = dict(tensors)
    for layer in range(layer_count(config)):
        signs = np.stack([_signs(generator, dim) for _ in range(kv)])
        _reindex_values(out, config, layer, np.tile(np.arange(dim), (kv, 1)), signs)
    return out, dict(config)


def rescale_value_channels(tensors: Tensors, config: Config, *, seed: int, spread: float = 0.5) -> Result:
    """Scale value channels up and their o columns down by log-normal factors of the given spread (nats)."""
    generator = np.random.default_rng(seed)
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    out = dict(tensors)
    for layer in range(layer_count(config)):
        factors = np.exp(spread * generator.standard_normal((kv, dim))).astype(np.float32)
        _reindex_values(out, config, layer, np.tile(np.arange(dim), (kv, 1)), factors)
    return out, dict(config)


def rescale_ffn_units(tensors: Tensors, config: Config, *, seed: int, spread: float = 0.5) -> Result:
    """Scale up rows up and down columns down, unit by unit, by log-normal factors of the given spread (nats)."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            count = tensors[block.up + ".weight"].shape[0]
            factors = np.exp(spread * generator.standard_normal(count)).astype(np.float32)
            for name, axis in unit_tensors(tensors, block):
                if not name.startswith(block.gate):
                    out[name] = _along(tensors[name], factors if axis == 0 else np.reciprocal(factors), axis)
    return out, dict(config)


def rescale_queries_and_keys(tensors: Tensors, config: Config, *, seed: int, spread: float = 0.5) -> Result:
    """Scale keys up and queries down, one factor for each rotary pair of each kv head.

    Raises:
        UsageError: the model norms its queries or keys, which undoes or breaks the scaling.
    """
    generator = np.random.default_rng(seed)
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    group = int(config["num_attention_heads"]) // kv
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        if at + "k_norm.weight" in tensors:
            raise UsageError(
                "queries and keys of this model cannot be rescaled in pairs",
                tensor=at + "k_norm.weight",
                reason="a norm on the keys takes the scale out again",
                next_step="use rescale_ffn_units or rescale_value_channels",
            )
        # The rotation mixes channel i with channel i + dim/2, so both carry one factor.
        half = np.exp(spread * generator.standard_normal((kv, dim // 2))).astype(np.float32)
        factors = np.concatenate([half, half], axis=1)
        _scale_rows(out, at + "k_proj", factors.reshape(-1))
        _scale_rows(out, at + "q_proj", np.reciprocal(np.repeat(factors, group, axis=0)).reshape(-1))
    return out, dict(config)


def permute_heads(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Put the kv groups of every layer, and the query heads inside each group, in a random order."""
    generator = np.random.default_rng(seed)
    heads, kv = int(config["num_attention_heads"]), int(config["num_key_value_heads"])
    dim, group = int(config["head_dim"]), heads // kv
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        groups = generator.permutation(kv)
        queries = np.concatenate([g * group + generator.permutation(group) for g in groups])
        rows, kv_rows = _channels(queries, dim), _channels(groups, dim)
        for stem, order in (("q_proj", rows), ("k_proj", kv_rows), ("v_proj", kv_rows)):
            for kind in ("weight", "bias"):
                if (name := f"{at}{stem}.{kind}") in out:
                    out[name] = np.ascontiguousarray(out[name][order])
        out[at + "o_proj.weight"] = np.ascontiguousarray(out[at + "o_proj.weight"][:, rows])
    return out, dict(config)


def permute_experts(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Put the experts of every layer, with their router rows, in a random order. A dense model stays as it is."""
    generator = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "block_sparse_moe."
        if at + "gate.weight" not in tensors:
            continue
        order = generator.permutation(tensors[at + "gate.weight"].shape[0])
        out[at + "gate.weight"] = np.ascontiguousarray(tensors[at + "gate.weight"][order])
        for new, old in enumerate(order):
            for which in ("w1", "w2", "w3"):
                out[f"{at}experts.{new}.{which}.weight"] = tensors[f"{at}experts.{old}.{which}.weight"]
    return out, dict(config)


def rotate_values(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Turn the value channels of each kv head by a Haar-random matrix, and the o columns of its heads back."""
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    group = int(config["num_attention_heads"]) // kv
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        turns = [haar_orthogonal(dim, seed=seed + 1000 * layer + head) for head in range(kv)]
        for name in (at + "v_proj.weight", at + "v_proj.bias"):
            if name in out:
                heads = out[name].astype(np.float64).reshape(kv, dim, -1)
                turned = np.stack([turn @ head for turn, head in zip(turns, heads, strict=True)])
                out[name] = turned.reshape(out[name].shape).astype(np.float32)
        columns = out[at + "o_proj.weight"].astype(np.float64).reshape(-1, kv, group, dim)
        back = np.stack([columns[:, head] @ turns[head].T for head in range(kv)], axis=1)
        out[at + "o_proj.weight"] = back.reshape(tensors[at + "o_proj.weight"].shape).astype(np.float32)
    return out, dict(config)


def rotate_rotary_pairs(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Turn each rotary pair of each kv head by a random angle, in keys and queries alike.

    Rotations of one plane commute, so every score stays as it was (half-split order, arXiv 2104.09864).

    Raises:
        UsageError: the model norms its queries or keys by channel.
    """
    generator = np.random.default_rng(seed)
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    group = int(config["num_attention_heads"]) // kv
    out = dict(tensors)
    for layer in range(layer_count(config)):
        at = layer_prefix(layer) + "self_attn."
        if at + "k_norm.weight" in tensors:
            raise UsageError(
                "the rotary pairs of this model cannot be turned",
                tensor=at + "k_norm.weight",
                reason="the gains of a norm on the keys stand between the pair's channels",
                next_step="use another change",
            )
        angles = generator.uniform(0, 2 * np.pi, (kv, dim // 2))
        for stem, turn in (("k_proj", angles), ("q_proj", np.repeat(angles, group, axis=0))):
            for name in (f"{at}{stem}.weight", f"{at}{stem}.bias"):
                if name in out:
                    out[name] = _turned(out[name], turn, dim)
    return out, dict(config)


def _turned(value: Array, angles: Doubles, dim: int) -> Array:
    heads = value.astype(np.float64).reshape(len(angles), dim, -1)
    first, second = heads[:, : dim // 2], heads[:, dim // 2 :]
    cos, sin = np.cos(angles)[..., None], np.sin(angles)[..., None]
    both = np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=1)
    return both.reshape(value.shape).astype(np.float32)


def rescale_gains(tensors: Tensors, config: Config, *, seed: int, spread: float = 0.3) -> Result:
    """Scale every norm gain up, channel by channel, and what reads through it down, by log-normal factors."""
    generator = np.random.default_rng(seed)
    source, settings = untie(tensors, config)
    out = dict(source)
    for name in source:
        if is_gain(name):
            factors = np.exp(spread * generator.standard_normal(source[name].size)).astype(np.float32)
            out[name] = source[name] * factors
            for reader in gain_readers(source, name):
                out[reader] = _along(out[reader], np.reciprocal(factors), 1)
    return out, dict(settings)


def launder_all(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Do everything at once: orders, signs, paired scales, turned values and rotary pairs, a turned stream.

    No label is left where this was done: every arbitrary order, sign and basis was drawn anew.
    """
    signs = (flip_ffn_signs, flip_value_signs, rotate_values)
    return _one_after_another(tensors, config, (*signs, *_ORDERS), seed)


def launder_orders(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Do all of :func:`launder_all` but what changes signs: orders, paired scales, rotary pairs, a turned stream."""
    return _one_after_another(tensors, config, _ORDERS, seed)


_ORDERS = (
    permute_ffn,
    rescale_ffn_units,
    permute_heads,
    permute_value_channels,
    rescale_queries_and_keys,
    rotate_rotary_pairs,
    rotate_residual,
)


def _one_after_another(
    tensors: Tensors, config: Config, steps: Sequence[Callable[..., Result]], seed: int
) -> Result:
    done = (tensors, config)
    for number, step in enumerate(steps):
        done = step(*done, seed=seed + 100 * number)
    return done


def launder(tensors: Tensors, config: Config, *, seed: int) -> Result:
    """Do what a careful launderer would: permute the feed-forward units, fold the gains, rotate the stream."""
    return rotate_residual(*permute_ffn(tensors, config, seed=seed), seed=seed + 1)


def _signs(generator: np.random.Generator, count: int) -> Array:
    signs = np.ones(count, dtype=np.float32)
    signs[generator.permutation(count)[: count // 2]] = -1
    return signs


def _along(value: Array, factors: Array, axis: int) -> Array:
    return value * (factors[:, None] if axis == 0 and value.ndim == 2 else factors)


def _channels(heads: Index, dim: int) -> Index:
    """Return the rows of whole heads: (heads * dim,)."""
    return (heads[:, None] * dim + np.arange(dim)).reshape(-1)


def _scale_rows(out: Tensors, stem: str, factors: Array) -> None:
    for name in (f"{stem}.weight", f"{stem}.bias"):
        if name in out:
            out[name] = _along(out[name], factors, 0)


def _reindex_values(out: Tensors, config: Config, layer: int, inner: Index, factors: Array) -> None:
    """Reorder (inner, shape (kv, dim)) and scale the value channels of a layer, in place of `out`'s entries."""
    kv, dim = inner.shape
    group = int(config["num_attention_heads"]) // kv
    at = layer_prefix(layer) + "self_attn."
    rows = (np.arange(kv)[:, None] * dim + inner).reshape(-1)
    heads = np.arange(kv * group)
    columns = (heads[:, None] * dim + inner[heads // group]).reshape(-1)
    for name in (at + "v_proj.weight", at + "v_proj.bias"):
        if name in out:
            out[name] = _along(out[name][rows], factors.reshape(-1), 0)
    scaled = out[at + "o_proj.weight"][:, columns]
    out[at + "o_proj.weight"] = _along(scaled, np.reciprocal(factors)[heads // group].reshape(-1), 1)
