"""From anatomy to units: reading the contents of one label set, canonicalised and in a common basis.

Canonicalisation commutes with every symmetry: norm gains are folded into the matrices that read them; nothing is
sorted, no sign convention is imposed (evidence contract, section 2). What LayerNorms let nobody see is taken out of
each model by itself (:mod:`filiation.origin.level`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from filiation.anatomy.model import Anatomy, Geometry, Symmetry
from filiation.origin.basis import IDENTITY, Basis
from filiation.origin.cache import ReadCache
from filiation.origin.level import level, unseen_through
from filiation.origin.scale import over, wide
from filiation.origin.units import Floats, Integers, Units, unit_rows

Window = tuple[int, int]
#: Several windows of one matrix, ascending: units of each are a block of their own.
Rows = tuple[Window, ...]
AT_ONCE = 1 << 19  # values that are folded and carried at once
SKETCH = 24  # probe directions of a head's Gram sketch


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two models of a pairing: its anatomy, a component, and how its rows reach the common basis.

    ``shut`` are experts that are left aside, as ``(layer, number)``, number None for the shared one: no token is let
    through to them (:mod:`filiation.origin.shut`).
    """

    anatomy: Anatomy
    component: str = "language"
    basis: Basis = IDENTITY
    is_suspect: bool = True
    cache: ReadCache = field(default_factory=ReadCache)
    shut: frozenset[tuple[int, int | None]] = frozenset()

    @property
    def geometry(self) -> Geometry:
        """The component's sizes."""
        return self.anatomy.geometry[self.component]

    @property
    def ffn_width(self) -> int:
        """Hidden neurons of an FFN (of one expert, where layers are made of experts); 0 where unknown."""
        return self.geometry.d_ff_expert or self.geometry.d_ff or 0

    def carry(self, rows: Floats) -> Floats:
        """Carry rows over this model's residual channels into the common basis."""
        return self.basis.suspect(rows) if self.is_suspect else self.basis.candidate(rows)

    def matrix(
        self,
        role: str,
        layer: int | None,
        expert: int | None = None,
        window: Window | Rows | None = None,
        axis: int = 0,
    ) -> Floats | None:
        """Return the canonical matrix of a part (or its windows along ``axis``), None where there is none."""
        part = self.anatomy.part(role, layer, expert, self.component)
        if part is None:
            return None
        several = rows_of(window)
        if several is not None and len(several) > 1:
            found = [self.matrix(role, layer, expert, one, axis) for one in several]
            return np.concatenate([x for x in found if x is not None], axis=axis)
        window = next(iter(several or ()), None)
        start, stop = (None, None) if window is None else window
        key = (self.is_suspect, part.tensor, self.component, role, layer, expert, window, axis)
        return self.cache.get(key, lambda: self.anatomy.read(part, start, stop, axis))

    def blocked(self, role: str, layer: int | None, axis: int, expert: int | None = None) -> bool:
        """Return whether the stored values share quantisation scales in blocks along ``axis`` of a part."""
        part = self.anatomy.part(role, layer, expert, self.component)
        return part is not None and axis in part.blocked

    @property
    def levelled(self) -> bool:
        """Whether the norms that everything is read through take the mean over the channels away."""
        return self.geometry.norm == "layer" and self.geometry.norm_position != "output"

    def gain(self, role: str, layer: int | None) -> Floats | None:
        """Return a norm's gain, None where this model has none there."""
        return self.matrix(role, layer)

    def reader(
        self, role: str, layer: int, expert: int | None = None, window: Window | Rows | None = None
    ) -> Floats | None:
        """Return a reader's rows with the gain of the norm before it folded in, carried to the common basis."""
        rows = self.matrix(role, layer, expert, window)
        return None if rows is None else self.fold(role, layer, rows)

    def fold(self, role: str, layer: int, rows: Floats) -> Floats:
        """Return rows of a reader with the gain of the norm before it folded in, carried to the common basis."""
        gain = self.gain_before(role, layer)
        return self._carried(rows, gain, unseen_through(self.gain_behind(role, layer)))

    def gain_before(self, role: str, layer: int) -> Floats | None:
        """Return the gain of the norm that a reader reads through, None where it is folded into none."""
        norm = "attn_norm" if role in {"q", "k", "v"} else "ffn_norm"
        gain = self.gain(norm, layer) if self.geometry.norm_position != "post" else None
        if gain is None and role in {"gate", "up", "router"} and self.geometry.norm_position == "pre":
            gain = self._parallel_gain(layer)
        return gain

    def gain_behind(self, role: str, layer: int) -> Floats | None:
        """Return the gain of a mean-subtracting norm that is not folded into a reader: it stands behind an addition."""
        if not self.levelled or self.geometry.norm_position != "post":
            return None
        if role not in {"q", "k", "v"}:
            return self.gain("post_attn_norm", layer)
        before = self.gain("post_ffn_norm", layer - 1) if layer else self.gain("embedding_norm", None)
        # Narrow embeddings (ALBERT, ELECTRA) have a norm of their own width, and a projection behind it.
        return before if before is None or before.shape == (self.geometry.d_model,) else None

    def _carried(self, rows: Floats, gain: Floats | None, unseen: Floats | None) -> Floats:
        """Fold a gain in and carry rows to the common basis, some rows at a time: memory holds the result alone."""

        def carried_of(some: Floats) -> Floats:
            some = some if gain is None else some * gain
            if self.levelled and some.ndim == 2:
                some = level(some.copy() if gain is None else some, unseen)
            return self.carry(some)

        step = max(1, AT_ONCE // max(1, rows.shape[-1]))
        if rows.ndim != 2 or len(rows) <= step:
            return carried_of(rows)
        out: Floats | None = None
        for start in range(0, len(rows), step):
            carried = carried_of(rows[start : start + step])
            out = np.empty((len(rows), carried.shape[1]), np.float32) if out is None else out
            out[start : start + step] = carried
        assert out is not None
        return out

    def _parallel_gain(self, layer: int) -> Floats | None:
        """Parallel blocks (GPT-J, Falcon, Phi) read attention and FFN from one norm."""
        return self.gain("attn_norm", layer)

    def scale_behind(self, role: str, layer: int) -> Floats | None:
        """Return what each channel that a branch writes into is multiplied by (LayerScale), None where nothing is."""
        name = {"o": "attn_scale", "down": "ffn_scale", "shared.down": "ffn_scale"}.get(role)
        scale = None if name is None else self.matrix(name, layer)
        return scale if scale is not None and scale.shape == (self.geometry.d_model,) else None

    def writer(
        self, role: str, layer: int, expert: int | None = None, window: Window | Rows | None = None
    ) -> Floats | None:
        """Return a writer's columns as rows ``(units, d)``, scaled as they are behind it, in the common basis."""
        matrix = self.matrix(role, layer, expert, window, axis=1)
        if matrix is None:
            return None
        scale = self.scale_behind(role, layer)
        if scale is not None and matrix.shape[:1] == scale.shape:
            matrix = matrix * scale[:, None]
        if not self.levelled:
            return self.carry(np.ascontiguousarray(matrix.T))
        return self.carry(level(np.array(matrix.T, order="C")))


def embedding_rows(side: Side, ids: Integers) -> Floats | None:
    """Return the token embedding rows ``(len(ids), d_model)``, read in as few ranges as the ids allow.

    None where there are none, or where they are narrower than the residual stream (ELECTRA, ALBERT, OPT-350M): their
    columns are not its channels then.
    """
    part = side.anatomy.part("embedding", component=side.component)
    if part is None or not len(ids) or part.shape[-1] != side.geometry.d_model:
        return None
    low, high = int(ids.min()), int(ids.max()) + 1
    if high - low <= 4 * len(ids):
        return side.anatomy.read(part, low, high)[ids - low]
    order = np.argsort(ids, kind="stable")
    breaks = np.flatnonzero(np.diff(ids[order]) > 64) + 1
    rows = np.empty((len(ids), side.geometry.d_model), np.float32)
    for run_of in np.split(order, breaks):
        first, last = int(ids[run_of[0]]), int(ids[run_of[-1]]) + 1
        rows[run_of] = side.anatomy.read(part, first, last)[ids[run_of] - first]
    return rows


def token_rows(side: Side, ids: Integers) -> Floats | None:
    """Return token embedding rows as :func:`embedding_rows` does, without what LayerNorms let nobody see."""
    rows = embedding_rows(side, ids)
    return rows if rows is None or not side.levelled else level(rows)


def ffn_units(
    side: Side,
    layer: int,
    expert: int | None = None,
    window: Window | Rows | None = None,
    *,
    with_down: bool = True,
    with_signs: bool = True,
) -> Units | None:
    """Return the neurons of one FFN (of one expert): matched by gate rows, signed by up rows and down columns.

    An ungated FFN is matched by its up rows (and down columns, when read) and has no sign label. Without
    ``with_signs`` nothing but the matched rows is read.
    """
    gate = side.reader("gate", layer, expert, window)
    blocked = side.blocked("up" if gate is None else "gate", layer, 0, expert)
    if gate is not None and not with_signs:
        return _in_place("ffn", gate, window, (), blocked=blocked)
    up = side.reader("up", layer, expert, window)
    if up is None:
        return None
    down = side.writer("down", layer, expert, window) if with_down else None
    signed: tuple[Floats, ...] = ()
    if gate is None:
        content = up if down is None else np.hstack([_scaled(up), _scaled(down)])
        blocked = blocked or (down is not None and side.blocked("down", layer, 1, expert))
    else:
        content = gate
        if side.anatomy.holds(Symmetry.FFN_SIGN, side.component).holds:
            signed = (up,) if down is None else (up, down)
    paired = gate is None and down is not None
    return replace(_in_place("ffn", content, window, signed, blocked=blocked), paired=paired)


def _in_place(
    kind: str, content: Floats, window: Window | Rows | None, signed: tuple[Floats, ...], *, blocked: bool
) -> Units:
    several = rows_of(window)
    if several is None or len(several) == 1:
        first = 0 if several is None else several[0][0]
        number = np.arange(first, first + len(content))
        return Units(kind, content, number, np.zeros_like(number), signed, blocked=blocked)
    number = np.concatenate([np.arange(first, last) for first, last in several])
    block = np.repeat(np.arange(len(several)), [last - first for first, last in several])
    return Units(kind, content, number, block, signed, blocked=blocked)


def rows_of(window: Window | Rows | None) -> Rows | None:
    """Return one window or several as several."""
    if window is None:
        return None
    several = window if isinstance(window[0], tuple) else (window,)
    return cast("Rows", several)


def _scaled(rows: Floats) -> Floats:
    rows = wide(rows)
    return over(rows, np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def value_units(side: Side, layer: int, with_output: bool = True) -> Units | None:
    """Return the value channels of a layer, one block a kv head: matched by ``|cos|`` of v rows."""
    g = side.geometry
    v = side.reader("v", layer)
    if v is None or not g.n_kv_heads or not g.d_head or len(v) != g.n_kv_heads * g.d_head:
        return None
    signed: tuple[Floats, ...] = (v,)
    output = _grouped_output(side, layer) if with_output else None
    if output is not None:
        signed = (v, output)
    number = np.arange(len(v))
    blocked = side.blocked("v", layer, 0)
    return Units("value", v, number % g.d_head, number // g.d_head, signed, sign_free=True, blocked=blocked)


def _grouped_output(side: Side, layer: int) -> Floats | None:
    """Return, for each kv channel, the output columns of its query heads side by side."""
    g = side.geometry
    o = side.writer("o", layer)
    if o is None or not g.n_heads or not g.n_kv_heads or not g.d_head or len(o) != g.n_heads * g.d_head:
        return None
    group = g.n_heads // g.n_kv_heads
    by_channel = o.reshape(g.n_kv_heads, group, g.d_head, -1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(by_channel).reshape(g.n_kv_heads * g.d_head, -1)


def _sketch(rows: Floats, heads: int, probe: Floats) -> Floats:
    """Return each head's Gram sketch ``P' w' w P``: blind to the order, sign and basis of the head's channels."""
    # Paired scales of value channels are anybody's to change: every row at one length.
    seen = wide((unit_rows(rows) @ probe).reshape(heads, -1, probe.shape[1]))
    grams = np.einsum("hci,hcj->hij", seen, seen)
    flat = grams[:, *np.triu_indices(probe.shape[1])]
    flat = over(flat, np.linalg.norm(flat, axis=1, keepdims=True))
    return (flat - flat.mean(axis=0)).astype(np.float32)


def probe_for(width: int, seed: int) -> Floats:
    """Return the seeded probe directions ``(width, SKETCH)`` that both models' heads are sketched with."""
    drawn = np.random.default_rng(seed).standard_normal((width, SKETCH)) / np.sqrt(width)
    return drawn.astype(np.float32)


def head_sketches(rows: Floats, heads: int, seed: int) -> Floats:
    """Return a sketch ``(heads, m)`` of each head's value rows, blind to their order and signs."""
    return _sketch(rows, heads, probe_for(rows.shape[1], seed))


def kv_group_units(side: Side, layer: int, seed: int) -> Units | None:
    """Return the kv groups of a layer as units, compared by sketches of ``v' v``."""
    g = side.geometry
    v = side.reader("v", layer)
    if v is None or not g.n_kv_heads or g.n_kv_heads < 2 or not g.d_head or len(v) != g.n_kv_heads * g.d_head:
        return None
    content = _sketch(v, g.n_kv_heads, probe_for(v.shape[1], seed))
    number = np.arange(g.n_kv_heads)
    return Units("kv_group", content, number, np.zeros_like(number))


def query_head_units(side: Side, layer: int, seed: int) -> Units | None:
    """Return the query heads, one block a kv group, compared by sketches of their output columns."""
    g = side.geometry
    if not g.n_heads or not g.n_kv_heads or not g.d_head or g.n_heads // g.n_kv_heads < 2:
        return None
    o = side.writer("o", layer)
    if o is None or len(o) != g.n_heads * g.d_head:
        return None
    content = _sketch(o, g.n_heads, probe_for(o.shape[1], seed))
    number, group = np.arange(g.n_heads), g.n_heads // g.n_kv_heads
    return Units("query_head", content, number % group, number // group)


def expert_units(side: Side, layer: int) -> Units | None:
    """Return the experts of a layer, compared by their router rows."""
    rows = side.reader("router", layer)
    if rows is None or len(rows) < 2:
        return None
    number = np.arange(len(rows))
    return Units("expert", rows, number, np.zeros_like(number))


#: The norm that what units are matched by reads through: folding reads it anyway.
FRUGAL_NORM_ROLES = ("ffn_norm",)
NORM_ROLES = ("attn_norm", "ffn_norm", "post_attn_norm", "post_ffn_norm")


def gain_units(gains: Floats) -> Units:
    """Return the residual channels as units with their gain profiles ``gains`` ``(norms, d)`` as contents.

    Each norm's gains are standardised over channels, which no order changes; constant ones are dropped by the
    caller for both models at once, so that profiles stay comparable.
    """
    centred = gains - gains.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=1, keepdims=True))
    profile = (centred / np.where(spread > 0, spread, 1.0)).T
    number = np.arange(profile.shape[0])
    return Units("residual", np.ascontiguousarray(profile, np.float32), number, np.zeros_like(number))


def embedding_units(side: Side, rows: Floats, window: Window | None = None) -> Units:
    """Return residual channels (in ``window``) as units with their embedding columns over token ``rows``.

    Args:
        rows: ``(tokens, d)`` of tokens that both models share, in the same order for both.
    """
    columns = np.ascontiguousarray((rows - rows.mean(axis=0)).T)
    first, last = window or (0, len(columns))
    has_sign = side.anatomy.holds(Symmetry.RESIDUAL_SIGN, side.component).holds
    number = np.arange(first, last)
    content = columns[first:last]
    signed = (content,) if has_sign else ()
    blocked = side.blocked("embedding", None, 1)
    return Units(
        "residual", content, number, np.zeros_like(number), signed, sign_free=has_sign, blocked=blocked
    )


def seeded_windows(n: int, size: int, count: int, rng: np.random.Generator) -> list[Window]:
    """Return up to ``count`` disjoint windows of ``size`` units at seeded offsets; all units if ``n <= size``."""
    if n <= size:
        return [(0, n)]
    slots = rng.permutation(n // size)[:count]
    offset = int(rng.integers(0, n % size + 1))
    return [(offset + int(s) * size, offset + int(s) * size + size) for s in sorted(slots)]
