from __future__ import annotations

import numpy as np
import pytest

from filiation.origin.layers import LayerMap, layer_map
from tests.origin.units import drawn, ffn


def map_of(scores: list[list[float]]) -> LayerMap:
    values = np.array(scores, np.float64)
    return LayerMap(tuple(range(len(values))), tuple(range(values.shape[1])), values, values, 64, "order")


def test_a_path_takes_the_best_layer_where_one_is_clear() -> None:
    assert map_of([[90, 0, 0], [0, 0, 80], [0.5, 2.9, -1]]).path() == ((0, 0), (1, 2))
    assert map_of([[0.0, 0.1]]).path() == ()


def test_among_equals_the_one_that_continues_the_path() -> None:
    """The candidate's layers 1 and 3 are copies."""
    assert map_of([[90, 0, 0, 0], [0, 80, 0, 79], [0, 0, 90, 0], [0, 80, 0, 79]]).path() == (
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
    )


@pytest.mark.parametrize("by", ["order", "ascent", "sign"])
def test_a_map_shows_who_is_whose(by: str) -> None:
    rng = np.random.default_rng(0)
    layers = {i: (drawn(i, 48, 32), drawn(50 + i, 48, 32)) for i in range(3)}
    candidate = {i: ffn(*pair) for i, pair in layers.items()}
    keep = {
        "order": np.arange(48),
        "ascent": np.sort(rng.permutation(48)[:36]),
        "sign": rng.permutation(48)[:36],
    }[by]
    suspect = {i: ffn(*(m[keep] for m in layers[j])) for i, j in enumerate((2, 0))}
    drawn_map = layer_map(suspect, candidate, by, rng)
    assert drawn_map.path() == ((0, 2), (1, 0))
    assert (drawn_map.matched[[0, 1], [2, 0]] == len(keep)).all()
    assert drawn_map.units == len(keep)


def test_contents_of_other_widths_are_no_evidence() -> None:
    drawn_map = layer_map(
        {0: ffn(drawn(0, 16, 8))}, {0: ffn(drawn(0, 16, 9))}, "order", np.random.default_rng(0)
    )
    assert drawn_map.log10_e.tolist() == [[0.0]]
