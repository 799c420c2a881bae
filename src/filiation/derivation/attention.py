"""One layer's attention in the candidate's terms: heads, value channels, rotary pairs, conversions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from filiation.derivation.channels import NOTHING, Channels, match_pairs, match_values, mean_cosine
from filiation.derivation.convert import Conversion, convert_heads
from filiation.derivation.heads import Attention, match_groups, plainly_in_place, read_attention
from filiation.derivation.reading import SMALL, Case, may_be_searched, norms, reader, row_cosines
from filiation.derivation.unitmap import STILL, UnitMap
from filiation.origin.scale import held
from filiation.origin.units import Doubles, Floats, Integers

Pair = tuple[int, int]
IN_PLACE = 0.15


@dataclass(frozen=True, eq=False)
class AttentionFrame:
    """How the heads and channels of one layer lie in the candidate's.

    ``groups`` and ``queries`` give the candidate's heads (None: in place); ``values`` and ``pairs`` their channels.
    ``conversion`` is set where the number of kv heads changed. ``agreement`` is the mean cosine of value rows.
    """

    pair: Pair
    maps: dict[str, UnitMap] = field(default_factory=dict[str, UnitMap])
    groups: Integers | None = None
    queries: Integers | None = None
    values: Channels = NOTHING
    pairs: Channels = NOTHING
    conversion: Conversion | None = None
    agreement: float | None = None
    heads: int = 0
    kv_heads: int = 0
    d_head: int = 0
    whole: bool = True

    def unit_map(self, role: str) -> UnitMap:
        """Return the map along the head axis of ``q``, ``k``, ``v`` or ``o`` (or a bias of the first three)."""
        return self.maps.get(role.removesuffix(".bias"), STILL) if role != "o.bias" else STILL


def match_attention(case: Case, pair: Pair) -> AttentionFrame | None:
    """Match the attention of a layer pair; None where it cannot be read as plain multi-head attention.

    A frugal reading leaves it out.
    """
    if case.frugal:
        return None
    g, other = case.suspect.geometry, case.candidate.geometry
    same = (g.n_heads, g.n_kv_heads, g.d_head) == (other.n_heads, other.n_kv_heads, other.d_head)
    small = case.plan.whole and g.d_model * (g.n_heads or 1) * (g.d_head or 1) <= SMALL
    if same and not small and _looks_in_place(case, pair):
        return AttentionFrame(pair, whole=False)
    if not case.whole and same and not may_be_searched(case, g.d_model * (g.n_heads or 1) * (g.d_head or 1)):
        return None
    s, c = read_attention(case, pair[0], True), read_attention(case, pair[1], False)
    if s is None or c is None or s.v.shape[1] != c.v.shape[1] or s.q.shape[1] != c.q.shape[1]:
        return None
    if len(s.q) == len(c.q) and s.kv != c.kv:
        return _converted(pair, s, c)
    return _matched(case, pair, s, c)


def _looks_in_place(case: Case, pair: Pair) -> bool:
    """Return whether the rows of one kv head (keys and values) are where and as large as they were."""
    g = case.suspect.geometry
    if not g.n_kv_heads or not g.d_head:
        return False
    start = int(case.rng(f"heads/{pair}").integers(0, g.n_kv_heads)) * g.d_head
    for role in ("k", "v"):
        s = reader(case, case.suspect, role, pair[0], None, (start, start + g.d_head))
        c = reader(case, case.candidate, role, pair[1], None, (start, start + g.d_head))
        if s is None or c is None or s.shape != c.shape:
            return False
        cosines = row_cosines(s, c)
        ratio = np.log(np.maximum(norms(s), 1e-30)) - np.log(np.maximum(norms(c), 1e-30))
        level = float(np.median(cosines))
        if level < IN_PLACE or (cosines < -0.3).any() or ratio.std() > 0.25:
            return False
    return True


def _converted(pair: Pair, s: Attention, c: Attention) -> AttentionFrame:
    found = convert_heads(s, c)
    maps: dict[str, UnitMap] = {}
    if found is not None:
        maps = {role: UnitMap(pool=pool) for role, pool in (("k", found.keys), ("v", found.values))}
    return AttentionFrame(pair, maps, conversion=found, agreement=None if found is None else found.agreement)


def _matched(case: Case, pair: Pair, s: Attention, c: Attention) -> AttentionFrame:
    rng = case.rng(f"attention/{pair}")
    groups, queries = (None, None) if plainly_in_place(s, c) else match_groups(s, c, rng)
    kv = np.arange(s.kv) if groups is None else groups
    heads = np.arange(len(s.q)) if queries is None else queries
    if s.kv > c.kv or len(s.q) > len(c.q):
        return AttentionFrame(pair)
    near = Attention(c.q[heads], c.k[kv], c.v[kv], c.o[heads])
    values = match_values(s.v, near.v, _by_channel(s), _by_channel(near), rng)
    pairs = NOTHING
    rope = case.suspect.geometry.rope
    normed = case.suspect.anatomy.part("q_norm", pair[0], component=case.component) is not None
    if rope is not None and not normed:
        pairs = match_pairs(_grouped(s.q, s.kv), _grouped(near.q, s.kv), s.k, near.k, rope)
    frame = AttentionFrame(
        pair,
        _maps(groups, queries, values, pairs, s),
        groups,
        queries,
        values,
        pairs,
        None,
        None,
        len(s.q),
        s.kv,
        s.v.shape[1],
    )
    moved_v = frame.unit_map("v").apply(c.v.reshape(-1, c.v.shape[2])).reshape(s.v.shape)
    agreement = mean_cosine(s.v, moved_v)
    if agreement < IN_PLACE and not np.array_equal(kv, np.arange(s.kv)):
        return AttentionFrame(pair)  # an assignment always finds something: these heads are no one's
    return replace(frame, agreement=agreement)


def _by_channel(a: Attention) -> Floats:
    """Return the output columns of each kv channel's query heads side by side: ``(kv, d_head, group * d)``."""
    grouped = a.o.reshape(a.kv, a.group, a.o.shape[1], -1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(grouped).reshape(a.kv, a.o.shape[1], -1)


def _grouped(q: Floats, kv: int) -> Floats:
    return q.reshape(kv, -1, *q.shape[1:])


def _maps(
    groups: Integers | None, queries: Integers | None, values: Channels, pairs: Channels, s: Attention
) -> dict[str, UnitMap]:
    kv, heads, d = s.kv, len(s.q), s.v.shape[1]
    group = np.arange(heads) // s.group  # the kv head of each of the suspect's query heads
    inner = np.tile(np.arange(d), (kv, 1)) if values.index is None else values.index
    up = None if values.factor is None and values.sign is None else np.ones((kv, d), np.float32)
    down = up
    if up is not None:
        sign = 1.0 if values.sign is None else values.sign
        factor = 1.0 if values.factor is None else values.factor
        up, down = held(up * sign * factor), held(up * sign / factor)
    whole = np.tile(np.arange(d), (heads, 1))
    q_factor = None if pairs.factor is None else held(1.0 / pairs.factor[group])
    return {
        "v": _map(groups, kv, inner, up, values.mix),
        "o": _map(
            queries,
            heads,
            inner[group],
            None if down is None else down[group],
            None if values.mix is None else values.mix[group],
        ),
        "k": _map(groups, kv, whole[:kv], pairs.factor, pairs.mix),
        "q": _map(queries, heads, whole, q_factor, None if pairs.mix is None else pairs.mix[group]),
    }


def _map(
    order: Integers | None, heads: int, inner: Integers, factor: Floats | Doubles | None, mix: Floats | None
) -> UnitMap:
    d = inner.shape[1]
    start = np.arange(heads) if order is None else order
    index = (start[:, None] * d + inner).reshape(-1)
    still = order is None and np.array_equal(index, np.arange(len(index)))
    return UnitMap(None if still else index, None if factor is None else factor.reshape(-1), mix)
