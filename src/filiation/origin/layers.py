"""Which suspect layer matches which candidate layer: the layer x layer map and the path chosen from it.

The path is chosen on one set of neurons and tested on another (evidence contract, section 3.6): the map reads the
positions of its own window only, so the labels of every other position are still fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.origin import evalues, gather
from filiation.origin.copies import shares
from filiation.origin.gather import Rows, Side, Window
from filiation.origin.matching import nearest
from filiation.origin.pattern import order_is_arbitrary, stands_arbitrarily
from filiation.origin.sign import Signs, judged, once
from filiation.origin.sorting import distinct
from filiation.origin.subsequence import Subsequence, ascent
from filiation.origin.sweep import in_order
from filiation.origin.testing import Abstention, Outcome
from filiation.origin.units import Floats, Integers, Units, signed_agreement
from filiation.origin.whole import WholeLayer, signed_branch, traits, whole_layer

#: log10 e at which a cell of the map is taken as a match; what is chosen is tested on fresh units afterwards.
CHOOSE_AT = 3.0


@dataclass(frozen=True, eq=False)
class LayerMap:
    """Layer x layer evidence from the FFN units of one window.

    ``log10_e[i, j]`` and ``matched[i, j]`` (units in place, or plus signs where the order is scrambled) are for the
    ``i``-th of ``suspect_layers`` against the ``j``-th of ``candidate_layers``; ``units`` is how many were compared,
    ``stage`` the stage of the walk that drew it.
    """

    suspect_layers: tuple[int, ...]
    candidate_layers: tuple[int, ...]
    log10_e: np.ndarray
    matched: np.ndarray
    units: int
    by: str
    stage: str = ""

    def path(self) -> tuple[tuple[int, int], ...]:
        """Return each suspect layer with its best candidate layer, where the evidence for it is clear.

        Among candidate layers of (nearly) equal evidence the one that continues the path is taken.
        """
        chosen: list[tuple[int, int]] = []
        previous = -1
        for row, layer in enumerate(self.suspect_layers):
            scores = self.log10_e[row]
            best = float(scores.max(initial=-np.inf))
            if best < CHOOSE_AT:
                continue
            ties = np.flatnonzero(scores >= 0.9 * best)
            column = int(min(ties, key=lambda j: abs(self.candidate_layers[int(j)] - previous - 1)))
            previous = self.candidate_layers[column]
            chosen.append((layer, previous))
        return tuple(chosen)


def contents(
    side: Side, layers: Sequence[int], window: Window | Rows | None, *, signs: bool = False
) -> dict[int, Units]:
    """Return each layer's FFN units in ``window`` without the down columns (range reads only).

    A layer made of experts is represented by its first.
    """
    found: dict[int, Units] = {}
    for layer in layers:
        expert = _represented_by(side, layer)
        units = gather.ffn_units(side, layer, expert, window, with_down=False, with_signs=signs)
        if units is not None:
            found[layer] = units
    return found


def _represented_by(side: Side, layer: int) -> int | None:
    dense = side.anatomy.part("up", layer, None, side.component) is not None
    return None if dense else 0


def unpatterned(side: Side, layer: int) -> bool:
    """Return whether a layer's neurons, looked at all together, stand in an arbitrary order."""
    whole = whole_layer(side, layer, _represented_by(side, layer))
    if whole is not None:
        return stands_arbitrarily(traits(whole))
    units = contents(side, [layer], None).get(layer)
    return units is not None and order_is_arbitrary(units)


def layer_shares(
    side: Side, layers: Sequence[int], window: Window | Rows | None, rng: np.random.Generator
) -> dict[int, float]:
    """Test a model's layers against one another; return the exponent of each (1 where it is no copy)."""
    return shares(contents(side, layers, window), rng)


def layer_map(
    suspect: dict[int, Units], candidate: dict[int, Units], by: str, rng: np.random.Generator
) -> LayerMap:
    """Compare every layer with every layer.

    Args:
        by: ``order`` (same positions), ``ascent`` (other width: ascending positions) or ``sign`` (order scrambled).
    """
    rows, columns = tuple(suspect), tuple(candidate)
    log10_e, matched = np.zeros((len(rows), len(columns))), np.zeros((len(rows), len(columns)))
    units = 0
    for i, s in enumerate(rows):
        for j, (log_e, count, n) in enumerate(_row(suspect[s], [candidate[c] for c in columns], by, rng)):
            log10_e[i, j], matched[i, j], units = log_e / evalues.LOG10, count, max(units, n)
    return LayerMap(rows, columns, log10_e, matched, units, by)


