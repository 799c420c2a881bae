"""FFN units without a common basis: each is described by how it stands to other units of its own layer.

For a rotated residual stream, or channels permuted beyond recovery, when no vocabulary is shared that would show how
the channels lie (evidence contract, section 3.4). A reader row and a writer column of one layer live in the same
residual stream, so their inner product does not change when the stream is rotated or permuted; gains are folded
first. Nothing of the two models is compared across their bases but these numbers; their widths may differ.

With anchors ``a`` (units at the same seeded positions in both models) the profile of unit ``i`` is

    gated:    |gate_i . down_a|,  |down_i . gate_a|,  (up_i . up_a)(down_i . down_a)
    ungated:   up_i . down_a,      down_i . up_a,      up_i . up_a,  down_i . down_a

The order tests on these units are exact. The labels are the positions of all units of the layer. The anchors' labels
are read: which units they are, and in what order. Given those, the remaining units are in uniformly random order under
H0, and their profiles, a function of what each unit holds and of the anchors, do not depend on it. No profile depends
on a unit's sign (each term is even in the signs of ``i`` and of ``a``), so sign tests of the layer may follow. Where
the order of a layer was tested before in another way, the two are tests of one label set: averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.anatomy.model import Symmetry
from filiation.origin.gather import Side, Window, seeded_windows
from filiation.origin.labelset import Tested
from filiation.origin.pairing import Pairing, Plan, expert_pairs, experts_of, guarded, layer_share
from filiation.origin.scale import Values, wide
from filiation.origin.testing import ExactTest
from filiation.origin.units import Floats, Units, unit_rows

#: Most anchors, and most units, of one layer; a narrower layer is split in three.
MOST = 512


@dataclass(frozen=True, slots=True)
class Ranges:
    """Disjoint positions, the same in both models and in every layer.

    ``anchors`` describe, ``choose`` draws a layer map, ``check`` tests what the map chose.
    """

    anchors: Window
    choose: Window
    check: Window


def disjoint_ranges(width: int, rng: np.random.Generator) -> Ranges | None:
    """Return seeded ranges for layers of ``width`` units in both models; None where they are too narrow."""
    size = min(MOST, width // 3)
    if size < 8:
        return None
    found = seeded_windows(width, size, 3, rng)
    first, second, third = (found[i] for i in rng.permutation(3))
    return Ranges(first, second, third)


def basis_free_units(
    side: Side, layer: int, anchors: Window, window: Window, expert: int | None = None
) -> Units | None:
    """Return the FFN units at the positions ``window``, described by the units at the positions ``anchors``.

    Args:
        side: one model, in whatever basis; only inner products inside the model are taken.
        layer, expert: which FFN.
        anchors, window: disjoint ranges of positions, the same for both models.

    Returns:
        ``window`` units with contents ``(window, 3 * anchors)`` (4 where the FFN has no gate), or None where a
        matrix is missing or the layer is narrower than the ranges.

    Raises:
        ValueError: the two ranges overlap.
    """
    if max(anchors[0], window[0]) < min(anchors[1], window[1]):
        raise ValueError(
            f"anchors {anchors} and units {window} overlap: an anchor's order is no longer a label"
        )
    mine, theirs = _branches(side, layer, expert, window), _branches(side, layer, expert, anchors)
    if mine is None or theirs is None:
        return None
    if len(mine[1]) != window[1] - window[0] or len(theirs[1]) != anchors[1] - anchors[0]:
        return None
    gate, up, down = mine
    gate_a, up_a, down_a = theirs
    products = (wide(up) @ wide(up_a).T) * (wide(down) @ wide(down_a).T)
    up, down, up_a, down_a = (_sized(rows) for rows in (up, down, up_a, down_a))
    if gate is None or gate_a is None:
        terms = [up @ down_a.T, down @ up_a.T, up @ up_a.T, down @ down_a.T]
    else:
        terms = [np.abs(gate @ down_a.T), np.abs(down @ gate_a.T), products]
    content = np.hstack([_standard(t) for t in terms])
    reader = "up" if gate is None else "gate"
    blocked = any(
        side.blocked(role, layer, axis, expert) for role, axis in ((reader, 0), ("up", 0), ("down", 1))
    )
    number = np.arange(*window)
    return Units("ffn", content, number, np.zeros_like(number), blocked=blocked)


Branches = tuple[Floats | None, Floats, Floats]


def _branches(side: Side, layer: int, expert: int | None, window: Window) -> Branches | None:
    """Return gate rows (None where there is no gate), up rows and down columns as rows, gains folded."""
    gate = side.reader("gate", layer, expert, window)
    up = side.reader("up", layer, expert, window)
    down = side.writer("down", layer, expert, window)
    return None if up is None or down is None else (gate, up, down)


def _sized(rows: Floats) -> Floats:
    """Return rows as they are, or at unit length where they were scaled so far that float32 cannot square them."""
    return rows if wide(rows) is rows else unit_rows(rows)


def _standard(terms: Values) -> Floats:
    """Standardise each anchor's column over the units, then scale each unit's row to length 1.

    The first makes anchors count alike and undoes a rescaling of the anchors' branches, the second one of the units'
    branches. Neither depends on the order of the units.
    """
    centred = terms - terms.mean(axis=0)
    spread = np.sqrt(np.square(centred).mean(axis=0))
    standard = centred / np.where(spread > 0, spread, 1.0)
    norms = np.linalg.norm(standard, axis=1, keepdims=True)
    return (standard / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def basis_free_contents(
    side: Side, layers: Sequence[int], anchors: Window, window: Window
) -> dict[int, Units]:
    """Return each layer's units for a layer map (:mod:`filiation.origin.layers`); of a mixture the first expert's."""
    found: dict[int, Units] = {}
    for layer in layers:
        units = basis_free_units(side, layer, anchors, window, experts_of(side, layer)[0])
        if units is not None:
            found[layer] = units
    return found


def basis_free_label_sets(
    pairing: Pairing, plan: Plan, tests: Sequence[ExactTest], ranges: Ranges
) -> list[Tested]:
    """Test the FFN order of every paired layer without a common basis, on the positions ``ranges.check``.

    The pairing takes layers by number, or by a map drawn from :func:`basis_free_contents` at ``ranges.choose``.
    """
    results: list[Tested] = []
    for pair in pairing.layers:
        views: list[tuple[Units, Units]] = []
        for mine, theirs in expert_pairs(pairing, pair):
            s = basis_free_units(pairing.suspect, pair[0], ranges.anchors, ranges.check, mine)
            c = basis_free_units(pairing.candidate, pair[1], ranges.anchors, ranges.check, theirs)
            if s is not None and c is not None and s.content.shape == c.content.shape:
                views.append((s, c))
        subject = pairing.subject(Symmetry.FFN_ORDER, pair, "basis_free")
        share = layer_share(pairing, pair)
        results.append(guarded(pairing, subject, views, tests, plan, "no_such_units", share=share))
    return results
