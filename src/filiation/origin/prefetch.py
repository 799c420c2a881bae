"""Announcing the direct stage's reads, so that a remote source can join near ranges into few requests."""

from __future__ import annotations

from filiation.anatomy.model import Part
from filiation.checkpoint.model import Index
from filiation.origin.gather import Side
from filiation.origin.ledger import announce
from filiation.origin.pairing import Pairing, Plan, TokenRows
from filiation.origin.units import Integers
from filiation.origin.weighing import channels_written, chosen


def prefetch(pairing: Pairing, plan: Plan, tokens: TokenRows | None) -> None:
    """Tell both checkpoints which ranges the direct stage is going to read."""
    if plan.whole:
        return
    sample = None if tokens is None else tokens.sample(plan.tokens, plan.rng("tokens"))
    for side, column in ((pairing.suspect, 0), (pairing.candidate, 1)):
        ids = None if sample is None else (sample.suspect, sample.candidate)[column]
        layers = [(pair[column], pair[0]) for pair in pairing.layers]
        wanted = _wanted(side, layers, pairing, ids)
        wanted += _weighed(side, [p[column] for p in pairing.layers if chosen(pairing, p, plan)], plan)
        announce(side.anatomy.checkpoint, wanted)


def _wanted(
    side: Side, layers: list[tuple[int, int]], pairing: Pairing, ids: Integers | None
) -> list[tuple[str, Index]]:
    """Return the ranges of one model, of each of its layers and that layer's number in the suspect."""
    wanted: list[tuple[str, Index]] = []

    def add(role: str, layer: int | None, start: int | None = None, stop: int | None = None) -> None:
        part = side.anatomy.part(role, layer, component=side.component)
        if part is not None and _plain(part):
            wanted.append((part.tensor, () if start is None else (slice(start, stop),)))

    for layer, mine in layers:
        for role in ("gate",) if mine in pairing.unsigned else ("gate", "up"):
            for window in pairing.rows_of(mine) or ((None, None),):
                add(role, layer, *window)
        for role in pairing.norm_roles:
            add(role, layer)
    for role in pairing.outer_norms:
        add(role, None)
    if ids is not None and len(ids) and int(ids.max()) - int(ids.min()) < 4 * len(ids):
        add("embedding", None, int(ids.min()), int(ids.max()) + 1)
    return wanted


def _weighed(side: Side, layers: list[int], plan: Plan) -> list[tuple[str, Index]]:
    """Return the ranges by which neurons of these layers are weighed under a budget."""
    parts = [side.anatomy.part("down", i, component=side.component) for i in layers if plan.frugal]
    rows = slice(*channels_written(side, plan))
    return [(part.tensor, (rows,)) for part in parts if part is not None and _plain(part)]


def _plain(part: Part) -> bool:
    """Return whether canonical rows are stored rows (no fused, transposed or stacked storage)."""
    return part.view.rows is None and part.view.expert is None and not part.view.transpose
