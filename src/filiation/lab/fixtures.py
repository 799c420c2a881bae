"""Changes that make any two models look alike without kinship: what must stay quiet (the contract's section on it).

Same convention as `filiation.lab.derive`. Made of two independent models, each of these gives a pair that shares an
arrangement and nothing else: an order by importance, units of zeros, units that are all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filiation.lab.layout import (
    EMBEDDING,
    Array,
    Config,
    Tensors,
    ffn_blocks,
    layer_count,
    residual_axis,
    unit_tensors,
)

Result = tuple[Tensors, Config]


def sort_units(tensors: Tensors, config: Config) -> Result:
    """Sort the feed-forward units of every layer by importance, largest first. The function stays the same."""
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            order = np.argsort(-_importance(tensors, block.up, block.down), kind="stable")
            for name, axis in unit_tensors(tensors, block):
                out[name] = np.ascontiguousarray(tensors[name].take(order, axis=axis))
    return out, dict(config)


def sort_channels(tensors: Tensors, config: Config) -> Result:
    """Sort the residual channels by the norm of their embedding column. The function stays the same."""
    order = np.argsort(-np.linalg.norm(tensors[EMBEDDING], axis=0), kind="stable")
    out: Tensors = {}
    for name, value in tensors.items():
        axis = residual_axis(name)
        out[name] = value.copy() if axis is None else np.ascontiguousarray(value.take(order, axis=axis))
    return out, dict(config)


def pad_units(tensors: Tensors, config: Config, *, units: int) -> Result:
    """Widen every feed-forward block to `units` units with units of zeros. The function stays the same."""
    out = dict(tensors)
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            for name, axis in unit_tensors(tensors, block):
                more = [(0, 0)] * tensors[name].ndim
                more[axis] = (0, units - tensors[name].shape[axis])
                out[name] = np.pad(tensors[name], more)
    return out, {**config, "intermediate_size": units}


def silence_units(tensors: Tensors, config: Config, *, fraction: float) -> Result:
    """Set the least important `fraction` of the feed-forward units of every layer to zero, in their places."""
    out = {name: value.copy() for name, value in tensors.items()}
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            importance = _importance(tensors, block.up, block.down)
            least = np.argsort(importance, kind="stable")[: round(fraction * importance.size)]
            for name, axis in unit_tensors(tensors, block):
                out[name][(slice(None),) * axis + (least,)] = 0
    return out, dict(config)


def silence_blocks(tensors: Tensors, config: Config, *, layers: Sequence[int]) -> Result:
    """Set the down projections of some layers to zero, as a freshly inserted block has them."""
    silenced = {block.down + ".weight" for layer in layers for block in ffn_blocks(tensors, layer)}
    return {name: value * (name not in silenced) for name, value in tensors.items()}, dict(config)


def make_units_alike(tensors: Tensors, config: Config) -> Result:
    """Give all feed-forward units of a layer the mean weights: every unit is like every other."""
    out = {name: value.copy() for name, value in tensors.items()}
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            for name, axis in unit_tensors(tensors, block):
                out[name][...] = tensors[name].mean(axis=axis, keepdims=True)
    return out, dict(config)


def _importance(tensors: Tensors, up: str, down: str) -> Array:
    rows = np.linalg.norm(tensors[up + ".weight"], axis=1)
    return np.asarray(rows * np.linalg.norm(tensors[down + ".weight"], axis=0), dtype=np.float32)