def whole_map(
    suspect: dict[int, Units], side: Side, layer: int, by: str, rng: np.random.Generator
) -> LayerMap:
    """Compare some neurons of every suspect layer with all neurons of one candidate layer, in whatever order they are.

    A wide layer is read as a stream (:mod:`filiation.origin.whole`), so that memory holds one of its matrices in the
    precision that its file has; every number is the same.

    Args:
        by: ``ascent`` or ``sign``.
    """
    expert = _represented_by(side, layer)
    pool = whole_layer(side, layer, expert)
    if pool is None:
        return layer_map(suspect, contents(side, [layer], None, signs=by == "sign"), by, rng)
    rows = list(suspect.values())
    if by == "sign":
        cells = sign_cells(rows, pool, expert, rng)
    else:
        cells = [
            _told(ascent(s.alive(), pool.alive(), rng)) if _comparable(s, pool) else NOTHING for s in rows
        ]
    log10_e = np.array([[log_e / evalues.LOG10] for log_e, _, _ in cells]).reshape(-1, 1)
    matched = np.array([[count] for _, count, _ in cells]).reshape(-1, 1)
    return LayerMap(tuple(suspect), (layer,), log10_e, matched, max((n for *_, n in cells), default=0), by)


def beside(maps: Sequence[LayerMap]) -> LayerMap:
    """Join maps of the same suspect layers against different candidate layers."""
    return LayerMap(
        maps[0].suspect_layers,
        tuple(j for m in maps for j in m.candidate_layers),
        np.hstack([m.log10_e for m in maps]),
        np.hstack([m.matched for m in maps]),
        max(m.units for m in maps),
        maps[0].by,
    )


Cell = tuple[float, float, int]
NOTHING: Cell = (0.0, 0.0, 0)


def sign_cells(
    suspect: Sequence[Units], pool: WholeLayer, expert: int | None, rng: np.random.Generator
) -> list[Cell]:
    """Test the signs of each of these units against all of a wide layer, whose signed rows are read once."""
    up = signed_branch(pool, expert)
    if up is None:
        return [NOTHING for _ in suspect]
    c = pool.alive()
    pairs: list[tuple[Units, Integers] | None] = []
    for units in suspect:
        s = units.alive()
        if not _comparable(units, pool) or not s.signed or not len(s) or not len(c):
            pairs.append(None)
            continue
        match = nearest(s, c, rng)
        found = once(s, c, match)
        pairs.append((s.take(found), c.position[match[found]]))
    wanted = distinct(np.concatenate([np.zeros(0, np.int64), *(p[1] for p in pairs if p is not None)]))
    rows = up.pick(wanted)
    return [NOTHING if p is None else _signs(p[0], rows[np.searchsorted(wanted, p[1])]) for p in pairs]


def _signs(s: Units, partners: Floats) -> Cell:
    number = np.arange(len(s))
    c = Units("ffn", partners, number, np.zeros_like(number), (partners,))
    return _told(judged(signed_agreement(s, c, number), s.block))


def _comparable(s: Units, pool: WholeLayer) -> bool:
    return s.content.shape[1] == pool.width


def _told(outcome: Outcome | Abstention) -> Cell:
    return (outcome.log_e, outcome.statistic, outcome.n) if isinstance(outcome, Outcome) else NOTHING


def _row(s: Units, candidates: Sequence[Units], by: str, rng: np.random.Generator) -> list[Cell]:
    if by == "order":
        return [(x.log_e, float(x.in_place), x.n) for x in in_order(s, candidates, rng)]
    return [_cell(s, c, Subsequence() if by == "ascent" else Signs(), rng) for c in candidates]


def _cell(s: Units, c: Units, test: Subsequence | Signs, rng: np.random.Generator) -> Cell:
    return _told(test.measure(s, c, rng)) if s.content.shape[1] == c.content.shape[1] else NOTHING
