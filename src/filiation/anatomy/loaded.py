"""Layers that are stored and not loaded: loaders build as many layers as the config says, and no more (ADR 0021).

What a file holds beyond that number changes nothing a model computes, so anybody's layers can be put there. It is
named, and belongs to no tower.
"""

from __future__ import annotations

from collections.abc import Iterable

from filiation.anatomy.config import stated_layers
from filiation.anatomy.model import Inference
from filiation.anatomy.names import Stack
from filiation.anatomy.tables import Config, Family

DRAFT = "draft"
"""The component of layers that only predict further tokens (arXiv 2412.19437); they are not layers of the model."""


def is_draft(role: str) -> bool:
    """Whether a role is that of a part which only layers have that predict further tokens."""
    return role.startswith(f"{DRAFT}.")


def stated(config: Config, family: Family) -> int | None:
    """Return how many layers loaders build of a tower, None where its config does not say."""
    return stated_layers(config, family.keys, family.ignore)


def cut(stack: Stack, count: int | None, family: Family) -> tuple[Stack, tuple[int, ...]]:
    """Return a stack with as many layers as are loaded, and the numbers of those that lie beyond.

    Layers are counted from the first one that is stored. Those that only predict further tokens lie beyond rightly,
    and stay.
    """
    if count is None or not stack.layers:
        return stack, ()
    first = min(stack.layers)
    beyond = tuple(
        n for n in sorted(stack.layers) if n - first >= count and not _predicts_further(stack, n, family)
    )
    kept = {n: layer for n, layer in stack.layers.items() if n not in beyond}
    return (Stack(stack.container, kept), beyond) if beyond else (stack, ())


def _predicts_further(stack: Stack, layer: int, family: Family) -> bool:
    hits = (family.inside.find(path) for path in stack.layers[layer])
    return any(is_draft(role) for hit in hits if hit is not None for role in hit.rule.roles)


def left_out(layers: Iterable[int], component: str, count: int) -> Inference:
    """Return what is said of layers beyond the config."""
    first, *others = sorted(layers)
    which = f"layers {first} to {others[-1]} are" if others else f"layer {first} is"
    return Inference(f"{which} stored and not loaded", f"the config says {count} layers for {component}")
