"""Which neurons of each layer a partial reading reads: short blocks at seeded places, other ones in each layer.

Whoever knows the seed knows the places. It follows from what pins the models, so that anybody can read them again, and
from a word that the caller may have drawn (ADR 0018). Nothing else about the places is fixed: no end of a matrix, and
no run that is the same in every layer, can be prepared without knowing the seed.

Each further block of a layer is one more set of labels to be ordered by chance (evidence contract, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from filiation.anatomy.model import Part
from filiation.checkpoint.model import spans_of
from filiation.origin.gather import Rows, Side, seeded_windows
from filiation.origin.pairing import Plan
from filiation.origin.units import GRAIN

#: Share of a tensor's bytes up to which reading one block's rows of it is cheap.
_CHEAP = 0.25


@dataclass(frozen=True, slots=True)
class Places:
    """The rows to read of each layer, and whether no two layers have one in common.

    ``unsigned``: layers of which nothing but what units are matched by is read.
    """

    rows: dict[int, Rows] = field(default_factory=dict[int, Rows])
    disjoint: bool = False
    unsigned: frozenset[int] = frozenset()


def places(suspect: Side, candidate: Side, layers: Sequence[int], plan: Plan) -> Places:
    """Return the neurons that are read of each layer of both models in a partial reading.

    Where two layers have no row in common, labels of layers that began as copies of one another are still labels of
    different units: their order inside one layer's block says nothing of that inside the other's. Then e-values of
    layers multiply without looking for copies first.
    """
    width = min((w for w in (suspect.ffn_width, candidate.ffn_width) if w), default=0)
    if plan.whole or not width or not layers:
        return Places()
    several = plan.blocks > 1 and all(_cheap(side, i) for side in (suspect, candidate) for i in layers)
    count, size = (plan.blocks, plan.units // plan.blocks) if several else (1, plan.units)
    rng = plan.rng("direct")
    if width // size >= count * len(layers):
        # Blocks begin where quantisation blocks do, so that none of those is cut.
        slots = rng.permutation(width // size)[: count * len(layers)].reshape(len(layers), count)
        start = int(rng.integers(0, (width % size) // GRAIN + 1)) * GRAIN
        taken = [sorted(int(start + s * size) for s in row) for row in slots]
        rows = {i: tuple((at, at + size) for at in first) for i, first in zip(layers, taken, strict=True)}
        return Places(rows, True, _unsigned(suspect, layers, plan))
    # Too narrow for other rows in each layer: the same ones, by which copies among the layers are found.
    common = tuple(seeded_windows(width, size, count, rng))
    return Places(dict.fromkeys(layers, common), False, _unsigned(suspect, layers, plan))


def _unsigned(side: Side, layers: Sequence[int], plan: Plan) -> frozenset[int]:
    """Return the layers whose signs are left unread, where every read is a request: all but the middle and one more.

    The derivation looks at the middle one. Layers without a gate are matched by what else would tell signs.
    """
    if plan.blocks > 1 or not plan.frugal or any(_part(side, "gate", i) is None for i in layers):
        return frozenset()
    middle = layers[round((len(layers) - 1) / 2)]
    others = [i for i in layers if i != middle]
    drawn = int(plan.rng("signed").integers(0, len(others))) if others else 0
    return frozenset(others[:drawn] + others[drawn + 1 :])


def _cheap(side: Side, layer: int) -> bool:
    """Return whether a few rows of what this layer's units are matched by can be read without most of the others."""
    part = _part(side, "gate", layer) or _part(side, "up", layer)
    if part is None or part.view.transpose:
        return False
    if part.view.rows is not None or part.view.expert is not None:
        return True
    stored = side.anatomy.checkpoint.stored[part.tensor]
    read = sum(span.stop - span.start for span in spans_of(stored, (slice(0, GRAIN),)))
    return 0 < read <= _CHEAP * stored.info.nbytes


def _part(side: Side, role: str, layer: int) -> Part | None:
    found = side.anatomy.part(role, layer, None, side.component)
    return found if found is not None else side.anatomy.part(role, layer, 0, side.component)
