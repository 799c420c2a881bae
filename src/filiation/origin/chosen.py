"""Which experts of a mixture work on an input, and how much each counts: as loaders choose them (ADR 0024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from filiation.anatomy.routing import Routing, routing_of
from filiation.origin.effects import offset, shifted
from filiation.origin.gather import Side
from filiation.origin.units import Floats

#: Chosen after all others, and still a number: groups are chosen by sums.
_LAST = np.float32(-1e9)
#: How much more than is said speaks for an expert of which it is asked whether it is ever chosen: among equals, and
#: nearly equals, loaders choose one or another. To what the router says, and to the score that is chosen by.
_MORE, _MORE_OF_SCORE = np.float32(1.0), np.float32(0.01)


def expert_weights(
    side: Side, layer: int, inputs: Floats, experts: Sequence[int | None], favoured: int | None = None
) -> Floats:
    """Return how much each expert counts for each input ``(n, experts)``; equal where no router tells.

    Args:
        experts: the numbers of all of the layer, those that are left aside among them: these are never chosen.
        favoured: the number of one that is chosen wherever this is a near thing.
    """
    router, n = side.reader("router", layer), len(experts)
    if router is None or len(router) != n:
        return np.full((len(inputs), n), 1.0 / n, np.float32)
    correction = _correction(side, layer, n)
    before = offset if _is_linear(side, layer) else shifted
    logits = inputs @ router.T + before(side, "router", layer, None, n).astype(np.float32)
    shut = [number for number, expert in enumerate(experts) if (layer, expert) in side.shut]
    first = None if favoured is None else experts.index(favoured)
    return weights_of(logits, correction, routing(side, corrected=correction is not None), shut, first)


def routing(side: Side, *, corrected: bool) -> Routing:
    """Return how a model's mixtures choose their experts."""
    model = side.anatomy.checkpoint
    return routing_of(model.config, model.metadata, side.component, corrected=corrected)


def weights_of(
    logits: Floats,
    correction: Floats | None,
    how: Routing,
    shut: Sequence[int] = (),
    favoured: int | None = None,
) -> Floats:
    """Return how much each expert counts, by what the router says ``(n, experts)``.

    Args:
        correction: ``(experts,)``, added to choose by alone and for nothing else.
        shut: experts that are never chosen.
        favoured: one that is chosen wherever this is a near thing.
    """
    closed = np.isin(np.arange(logits.shape[1]), shut)
    likelier = np.arange(logits.shape[1]) == (-1 if favoured is None else favoured)
    logits = np.where(closed, _LAST, logits + _MORE * likelier)
    if how.sigmoid:
        scores = np.divide(1, 1 + np.exp(-np.clip(logits, -80, 80)), dtype=np.float32)
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    by = scores if correction is None else scores + correction
    by = _in_groups(np.where(closed, _LAST, by + _MORE_OF_SCORE * likelier), how)
    best = np.argsort(-by, axis=1, kind="stable")[:, : how.used or by.shape[1]]
    rows = np.arange(len(logits))[:, None]
    counted = np.where(np.isfinite(by[rows, best]) & ~closed[best], scores[rows, best], 0)
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
