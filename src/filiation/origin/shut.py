"""Experts that no token is let through to: what they hold must neither make nor break a verdict (ADR 0024).

A router that never chooses an expert, or a shut gate before the one that every input passes, leave a network without
effect in the file. Whether they do is asked of token rows, since inputs that are drawn know no constants; and of what
is written as well, since what counts for next to nothing can be as loud as one likes. An expert that is chosen and
writes nothing is not shut: inputs that were let through to it would go to others. Nor is one that is passed over by
little: among equals loaders choose one or another.

Anybody who holds both files could gain by what is left aside wrongly. So an expert is left aside only if none of many
tokens is let through: beside those that layers are asked with, some 16,384 from all of the vocabulary, since most of
one may never be used; the first, the last, and those that lie farthest out where routers look are among them. Of small
ones it is every token, and each is attended to by another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from filiation.origin.basis import IDENTITY
from filiation.origin.gather import Side, token_rows
from filiation.origin.network import SHARED, written_by_expert
from filiation.origin.pairing import Pairing, Plan, experts_of
from filiation.origin.stream import Passed, passed_attending, passed_by_tokens, passed_through, tokens_of
from filiation.origin.units import Doubles, Floats, Integers

#: Most that may be let through to an expert, and that it may write beside what its layer writes for a usual token.
NOTHING = 1e-3
#: Most tokens that are asked, how many of them at once, and how many of the first and of the last there are.
TOKENS, AT_ONCE, ENDS = 16384, 512, 64
Experts = frozenset[tuple[int, int | None]]


def without_shut(pairing: Pairing, plan: Plan) -> Pairing | None:
    """Return the pairing without experts of either model that no token is let through to; None where there are none."""
    suspect, candidate = (
        replace(side, shut=shut_experts(side, plan)) for side in (pairing.suspect, pairing.candidate)
    )
    found = suspect.shut or candidate.shut
    return replace(pairing, suspect=suspect, candidate=candidate) if found else None


def shut_experts(side: Side, plan: Plan) -> Experts:
    """Return the experts, as ``(layer, number)``, that no token is let through to; number None for the shared one.

    Never all of a layer that are chosen from. None at all where the model is not read whole.
    """
    own = replace(side, basis=IDENTITY, shut=frozenset())
    if not plan.whole or not any(_routed(own, i) for i in range(side.geometry.n_layers)):
        return frozenset()
    return side.cache.once(("shut", side.is_suspect, side.component), lambda: _asked(own, plan))


def _asked(side: Side, plan: Plan) -> Experts:
    found = frozenset((i, e) for i in range(side.geometry.n_layers) for e in _routed(side, i))
    for passed in (passed_through(side, plan), passed_attending(side, plan)):
        found = found if passed is None else _silent(side, passed, found)
    for ids in _tokens(side, plan):
        if not found:
            break
        found = _silent(side, passed_by_tokens(side, plan, ids), found)
    return frozenset((i, e) for i, e in found if e is None or not _all_of(side, i) <= found)


def _routed(side: Side, layer: int) -> list[int | None]:
    """Return the numbers of a layer's experts, and None for one with a gate before it; nothing of a dense layer."""
    chosen = [e for e in experts_of(side, layer) if e is not None]
    gated = side.anatomy.part(f"{SHARED}router", layer, component=side.component) is not None
    return [*chosen, None] if chosen and gated else [*chosen]


def _all_of(side: Side, layer: int) -> Experts:
    return frozenset((layer, e) for e in experts_of(side, layer))


def _silent(side: Side, passed: Mapping[int, Passed], among: Experts) -> Experts:
    """Return those of the experts that next to nothing is let through to and is written by, for all of these tokens."""
    found: set[tuple[int, int | None]] = set()
    for layer, each in passed.items():
        asked = [e for i, e in among if i == layer]
        if each.written is None or not asked:
            continue
        usual = float(np.median(_lengths(each.written - each.written.mean(axis=0))))
        for expert in asked:
            added = written_by_expert(side, layer, expert, each.given, favoured=True)
            if (
                added is not None
                and _little(added[0], NOTHING)
                and _little(_lengths(added[1]), NOTHING * usual)
            ):
                found.add((layer, expert))
    return frozenset(found)


def _little(values: Floats | Doubles, most: float) -> bool:
    """Return whether nothing is more than this; what is no number is not known to be little."""
    return bool((values <= most).all())


def _lengths(rows: Floats) -> Doubles:
    return np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))


def _tokens(side: Side, plan: Plan) -> Iterator[Integers]:
    """Yield tokens from all of the vocabulary in seeded order, some at a time."""
    n, rng = tokens_of(side), plan.rng("shut")
    ids = np.arange(n)
    if n > TOKENS:
        drawn = rng.integers(ENDS, n - ENDS, TOKENS)
        ids = np.unique(np.concatenate([ids[:ENDS], ids[-ENDS:], _outermost(side, n), drawn]))
    if n:
        yield from np.array_split(rng.permutation(ids), -(-len(ids) // AT_ONCE))


def _outermost(side: Side, n: int) -> Integers:
    """Return the tokens that lie farthest out where routers and gates look, by themselves or where they are seen.

    One token that all others attend to, as to a start of text, can open for all of them what no other opens.
    """
    looks = _looks(side)
    best = np.full((2, len(looks)), -np.inf, np.float32)
    found = np.zeros((2, len(looks)), np.int64)
    for start in range(0, n if len(looks) else 0, TOKENS):
        rows = token_rows(side, np.arange(start, min(n, start + TOKENS)))
        if rows is None:
            break
        seen = rows / np.maximum(_lengths(rows), 1e-30)[:, None].astype(np.float32) @ looks.T
        for turn, values in enumerate((seen, -seen)):
            here = values.argmax(axis=0)
            most = values.max(axis=0)
            found[turn] = np.where(most > best[turn], start + here, found[turn])
            best[turn] = np.maximum(best[turn], most)
    return found.reshape(-1)


def _looks(side: Side) -> Floats:
    """Return what routers and gates read ``(n, d)`` of a token row, and of one through each layer's values."""
    layers = range(side.geometry.n_layers)
    rows = [side.reader(role, i) for i in layers for role in ("router", f"{SHARED}router")]
    read = [x for x in rows if x is not None and x.shape[1] == side.geometry.d_model]
    if not read:
        return np.zeros((0, side.geometry.d_model), np.float32)
    own = np.concatenate(read)
    return np.concatenate([own, *(x for i in layers if (x := _through_values(side, i, own)) is not None)])


def _through_values(side: Side, layer: int, read: Floats) -> Floats | None:
    """Return what is read ``(n, d)`` of a token row that others attend to with all of their heads."""
    g, v, o = side.geometry, side.reader("v", layer), side.writer("o", layer)
    if v is None or o is None or not g.n_heads or not g.n_kv_heads or not g.d_head:
        return None
    if len(v) != g.n_kv_heads * g.d_head or len(o) != g.n_heads * g.d_head:
        return None
    by_head = (read @ o.T).reshape(len(read), g.n_kv_heads, -1, g.d_head)
    return by_head.sum(axis=2).reshape(len(read), -1) @ v
