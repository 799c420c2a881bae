"""Which experts of a mixture work on an input, and how much each counts: as loaders choose them (ADR 0024)."""

from __future__ import annotations

import numpy as np

from filiation.anatomy.routing import Routing, routing_of
from filiation.origin.effects import offset, shifted
from filiation.origin.gather import Side
from filiation.origin.units import Floats


def expert_weights(side: Side, layer: int, inputs: Floats, experts: int) -> Floats:
    """Return how much each expert counts for each input ``(n, experts)``; equal where no router tells."""
    router = side.reader("router", layer)
    if router is None or len(router) != experts:
        return np.full((len(inputs), experts), 1.0 / experts, np.float32)
    correction = _correction(side, layer, experts)
    before = offset if _is_linear(side, layer) else shifted
    logits = inputs @ router.T + before(side, "router", layer, None, experts).astype(np.float32)
    return weights_of(logits, correction, routing(side, corrected=correction is not None))


def routing(side: Side, *, corrected: bool) -> Routing:
    """Return how a model's mixtures choose their experts."""
    model = side.anatomy.checkpoint
    return routing_of(model.config, model.metadata, side.component, corrected=corrected)


def weights_of(logits: Floats, correction: Floats | None, how: Routing) -> Floats:
    """Return how much each expert counts, by what the router says ``(n, experts)``.

    Args:
        correction: ``(experts,)``, added to choose by alone and for nothing else.
    """
    if how.sigmoid:
        scores = np.divide(1, 1 + np.exp(-np.clip(logits, -80, 80)), dtype=np.float32)
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    by = _in_groups(scores if correction is None else scores + correction, how)
    best = np.argsort(-by, axis=1, kind="stable")[:, : how.used or by.shape[1]]
    rows = np.arange(len(logits))[:, None]
    counted = np.where(np.isfinite(by[rows, best]), scores[rows, best], 0)
    if how.normalised:
        counted = counted / (counted.sum(axis=1, keepdims=True) + np.float32(1e-20))
    weights = np.zeros(logits.shape, np.float32)
    weights[rows, best] = counted * np.float32(how.factor)
    return weights


def _in_groups(scores: Floats, how: Routing) -> Floats:
    """Return the scores to choose by, without experts of groups that are not chosen from."""
    n, experts = scores.shape
    if how.groups_used >= how.groups or how.groups < 2 or experts % how.groups:
        return scores
    grouped = scores.reshape(n, how.groups, -1)
    of_group = np.sort(grouped, axis=2)[:, :, -how.of_group :].sum(axis=2)
    left = np.argsort(-of_group, axis=1, kind="stable")[:, how.groups_used :]
    out = grouped.copy()
    out[np.arange(n)[:, None], left] = -np.inf
    return out.reshape(n, experts)


def _correction(side: Side, layer: int, experts: int) -> Floats | None:
    """Return what is added to choose by alone; None where that is no value for each expert."""
    found = None if _is_linear(side, layer) else side.matrix("router.bias", layer)
    return found if found is not None and found.shape == (experts,) else None


def _is_linear(side: Side, layer: int) -> bool:
    """Return whether a router's bias is that of its linear map (gpt-oss), as its name tells."""
    router, bias = (
        side.anatomy.part(role, layer, component=side.component) for role in ("router", "router.bias")
    )
    return (
        router is not None
        and bias is not None
        and bias.tensor == router.tensor.removesuffix("weight") + "bias"
    )
