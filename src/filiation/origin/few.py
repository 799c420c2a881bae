"""What two layers compute, asked through a few channels where the models are not read whole (ADR 0025).

A network that is given inputs over a few channels alone, and looked at in a few channels alone, is run on a few
columns of gate and up and a few rows of down, with every unit of the layer. What cancels, cancels there too.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from filiation.origin.computed import INPUTS, correlation
from filiation.origin.gather import Side
from filiation.origin.network import SHARED, fired
from filiation.origin.pairing import Pairing, Plan, experts_of
from filiation.origin.units import Floats, Integers
from filiation.origin.weighing import channels_written

#: Channels that carry inputs, and layers that are asked: storage reads whole pages for pieces of rows, which are all
#: of a layer's gate and up where a row is a page long.
CHANNELS, LAYERS = 16, 2
#: Standard deviation of a layer's correlation between strangers, which few channels leave (0.03 to 0.04 measured).
BLUR = 0.04


def layers_computed_through_few(pairing: Pairing, plan: Plan, layers: Collection[int]) -> dict[int, float]:
    """Return how alike some of the suspect's layers compute, by few channels; those where it could be measured.

    Nothing where the models are read whole (then :mod:`filiation.origin.computed` asks), under a byte budget, or where
    the common basis is no order of channels: a rotation mixes all of them.
    """
    sides = pairing.suspect, pairing.candidate
    if plan.whole or plan.budget is not None or any(side.basis.matrix is not None for side in sides):
        return {}
    pairs = [pair for pair in pairing.layers if pair[0] in layers]
    chosen = plan.rng("computed/few").permutation(len(pairs))[:LAYERS]
    found = {pairs[n][0]: _alike(sides, pairs[n], plan) for n in sorted(chosen)}
    return {layer: alike for layer, alike in found.items() if alike is not None}


def blurred(layers: int) -> float:
    """Return how far above its line a mean over this many layers may be and still be no more than it: two errors."""
    return 2 * BLUR / max(1, layers) ** 0.5


def _alike(sides: tuple[Side, Side], pair: tuple[int, int], plan: Plan) -> float | None:
    """Return how what two networks write correlates, over the channels and inputs that were asked."""
    into, out = _channels(sides, plan)
    if not len(into) or not len(out):
        return None
    inputs = plan.rng("computed/few inputs").standard_normal((INPUTS, len(into)), np.float32)
    if any(side.levelled for side in sides):
        # What adds up to nothing is seen as it is by rows that were levelled.
        inputs -= inputs.mean(axis=1, keepdims=True)
    written = [_written(side, layer, inputs, into, out) for side, layer in zip(sides, pair, strict=True)]
    if written[0] is None or written[1] is None:
        return None
    if any(side.levelled for side in sides):
        written = [w - w.mean(axis=1, keepdims=True) for w in written if w is not None]
    return correlation(*written)  # pyright: ignore[reportArgumentType]


def _channels(sides: tuple[Side, Side], plan: Plan) -> tuple[Integers, Integers]:
    """Return the numbers, in the common basis, of the channels that inputs come in by and outputs are looked at in."""
    width = min(side.geometry.d_model for side in sides)
    start = int(plan.rng("computed/few channels").integers(0, max(1, width - CHANNELS + 1)))
    first, last = channels_written(sides[0], plan)
    out = np.arange(first, last)
    return np.arange(start, min(width, start + CHANNELS)), out[out < width]


def _own(side: Side, channels: Integers) -> tuple[Integers, Floats]:
    """Return a model's own numbers of channels of the common basis, and their signs."""
    basis = side.basis
    signs = np.ones(len(channels), np.float32)
    if not side.is_suspect:
        return channels if basis.columns is None else basis.columns[channels], signs
    own = channels if basis.suspect_columns is None else basis.suspect_columns[channels]
    return own, signs if basis.signs is None else basis.signs[channels].astype(np.float32)


def _written(side: Side, layer: int, inputs: Floats, into: Integers, out: Integers) -> Floats | None:
    """Return what a network writes ``(n, len(out))`` for inputs ``(n, len(into))``; None where it is not asked.

    A mixture is not: its router is given all channels. Nor is what has a norm inside, or none before it that is
    folded. Biases of norms before a layer are left out, in both models alike.
    """
    apart = experts_of(side, layer) != [None] or side.anatomy.part(f"{SHARED}up", layer, None, side.component)
    inside = side.anatomy.part("ffn_sub_norm", layer, None, side.component)
    if apart or inside is not None or (side.levelled and side.geometry.norm_position == "post"):
        return None
    own, signs = _own(side, into)
    given = inputs * signs * np.float32(np.sqrt(side.geometry.d_model / len(into)))
    fed = _fed(side, "up", layer, given, own)
    gated = _fed(side, "gate", layer, given, own)
    if fed is None or (gated is not None and gated.shape != fed.shape):
        return None
    fires = fired(side, layer, fed, gated)
    behind, signs = _own(side, out)
    down = _slices(side, "down", layer, behind, axis=0)
    if fires is None or down is None or down.shape[1] != fires.shape[1]:
        return None
    scale = side.scale_behind("down", layer)
    factors = signs if scale is None else signs * scale[behind]
    return np.matmul(fires, (down * factors[:, None]).T, dtype=np.float32)


def _fed(side: Side, role: str, layer: int, given: Floats, own: Integers) -> Floats | None:
    """Return what units are given ``(n, units)`` by inputs over a model's own channels."""
    columns = _slices(side, role, layer, own, axis=1)
    if columns is None:
        return None
    gain = side.gain_before(role, layer)
    fed = given @ (columns if gain is None else columns * gain[own]).T
    bias = side.matrix(f"{role}.bias", layer)
    return fed if bias is None or bias.shape != fed.shape[1:] else fed + bias


def _slices(side: Side, role: str, layer: int, own: Integers, *, axis: int) -> Floats | None:
    """Return rows (``axis`` 0) or columns of a matrix by their numbers, each run of them in one reading."""
    order = np.argsort(own, kind="stable")
    runs = np.split(own[order], np.flatnonzero(np.diff(own[order]) != 1) + 1)
    found = [side.matrix(role, layer, None, (int(run[0]), int(run[-1]) + 1), axis) for run in runs]
    known = [part for part in found if part is not None]
    if len(known) < len(runs):
        return None
    together = np.concatenate(known, axis=axis)
    return np.take(together, np.argsort(order, kind="stable"), axis=axis)
