"""Do two layers compute the same? What their feed-forward networks write for the same inputs (ADR 0022).

Units can be added that cancel one another, be split, be silenced, be put in any order: what they hold says little
then, and what the layer computes stays. So both networks are given the same random inputs, and what they write is
correlated. No unit is matched with another. It is an effect size, and enters no e-value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from filiation.origin.effects import Effects, capped, of_model
from filiation.origin.gather import Side
from filiation.origin.later import as_seen, read_later, without_rare
from filiation.origin.network import SHARED, written_by
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.scale import wide
from filiation.origin.sorting import middle
from filiation.origin.stream import passed_attending, passed_through
from filiation.origin.units import Doubles, Floats

#: Inputs of each kind.
INPUTS = 128
#: Correlation from which two layers compute alike.
COMPUTES_ALIKE = 0.3
#: Mean correlation that shared training leaves; models that share their initial weights alone stay below.
TRAINED_ALIKE = 0.4
#: Correlation from which what a network computes stands for what its units hold, where value channels hold the same:
#: a function can be written with other units. Models of one initialisation come to .82 after 25 steps: so gains, and
#: what is read of the channels, decide beside it.
COMPUTES_SAME = 0.8
#: Mean correlation below which layers have nothing in common that they compute.
UNRELATED = 0.1
_Looks = tuple[Floats | None, Floats | None]
_ROLES = frozenset({"gate", "up", "down", "router"})


def computed_alike(
    pairing: Pairing, pair: tuple[int, int], plan: Plan, *, full: bool = False
) -> float | None:
    """Return how what two feed-forward networks write correlates, over all channels and inputs; in ``[-1, 1]``.

    The inputs are normal numbers, with the second moment of what either layer is given, and with none of its own; and
    what either layer is given where token rows come, which has a mean. The least correlation of the five counts, so
    that what only one of the models is ever given says nothing. None where the models are not read whole, or a network
    or the common basis is not known.

    Args:
        full: read the layers whole although the models are not. What they are given is not known then; one kind of
            input counts, the one with no moment of its own.
    """
    sides = pairing.suspect, pairing.candidate
    drawn, held = _drawn(pairing, pair, plan, full=full)
    if not drawn:
        return None
    kinds = [*(_Kind(x) for x in drawn), *_given(sides, pair, plan, drawn[0].shape)]
    mine, theirs = _written(sides, pair, kinds, held, at_once=full and not plan.whole)
    if mine is None or theirs is None:
        return None
    looks = [None, *(look for look in _read(sides, pair, plan) if look is not None)]
    return min(
        correlation(*(evened(x) if kind.of is not None else x for x in (_seen(a, look), _seen(b, look))))
        for kind, a, b in zip(kinds, mine, theirs, strict=True)
        for look in looks
    )


def layers_computed(pairing: Pairing, plan: Plan, layers: Collection[int]) -> dict[int, float]:
    """Return how alike these of the suspect's layers compute, where that could be measured."""
    found = {pair[0]: computed_alike(pairing, pair, plan) for pair in pairing.layers if pair[0] in layers}
    return {i: r for i, r in found.items() if r is not None}


def otherwise(computed: Mapping[int, float]) -> dict[int, float]:
    """Return the layers that compute something else, beside others that compute as shared training leaves them."""
    mixed = max(computed.values(), default=0.0) >= TRAINED_ALIKE
    return {i: r for i, r in computed.items() if mixed and r < COMPUTES_ALIKE}


def network_bytes(side: Side, layer: int) -> int:
    """Return at most how many bytes of the file the layer's feed-forward network is, with all of its experts."""
    stored = side.anatomy.checkpoint.tensors
    parts = [p for p in side.anatomy.parts if p.layer == layer and p.component == side.component]
    return sum(stored[p.tensor].nbytes for p in parts if p.role.removeprefix(SHARED) in _ROLES)


