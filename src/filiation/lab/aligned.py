"""Merging with a model whose units lie in another order: they are matched first (Git Re-Basin, arXiv 2209.04836).

Same convention as `filiation.lab.derive`. Weight matching: residual channels, feed-forward units and kv groups of the
second model are put in the order in which its weights agree most with the first's, one kind after another until
nothing moves. Each of these orders is free, so the second model computes what it did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.derive import merge
from filiation.lab.layout import (
    Config,
    Tensors,
    ffn_blocks,
    layer_count,
    layer_prefix,
    residual_axis,
    unit_tensors,
)

Result = tuple[Tensors, Config]
Index = npt.NDArray[np.int64]
#: Tensors of one kind of units: name, the axis that they lie along, neighbours on it that stay together.
Places = list[tuple[str, int, int]]
_ROUNDS = 50


def aligned_merge(parents: Sequence[Tensors], config: Config, *, weights: Sequence[float]) -> Result:
    """Average models of one shape, each brought into the first's order.

    Raises:
        UsageError: the models are not of one shape.
    """
    first, *others = parents
    return merge([first, *(aligned(first, other, config) for other in others)], config, weights=weights)


def aligned(first: Tensors, second: Tensors, config: Config) -> Tensors:
    """Return `second` with its channels, units and heads in the order that agrees most with `first`.

    Raises:
        UsageError: the models are not of one shape.
    """
    if {n: v.shape for n, v in first.items()} != {n: v.shape for n, v in second.items()}:
        raise UsageError(
            "these models cannot be aligned",
            reason="their tensors differ in names or shapes",
            next_step="align models of one architecture",
        )
    out = dict(second)
    kinds = [*_kinds(first, config)]
    for _ in range(_ROUNDS):
        moved = False
        for places in kinds:
            order = _best(first, out, places)
            if not np.array_equal(order, np.arange(order.size)):
                _reorder(out, places, order)
                moved = True
        if not moved:
            break
    return out


def _kinds(tensors: Tensors, config: Config) -> Iterator[Places]:
    """Yield the tensors of the residual stream, then of each block's units and of each layer's kv groups."""
    axes = [(name, residual_axis(name)) for name in tensors]
    yield [(name, axis, 1) for name, axis in axes if axis is not None]
    kv, dim = int(config["num_key_value_heads"]), int(config["head_dim"])
    group = int(config["num_attention_heads"]) // kv * dim
    for layer in range(layer_count(config)):
        for block in ffn_blocks(tensors, layer):
            yield [(name, axis, 1) for name, axis in unit_tensors(tensors, block)]
        at = layer_prefix(layer) + "self_attn."
        wanted = [("q_proj", 0, group), ("k_proj", 0, dim), ("v_proj", 0, dim), ("o_proj", 1, group)]
        named = [(f"{at}{stem}.{kind}", a, size) for stem, a, size in wanted for kind in ("weight", "bias")]
        # The bias of o lies along the residual stream.
        yield [place for place in named if place[0] in tensors and not place[0].endswith("o_proj.bias")]


def _best(first: Tensors, second: Tensors, places: Places) -> Index:
    """Return which unit of the second belongs in each of the first's places."""
    from scipy.optimize import linear_sum_assignment

    gain = sum(
        (_units(first, place) @ _units(second, place).T for place in places),
        np.zeros((1, 1), dtype=np.float64),
    )
    _, order = linear_sum_assignment(gain, maximize=True)
    return np.asarray(order, dtype=np.int64)


def _units(tensors: Tensors, place: tuple[str, int, int]) -> npt.NDArray[np.float64]:
    """Return the numbers of each unit in one tensor, shape (units, numbers)."""
    name, axis, size = place
    value = np.moveaxis(tensors[name].astype(np.float64), axis, 0)
    return value.reshape(len(value) // size, -1)


def _reorder(tensors: Tensors, places: Places, order: Index) -> None:
    for name, axis, size in places:
        along = (order[:, None] * size + np.arange(size)).reshape(-1)
        tensors[name] = np.ascontiguousarray(tensors[name].take(along, axis=axis))
