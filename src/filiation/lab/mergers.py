"""Merges of models of one shape: spherical, by task vectors, trimmed and randomly thinned, layers stacked.

Same convention as `filiation.lab.derive`. `parents` are the merged models; methods with task vectors take the base
they are counted from as their first parent. Linear merges are `derive.merge`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab.layout import FINAL_NORM, HEAD, Config, Tensors, layer_count, layer_prefix

Result = tuple[Tensors, Config]
Doubles = npt.NDArray[np.float64]


def slerp(parents: Sequence[Tensors], config: Config, *, along: float = 0.5) -> Result:
    """Interpolate two models on the sphere, tensor by tensor; nearly parallel tensors linearly."""
    one, other = _alike(parents, 2)

    def between(name: str) -> Doubles:
        a, b = one[name].astype(np.float64), other[name].astype(np.float64)
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        angle = np.arccos(np.clip((a * b).sum() / lengths, -1, 1)) if lengths else 0.0
        if np.sin(angle) < 1e-6:
            return (1 - along) * a + along * b
        return (np.sin((1 - along) * angle) * a + np.sin(along * angle) * b) / np.sin(angle)

    return _each(one, between), dict(config)


def task_arithmetic(parents: Sequence[Tensors], config: Config, *, weights: Sequence[float]) -> Result:
    """Add weighted task vectors to the base, the first parent (arXiv 2212.04089)."""
    base, *children = _alike(parents, len(weights) + 1)

    def moved(name: str) -> Doubles:
        return sum(
            (w * _task(base, child, name) for w, child in zip(weights, children, strict=True)),
            base[name].astype(np.float64),
        )

    return _each(base, moved), dict(config)


def ties(parents: Sequence[Tensors], config: Config, *, density: float = 0.5, scale: float = 1.0) -> Result:
    """Trim each task vector to its largest entries, elect a sign, average those that agree (arXiv 2306.01708)."""
    base, *children = _alike(parents, len(parents))

    def moved(name: str) -> Doubles:
        tasks = np.stack([_trimmed(_task(base, child, name), density) for child in children])
        sign = np.sign(tasks.sum(0))
        agree = (np.sign(tasks) == sign) & (tasks != 0)
        mean = np.where(agree, tasks, 0).sum(0) / np.maximum(agree.sum(0), 1)
        return base[name] + scale * mean

    return _each(base, moved), dict(config)


def dare(parents: Sequence[Tensors], config: Config, *, density: float = 0.5, seed: int) -> Result:
    """Keep a random share of each task vector, rescaled, and average them (arXiv 2311.03099)."""
    base, *children = _alike(parents, len(parents))
    rng = np.random.default_rng(seed)

    def moved(name: str) -> Doubles:
        kept = [
            _task(base, child, name) * (rng.random(base[name].shape) < density) / density
            for child in children
        ]
        return base[name] + sum(kept, np.zeros(base[name].shape)) / len(kept)

    return _each(base, moved), dict(config)


def passthrough(parents: Sequence[Tensors], config: Config, *, parts: Sequence[Sequence[int]]) -> Result:
    """Stack layers of several models, unchanged: mergekit's passthrough (arXiv 2403.13257), a "frankenmerge".

    Embedding and settings are those of the first model, the final norm and a head of its own those of the last part's.

    Args:
        parts: for each part the model's place among the parents, its first layer and the one after its last.

    Raises:
        UsageError: a part names a model or layers that are not there.
    """
    _alike(parents, len(parents))
    count = layer_count(config)
    for part in parts:
        if len(part) != 3 or not 0 <= part[0] < len(parents) or not 0 <= part[1] < part[2] <= count:
            raise UsageError(
                f"the part {list(part)} cannot be stacked",
                reason=f"there are {len(parents)} models of {count} layers",
                next_step="name a model, its first layer and the one after its last, counted from 0",
            )
    out = {name: value.copy() for name, value in parents[0].items() if not name.startswith("model.layers.")}
    path = [(parents[model], layer) for model, first, end in parts for layer in range(first, end)]
    for new, (tensors, old) in enumerate(path):
        for name, value in tensors.items():
            if name.startswith(at := layer_prefix(old)):
                out[layer_prefix(new) + name.removeprefix(at)] = value.copy()
    for name in (FINAL_NORM, HEAD):
        if name in out:
            out[name] = parents[parts[-1][0]][name].copy()
    return out, {**config, "num_hidden_layers": len(path)}


def _task(base: Tensors, child: Tensors, name: str) -> Doubles:
    return child[name].astype(np.float64) - base[name].astype(np.float64)


def _trimmed(task: Doubles, density: float) -> Doubles:
    cut = np.quantile(np.abs(task), 1 - density)
    return np.where(np.abs(task) >= cut, task, 0)


def _each(like: Tensors, make: Callable[[str], Doubles]) -> Tensors:
    return {name: np.asarray(make(name), dtype=np.float32) for name in like}


def _alike(parents: Sequence[Tensors], count: int) -> Sequence[Tensors]:
    shapes = [{name: value.shape for name, value in parent.items()} for parent in parents]
    if len(parents) != count or any(found != shapes[0] for found in shapes):
        raise UsageError(
            "these models cannot be merged",
            reason=f"{count} models of one shape are needed, {len(parents)} were given or their tensors differ",
            next_step="merge models of one architecture",
        )
    return parents
