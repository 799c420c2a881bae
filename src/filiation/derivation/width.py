"""Widths that changed: feed-forward units, residual channels, heads or experts left out; kv heads converted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from filiation.derivation.ffn import FfnFrame
from filiation.derivation.frame import LayerFrame
from filiation.derivation.launder import order_record
from filiation.derivation.reading import Case
from filiation.evidence import Derivation
from filiation.origin.subsequence import longest_increasing
from filiation.origin.units import Integers


def width_steps(case: Case, frames: Sequence[LayerFrame], foreign: frozenset[int]) -> list[Derivation]:
    """Return the steps ``width_pruned`` and ``heads_converted`` over the inherited layers."""
    kept = [f for f in frames if f.pair[0] not in foreign]
    return [*_ffn(kept), *_residual(case), *_heads(case, kept), *_experts(kept), *_converted(case, kept)]


def _ffn(frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    blocks: list[tuple[int, FfnFrame]] = [
        (f.pair[0], b)
        for f in frames
        for b in f.ffn.frames
        if b.index is not None and b.units < b.candidate_units and b.agreement is not None
    ]
    if not blocks:
        return
    orders = {layer: b.index for layer, b in blocks if b.index is not None and b.experts[0] in (None, 0)}
    agreement = float(np.mean([b.agreement for _, b in blocks if b.agreement is not None]))
    first = blocks[0][1]
    yield _pruned("ffn", first.candidate_units, first.units, orders, {"agreement": agreement})


def _residual(case: Case) -> Iterable[Derivation]:
    residual = case.residual
    if residual.kind == "injected" and residual.columns is not None:
        flipped = 0 if residual.signs is None else int((residual.signs < 0).sum())
        more = {"flipped": flipped} if flipped else {}
        theirs, mine = case.candidate.geometry.d_model, case.suspect.geometry.d_model
        yield _pruned("residual", theirs, mine, {-1: residual.columns}, more)


def _heads(case: Case, frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    g, other = case.suspect.geometry, case.candidate.geometry
    for what, mine, theirs, which in (
        ("heads", g.n_heads, other.n_heads, "queries"),
        ("kv_heads", g.n_kv_heads, other.n_kv_heads, "groups"),
    ):
        orders: dict[int, Integers] = {}
        for frame in frames:
            order = None if frame.attention is None else getattr(frame.attention, which)
            if order is not None and frame.attention is not None and frame.attention.conversion is None:
                orders[frame.pair[0]] = order
        if mine and theirs and mine < theirs and orders:
            yield _pruned(what, theirs, mine, orders, {})


def _experts(frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    fewer = [f for f in frames if 0 < f.ffn.suspect < f.ffn.candidate]
    orders = {f.pair[0]: np.array([f.ffn.order[e] for e in sorted(f.ffn.order)], np.int64) for f in fewer}
    if fewer:
        yield _pruned("experts", fewer[0].ffn.candidate, fewer[0].ffn.suspect, orders, {})


def _pruned(
    what: str, theirs: int, mine: int, orders: Mapping[int, Integers], more: Mapping[str, Any]
) -> Derivation:
    """Return the step with the kept indices and the share of them that stand in ascending order."""
    ascending = [longest_increasing(o) / len(o) for o in orders.values() if len(o)]
    distinct = [len(np.unique(o)) / len(o) for o in orders.values() if len(o)]
    numbers: dict[str, Any] = {"what": what, "from": theirs, "to": mine}
    numbers |= (
        {"in_order": float(np.mean(ascending)), "distinct": float(np.mean(distinct))} if ascending else {}
    )
    record = order_record(dict(orders))
    numbers |= {("kept" if key == "order" else "kept_sha256"): value for key, value in record.items()}
    return Derivation("width_pruned", {**numbers, **more})


def _converted(case: Case, frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    found = [
        f.attention.conversion
        for f in frames
        if f.attention is not None and f.attention.conversion is not None
    ]
    if not found:
        return
    methods = [c.method for c in found]
    yield Derivation(
        "heads_converted",
        {
            "from": case.candidate.geometry.n_kv_heads,
            "to": case.suspect.geometry.n_kv_heads,
            "method": max(sorted(set(methods)), key=methods.count),
            "cosine": float(np.mean([c.agreement for c in found])),
            "layers": sorted(f.pair[0] for f in frames if f.attention is not None and f.attention.conversion),
        },
    )