def _drawn(pairing: Pairing, pair: tuple[int, int], plan: Plan, *, full: bool) -> tuple[list[Floats], _Looks]:
    """Return inputs of three kinds ``(INPUTS, d)`` over the channels of the common basis; of one, in a large model.

    And what takes out of inputs, for either model, what its own layer is never given; None: nothing.
    """
    sides, models, rng = (
        (pairing.suspect, pairing.candidate),
        _effects(pairing, plan),
        plan.rng(f"computed/{pair}"),
    )
    if models is None:
        widths = {side.carry(np.zeros((1, side.geometry.d_model), np.float32)).shape[1] for side in sides}
        rows = rng.standard_normal((INPUTS // 2, max(widths)), np.float32)
        return [rows] if full and len(widths) == 1 else [], (None, None)
    mine, theirs = (_moment(s, e, i) for s, e, i in zip(sides, models, pair, strict=True))
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return [], (None, None)
    rows = rng.standard_normal((INPUTS, len(mine)), np.float32)
    found = [np.linalg.eigh(moment.astype(np.float64)) for moment in (mine, theirs)]
    return [*(rows @ _root(*x) for x in found), rows], (without_rare(*found[0]), without_rare(*found[1]))


@dataclass(frozen=True, eq=False)
class _Kind:
    """Inputs of one kind ``(n, d)`` in the common basis.

    Attributes:
        of: the model whose token rows these come from, None for inputs that were drawn.
        written: what its layer writes for them, where that is known.
    """

    inputs: Floats
    of: Side | None = None
    written: Floats | None = None


def _given(
    sides: tuple[Side, Side], pair: tuple[int, int], plan: Plan, shape: tuple[int, ...]
) -> list[_Kind]:
    """Return what either layer is given where token rows come, in the common basis; not where it never changes."""
    found: list[_Kind] = []
    ways = passed_through, passed_attending
    for side, layer, through in ((s, i, way) for s, i in zip(sides, pair, strict=True) for way in ways):
        passed = (through(side, plan) or {}).get(layer)
        carried = None if passed is None else side.carry(passed.given)
        if passed is None or carried is None or carried.shape != shape or not np.ptp(carried, axis=0).any():
            continue
        # In the model's own channels it wrote what it wrote there.
        found.append(_Kind(carried, side, passed.written if carried is passed.given else None))
    return found


def _read(sides: tuple[Side, Side], pair: tuple[int, int], plan: Plan) -> _Looks:
    """Return what takes out of what layers write, for either model, what nothing behind reads; None: nothing."""
    found: list[Floats | None] = []
    for side, layer in zip(sides, pair, strict=True):
        moment = (read_later(side, plan) or {}).get(layer)
        carried = None if moment is None else side.carry(np.ascontiguousarray(side.carry(moment).T))
        found.append(as_seen(carried))
    return found[0], found[1]


def _seen(rows: Floats, look: Floats | None) -> Floats:
    return rows if look is None else np.matmul(rows, look, dtype=np.float32)


def _effects(pairing: Pairing, plan: Plan) -> tuple[Effects, Effects] | None:
    mine, theirs = of_model(pairing.suspect, plan), of_model(pairing.candidate, plan)
    return None if mine is None or theirs is None else (mine, theirs)


def _moment(side: Side, effects: Effects, layer: int) -> Floats | None:
    """Return the second moment ``(d, d)`` of what a layer is given, in the common basis."""
    moment = effects.moments.get(layer)
    return None if moment is None else side.carry(np.ascontiguousarray(side.carry(moment).T))


def _root(values: Doubles, vectors: Doubles) -> Floats:
    """Return ``R`` of which ``R'R`` is the moment of these eigenvalues and eigenvectors.

    Standard normal rows times it have this second moment.
    """
    return (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T).astype(np.float32)


def correlation(mine: Floats, theirs: Floats) -> float:
    """Return the correlation of outputs ``(n, d)``, each channel taken from its mean."""
    mine, theirs = wide(mine), wide(theirs)
    mine, theirs = mine - mine.mean(axis=0), theirs - theirs.mean(axis=0)
    both = np.einsum("ij,ij", mine, theirs, dtype=np.float64)
    lengths = [float(np.einsum("ij,ij", x, x, dtype=np.float64)) for x in (mine, theirs)]
    return float(both / np.sqrt(lengths[0] * lengths[1])) if min(lengths) > 0 else 0.0


def evened(written: Floats) -> Floats:
    """Return outputs of which no few are much louder than the rest: rows of tokens that are never used say little."""
    known = np.isfinite(written).all(axis=1, keepdims=True)
    written = written if known.all() else np.where(known, written, 0)
    written = (written - middle(written.T)).astype(np.float32, copy=False)
    return capped(written).astype(np.float32, copy=False)


def _written(
    sides: tuple[Side, Side], pair: tuple[int, int], kinds: Sequence[_Kind], held: _Looks, *, at_once: bool
) -> tuple[list[Floats] | None, list[Floats] | None]:
    """Return what either network writes for inputs of every kind; None where one is not known, or has no such width.

    Large ones at once: each side has a memory and a file of its own.
    """
    if not at_once:
        return _of_kinds(sides[0], pair[0], kinds, held[0]), _of_kinds(sides[1], pair[1], kinds, held[1])
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="filiation-computed") as pool:
        theirs = pool.submit(_of_kinds, sides[1], pair[1], kinds, held[1])
        return _of_kinds(sides[0], pair[0], kinds, held[0]), theirs.result()


def _of_kinds(side: Side, layer: int, kinds: Sequence[_Kind], held: Floats | None) -> list[Floats] | None:
    """Return what one network writes for inputs of every kind; None where it is not known.

    Args:
        held: what takes out of inputs that are not the model's own what its layer is never given.
    """
    known = [kind.written if kind.of is side else None for kind in kinds]
    asked = [
        kind.inputs if kind.of is side else _seen(kind.inputs, held)
        for kind, found in zip(kinds, known, strict=True)
        if found is None
    ]
    written = written_by(side, layer, np.concatenate(asked))
    if written is None or written.shape[1] != asked[0].shape[1]:
        return None
    parts = iter(np.split(written, len(asked)))
    return [next(parts) if found is None else found for found in known]
