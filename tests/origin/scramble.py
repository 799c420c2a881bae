"""Uniformly random elements of a Llama's or Mixtral's symmetry groups, one group at a time.

Written apart from `filiation.lab.launder`, so that the null tests do not rest on the code that plants.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from filiation.anatomy.model import Symmetry
from tests.origin.models import Model

ALL = tuple(Symmetry)
BLOCKS = tuple(s for s in Symmetry if s not in (Symmetry.RESIDUAL_ORDER, Symmetry.RESIDUAL_SIGN))


def scrambled(
    model: Model,
    rng: np.random.Generator,
    what: Collection[Symmetry] = ALL,
    layers: Collection[int] | None = None,
    units: tuple[int, int] | None = None,
) -> Model:
    """Return the model at a random place of its orbit under the groups ``what``, in the given layers (all).

    ``units`` limits the FFN groups to a range of positions.
    """
    tensors, settings = dict(model[0]), model[1]
    if Symmetry.RESIDUAL_ORDER in what:
        _residual(tensors, order=rng.permutation(settings["hidden_size"]))
    if Symmetry.RESIDUAL_SIGN in what:
        _residual(tensors, signs=_coins(rng, settings["hidden_size"]))
    for layer in range(settings["num_hidden_layers"]):
        if layers is None or layer in layers:
            _attention(tensors, settings, f"model.layers.{layer}.self_attn.", rng, what)
            _feed_forward(tensors, f"model.layers.{layer}.", rng, what, units)
    return tensors, settings


def _coins(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.float32), n)


def _along(values: np.ndarray, axis: int, order: np.ndarray | None, signs: np.ndarray | None) -> np.ndarray:
    moved = values if order is None else values.take(order, axis=axis)
    return moved if signs is None else moved * np.expand_dims(signs, 1 - axis)


def _residual(
    tensors: dict[str, np.ndarray], order: np.ndarray | None = None, signs: np.ndarray | None = None
) -> None:
    for name, values in tensors.items():
        if values.ndim == 1:
            tensors[name] = values if order is None else values[order]
        else:
            writes = name.endswith(("o_proj.weight", "down_proj.weight", "w2.weight"))
            tensors[name] = _along(values, 0 if writes else 1, order, signs)


def _attention(
    t: dict[str, np.ndarray], settings: dict, at: str, rng: np.random.Generator, what: Collection[Symmetry]
) -> None:
    heads, kv = settings["num_attention_heads"], settings["num_key_value_heads"]
    dim, group = settings["head_dim"], heads // kv
    q = t[at + "q_proj.weight"].reshape(kv, group, dim, -1)
    k, v = (t[f"{at}{w}_proj.weight"].reshape(kv, dim, -1) for w in "kv")
    o = t[at + "o_proj.weight"].T.reshape(kv, group, dim, -1)
    if Symmetry.KV_GROUP_ORDER in what:
        order = rng.permutation(kv)
        q, k, v, o = q[order], k[order], v[order], o[order]
    if Symmetry.QUERY_HEAD_ORDER in what:
        orders = [rng.permutation(group) for _ in range(kv)]
        q, o = (np.stack([x[h][orders[h]] for h in range(kv)]) for x in (q, o))
    if Symmetry.VALUE_ORDER in what:
        orders = [rng.permutation(dim) for _ in range(kv)]
        v = np.stack([v[h][orders[h]] for h in range(kv)])
        o = np.stack([o[h][:, orders[h]] for h in range(kv)])
    if Symmetry.VALUE_SIGN in what:
        signs = _coins(rng, kv * dim).reshape(kv, dim)
        v, o = v * signs[:, :, None], o * signs[:, None, :, None]
    t[at + "q_proj.weight"] = q.reshape(heads * dim, -1)
    t[at + "k_proj.weight"], t[at + "v_proj.weight"] = k.reshape(kv * dim, -1), v.reshape(kv * dim, -1)
    t[at + "o_proj.weight"] = np.ascontiguousarray(o.reshape(heads * dim, -1).T)


def _feed_forward(
    t: dict[str, np.ndarray],
    at: str,
    rng: np.random.Generator,
    what: Collection[Symmetry],
    units: tuple[int, int] | None,
) -> None:
    router = at + "block_sparse_moe.gate.weight"
    if router in t:
        count = len(t[router])
        if Symmetry.EXPERT_ORDER in what:
            order = rng.permutation(count)
            t[router] = t[router][order]
            before = dict(t)
            for new, old in enumerate(order):
                for w in ("w1", "w2", "w3"):
                    name = f"{at}block_sparse_moe.experts.{{}}.{w}.weight"
                    t[name.format(new)] = before[name.format(old)]
        names = [
            [f"{at}block_sparse_moe.experts.{e}.{w}.weight" for w in ("w1", "w3", "w2")] for e in range(count)
        ]
    else:
        names = [[f"{at}mlp.{w}_proj.weight" for w in ("gate", "up", "down")]]
    for gate, up, down in names:
        n = len(t[gate])
        first, last = units or (0, n)
        if Symmetry.FFN_ORDER in what:
            order = np.arange(n)
            order[first:last] = first + rng.permutation(last - first)
            t[gate], t[up], t[down] = t[gate][order], t[up][order], t[down][:, order]
        if Symmetry.FFN_SIGN in what:
            signs = np.ones(n, np.float32)
            signs[first:last] = _coins(rng, last - first)
            t[up], t[down] = t[up] * signs[:, None], t[down] * signs
