"""Moves that keep the function: permuted, rotated, rescaled, with what was recovered of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from filiation.derivation.ffn import FfnFrame
from filiation.derivation.frame import LayerFrame
from filiation.derivation.measure import Measured
from filiation.derivation.reading import Case
from filiation.derivation.residual import Residual, is_hadamard
from filiation.evidence import Derivation
from filiation.origin.scale import wide
from filiation.origin.units import Integers

#: Share of moved (or flipped) units below which they are matching noise.
MOVED = 0.05
#: Orders of at most this many units in all are written out; longer ones as a digest.
WRITTEN = 2048


def launder_steps(
    case: Case, frames: Sequence[LayerFrame], measured: Sequence[Measured], foreign: frozenset[int]
) -> list[Derivation]:
    """Return the steps ``permuted``, ``rotated`` and ``rescaled`` over the inherited layers."""
    kept = [f for f in frames if f.pair[0] not in foreign]
    return [
        *_permuted(case, kept),
        *_rotated(case, kept, measured),
        *_rescaled(case, kept, measured),
    ]


def _permuted(case: Case, frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    blocks = [b for f in frames for b in f.ffn.frames if b.agreement is not None]
    yield from _moved_units("ffn", blocks)
    if case.residual.kind == "permuted" and _channels(case.residual)[0]:
        yield _moved_channels(case.residual)
    for what, orders in (
        ("kv_heads", _head_orders(frames, "groups")),
        ("query_heads", _head_orders(frames, "queries")),
    ):
        count = sum(len(order) for order in orders.values())
        moved = sum(int((o != np.arange(len(o))).sum()) for o in orders.values())
        if moved:
            yield _permutation(what, orders, count, moved, 0, None)
    yield from _moved_values(frames)
    experts = {
        f.pair[0]: np.array([f.ffn.order[e] for e in sorted(f.ffn.order)]) for f in frames if f.ffn.order
    }
    moved = {k: o for k, o in experts.items() if len(o) and not np.array_equal(o, np.arange(len(o)))}
    if moved and all(f.ffn.suspect == f.ffn.candidate for f in frames):
        total = sum(len(o) for o in experts.values())
        elsewhere = sum(int((o != np.arange(len(o))).sum()) for o in moved.values())
        yield _permutation("experts", moved, total, elsewhere, 0, None)


def _moved_units(what: str, blocks: Sequence[FfnFrame]) -> Iterable[Derivation]:
    same = [b for b in blocks if b.units == b.candidate_units or not b.whole]
    touched = [b for b in same if b.moved > MOVED * b.units]
    if not touched:
        return
    orders = {b.pair[0]: b.index for b in touched if b.index is not None and b.experts[0] is None}
    yield _permutation(
        what,
        orders,
        sum(b.units for b in touched),
        sum(b.moved for b in touched),
        sum(b.flipped for b in touched),
        float(np.mean([b.agreement for b in touched if b.agreement is not None])),
        layers=sorted({b.pair[0] for b in touched}),
    )


def _moved_channels(residual: Residual) -> Derivation:
    assert residual.columns is not None
    moved, flipped = _channels(residual)
    return _permutation("residual", {-1: residual.columns}, len(residual.columns), moved, flipped, None)


def _channels(residual: Residual) -> tuple[int, int]:
    """Return how many residual channels sit elsewhere and how many have the other sign."""
    columns, signs = residual.columns, residual.signs
    moved = 0 if columns is None else int((columns != np.arange(len(columns))).sum())
    return moved, 0 if signs is None else int((signs < 0).sum())


def _head_orders(frames: Sequence[LayerFrame], which: str) -> dict[int, Integers]:
    found: dict[int, Integers] = {}
    for frame in frames:
        order = None if frame.attention is None else getattr(frame.attention, which)
        attention = frame.attention
        if order is None or attention is None or attention.conversion is not None:
            continue
        if (
            len(order)
            == (attention.kv_heads if which == "groups" else attention.heads)
            == int(order.max()) + 1
        ):
            found[frame.pair[0]] = order
    return found


def _moved_values(frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    touched = [
        f
        for f in frames
        if f.attention is not None
        and f.attention.values.moved > MOVED * f.attention.kv_heads * f.attention.d_head
    ]
    if not touched:
        return
    attentions = [f.attention for f in touched if f.attention is not None]
    orders = {
        f.pair[0]: a.values.index.reshape(-1)
        for f, a in zip(touched, attentions, strict=True)
        if a.values.index is not None
    }
    yield _permutation(
        "values",
        orders,
        sum(a.kv_heads * a.d_head for a in attentions),
        sum(a.values.moved for a in attentions),
        sum(a.values.flipped for a in attentions),
        None,
        layers=[f.pair[0] for f in touched],
    )


def _permutation(
    what: str,
    orders: dict[int, Integers],
    units: int,
    moved: int,
    flipped: int,
    agreement: float | None,
    layers: list[int] | None = None,
) -> Derivation:
    numbers: dict[str, Any] = {
        "what": what,
        "units": units,
        "moved": moved,
        "share": moved / units if units else 0.0,
    }
    if flipped:
        numbers["flipped"] = flipped
    if agreement is not None:
        numbers["agreement"] = agreement
    named = layers if layers is not None else [k for k in orders if k >= 0]
    if named:
        numbers["layers"] = sorted(named)
    if orders and moved:
        numbers |= order_record(orders)
    return Derivation("permuted", numbers)


def order_record(orders: dict[int, Integers]) -> dict[str, Any]:
    """Return recovered orders by layer (-1: the whole model), or their SHA-256 where they are long."""
    if sum(len(o) for o in orders.values()) <= WRITTEN:
        return {
            "order": {("all" if k < 0 else str(k)): [int(i) for i in o] for k, o in sorted(orders.items())}
        }
    digest = hashlib.sha256()
    for layer, order in sorted(orders.items()):
        digest.update(f"{layer}:{','.join(str(int(i)) for i in order)}\n".encode())
    return {"order_sha256": digest.hexdigest()}


def _rotated(case: Case, frames: Sequence[LayerFrame], measured: Sequence[Measured]) -> Iterable[Derivation]:
    if case.residual.matrix is not None:
        cosines = [m.cosine for m in measured if m.is_matrix and m.cosine is not None and abs(m.cosine) > 0.1]
        matrix = case.residual.matrix
        yield Derivation(
            "rotated",
            {
                "what": "residual",
                "width": matrix.shape[0],
                "agreement": float(np.median(cosines)) if cosines else 0.0,
                "largest_entry": float(np.abs(matrix).max(axis=1).mean()),
                "hadamard": is_hadamard(matrix),
            },
        )
    for what in ("values", "pairs"):
        turned = [
            f.pair[0]
            for f in frames
            if f.attention is not None and getattr(f.attention, what).mix is not None
        ]
        if turned:
            yield Derivation(
                "rotated",
                {"what": "value_channels" if what == "values" else "rotary_pairs", "layers": turned},
            )


def _flipped(case: Case, frames: Sequence[LayerFrame]) -> Iterable[Derivation]:
    """Tell units that were multiplied by minus one, where they stand or where they went."""
    ffn = [(b.pair[0], b.units, b.flipped) for f in frames for b in f.ffn.frames if b.agreement is not None]
    values = [
        (f.pair[0], a.kv_heads * a.d_head, a.values.flipped) for f in frames if (a := f.attention) is not None
    ]
    for what, found in (("ffn_signs", ffn), ("value_signs", values)):
        touched = [row for row in found if row[2] > MOVED * row[1]]
        if touched:
            yield _signs(what, touched)
    moved, flipped = _channels(case.residual)
    columns = case.residual.columns
    # Of channels in place even one is clear; of channels looked up a few signs are matching noise.
    if (
        case.residual.kind == "permuted"
        and columns is not None
        and flipped > (MOVED * len(columns) if moved else 0)
    ):
        yield Derivation("rescaled", {"what": "residual_signs", "units": len(columns), "flipped": flipped})


def _signs(what: str, touched: Sequence[tuple[int, int, int]]) -> Derivation:
    layers = sorted({layer for layer, _, _ in touched})
    units, flipped = sum(n for _, n, _ in touched), sum(k for _, _, k in touched)
    return Derivation("rescaled", {"what": what, "units": units, "flipped": flipped, "layers": layers})


def _rescaled(case: Case, frames: Sequence[LayerFrame], measured: Sequence[Measured]) -> Iterable[Derivation]:
    yield from _rescaled_gains(case, frames, measured)
    yield from _flipped(case, frames)
    spreads: dict[str, list[tuple[int, float]]] = {"ffn": [], "value_channels": [], "rotary_pairs": []}
    for frame in frames:
        spreads["ffn"] += [
            (frame.pair[0], b.spread)
            for b in frame.ffn.frames
            if b.factor is not None and b.spread is not None
        ]
        if frame.attention is not None:
            for what, channels in (
                ("value_channels", frame.attention.values),
                ("rotary_pairs", frame.attention.pairs),
            ):
                if channels.factor is not None and channels.spread is not None:
                    spreads[what].append((frame.pair[0], channels.spread))
    for what, found in spreads.items():
        if found:
            layers = sorted({layer for layer, _ in found})
            yield Derivation(
                "rescaled", {"what": what, "spread": float(np.mean([s for _, s in found])), "layers": layers}
            )


def _rescaled_gains(
    case: Case, frames: Sequence[LayerFrame], measured: Sequence[Measured]
) -> Iterable[Derivation]:
    """Tell gains folded into their readers (the suspect's are constant) from gains that were rescaled."""
    kinds: list[str] = []
    norms = [(norm, f.pair) for f in frames for norm, folded in f.folded.items() if folded]
    if any(m.role == "head" and m.match.fold is not None for m in measured):
        norms.append(("final_norm", (-1, -1)))
    for norm, pair in norms:
        layers = (None, None) if norm == "final_norm" else pair
        mine, theirs = case.suspect.gain(norm, layers[0]), case.candidate.gain(norm, layers[1])
        if theirs is None or (
            mine is not None and mine.shape == theirs.shape and np.array_equal(mine, theirs)
        ):
            continue
        mine, theirs = mine if mine is None else wide(mine), wide(theirs)
        flat = mine is None or float(mine.std()) <= 1e-3 * float(np.abs(mine).mean())
        was_flat = float(theirs.std()) <= 1e-3 * float(np.abs(theirs).mean())
        if not (flat and was_flat):
            kinds.append("folded" if flat else "rescaled")
    if kinds:
        yield Derivation(
            "rescaled",
            {
                "what": "gains",
                "norms": len(kinds),
                "folded": kinds.count("folded"),
                "rescaled": kinds.count("rescaled"),
            },
        )
