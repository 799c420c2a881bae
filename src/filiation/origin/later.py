"""What is read of what a layer writes: second moments carried backward through a model (ADR 0024).

A feed-forward network can write into channels that nothing behind it reads. What later layers and the head read is
summed up from behind: each unit's reading counts by what is read of what that unit writes. The figures are as rough
as those of :mod:`filiation.origin.effects`, and enter no e-value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from filiation.origin.basis import IDENTITY
from filiation.origin.effects import Effects, of_model, spread
from filiation.origin.gather import Side
from filiation.origin.level import level
from filiation.origin.pairing import Plan, experts_of
from filiation.origin.scale import wide
from filiation.origin.units import Doubles, Floats

#: Most rows of the head that are looked at.
HEAD_ROWS = 2048
#: Share of the median direction below which one is rare: what comes of it is no more than that share then. Trained
#: models that were looked at give their layers a third of it and more in every direction (SmolLM2-135M among them).
RARE = 0.3


def read_later(side: Side, plan: Plan) -> Mapping[int, Floats] | None:
    """Return, by layer, the second moment ``(d, d)`` of what is read of what its feed-forward network writes.

    In the model's own channels; the trace is ``d``. None where the model is not read whole, or has no head.
    """
    effects = of_model(side, plan)
    if effects is None:
        return None
    own = replace(side, basis=IDENTITY)
    key = ("read later", side.is_suspect, side.component, side.shut)
    return side.cache.once(key, lambda: _Backward(own, effects).through())


def as_seen(moment: Floats | None) -> Floats | None:
    """Return what leaves of rows no more of a rare direction than there is beside what is usual: ``(d, d)``.

    None where no direction is rare.

    Args:
        moment: second moment of what a layer is given, or of what is read of what it writes.
    """
    if moment is None or _none_is_rare(moment):
        return None
    return without_rare(*np.linalg.eigh(moment.astype(np.float64)))


def without_rare(values: Doubles, vectors: Doubles) -> Floats | None:
    """Return what :func:`as_seen` does, by the moment's eigenvalues ``(d,)`` and eigenvectors ``(d, d)``."""
    sizes = np.sqrt(np.maximum(values, 0.0))
    usual = float(np.median(sizes))
    rare = sizes < RARE * usual
    if not rare.any():
        return None
    return ((vectors * np.where(rare, sizes / usual, 1.0)) @ vectors.T).astype(np.float32)


def _none_is_rare(moment: Floats) -> bool:
    """Return whether no direction can be rare, at a tenth of what their sizes cost; False where it is not known.

    The median of numbers that are not negative is twice their mean at most.
    """
    least = RARE**2 * 2 * float(np.trace(moment, dtype=np.float64)) / len(moment)
    try:
        np.linalg.cholesky(moment.astype(np.float64) - least * np.eye(len(moment)))
    except np.linalg.LinAlgError:
        return False
    return True


class _Backward:
    """Second moments of what is read, on their way from the head to the first layer."""

    def __init__(self, side: Side, effects: Effects) -> None:
        self._side, self._geometry, self._effects = side, side.geometry, effects

    def through(self) -> dict[int, Floats] | None:
        read = self._of_head()
        if read is None:
            return None
        found: dict[int, Floats] = {}
        for layer in reversed(range(self._geometry.n_layers)):
            found[layer] = _sized(read).astype(np.float32)
            given = self._effects.moments.get(layer)
            if given is None:
                continue
            behind, quiet = read, 1 / max(self._effects.sizes.get(layer, 1.0), 1e-30)
            for expert in experts_of(self._side, layer):
                read = read + quiet * self._of_units(layer, expert, given, behind)
            read = read + quiet * self._of_heads(layer, given, behind)
        return found

    def _of_head(self) -> Doubles | None:
        side = self._side
        rows = next((m for role in ("head", "embedding") if (m := side.matrix(role, None)) is not None), None)
        if rows is None or rows.ndim != 2 or rows.shape[1] != self._geometry.d_model:
            return None
        rows = rows[:: -(-len(rows) // HEAD_ROWS)]
        gain = side.gain("final_norm", None)
        rows = wide(rows if gain is None or gain.shape != rows.shape[1:] else rows * gain)
        if side.levelled:
            rows = level(rows.astype(np.float32))
        return (rows.T @ rows).astype(np.float64) / len(rows)

    def _of_units(self, layer: int, expert: int | None, given: Floats, behind: Doubles) -> Doubles | float:
        side = self._side
        up, down = side.reader("up", layer, expert), side.writer("down", layer, expert)
        if up is None or down is None or len(up) != len(down):
            return 0.0
        heard = _heard(down, behind)
        gate = side.reader("gate", layer, expert)
        if gate is None or len(gate) != len(up):
            return _moment(up, heard)
        return _moment(gate, heard * np.square(spread(up, given))) + _moment(
            up, heard * np.square(spread(gate, given))
        )

    def _of_heads(self, layer: int, given: Floats, behind: Doubles) -> Doubles | float:
        side, g = self._side, self._geometry
        v, o = side.reader("v", layer), side.writer("o", layer)
        if v is None or o is None or not g.n_heads or not g.n_kv_heads or not g.d_head:
            return 0.0
        if len(v) != g.n_kv_heads * g.d_head or len(o) != g.n_heads * g.d_head:
            return 0.0
        heard = _heard(o, behind).reshape(g.n_kv_heads, -1, g.d_head)
        found = _moment(v, heard.sum(axis=1).reshape(-1))
        # What a head looks at matters as much as what it then writes.
        fires = np.square(spread(v, given)).reshape(g.n_kv_heads, 1, g.d_head)
        heads = (heard * fires).sum(axis=2) / g.d_head
        q, k = side.reader("q", layer), side.reader("k", layer)
        if q is None or k is None or len(q) != len(o) or len(k) != len(v):
            return found
        asks = np.square(spread(q, given)).reshape(heads.shape[0], heads.shape[1], -1)
        answers = np.square(spread(k, given)).reshape(heads.shape[0], 1, -1)
        found = found + _moment(q, (heads[:, :, None] * answers).reshape(-1))
        return found + _moment(k, (heads[:, :, None] * asks).sum(axis=1).reshape(-1))


def _heard(rows: Floats, behind: Doubles) -> Doubles:
    """Return how much is read of what each unit writes ``(units,)``."""
    size = max(float(np.trace(behind)), 1e-300)
    seen = rows @ (behind / size).astype(np.float32)
    return size * np.maximum(np.einsum("ij,ij->i", seen, rows, dtype=np.float64), 0.0)


def _moment(rows: Floats, weights: Doubles) -> Doubles:
    scaled: Doubles = np.multiply(rows, np.sqrt(weights)[:, None], dtype=np.float64)
    size = float(max(scaled.max(initial=0.0), -scaled.min(initial=0.0)))
    if not np.isfinite(size) or size <= 0:
        return scaled.T @ scaled
    halves = (scaled / size).astype(np.float32)
    return (halves.T @ halves).astype(np.float64) * size**2


def _sized(moment: Doubles) -> Doubles:
    trace = float(np.trace(moment))
    return moment * (len(moment) / trace) if trace > 0 else np.eye(len(moment))
