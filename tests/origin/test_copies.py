from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from filiation.origin import evalues
from filiation.origin.copies import block_weights, clusters_of, repeated, shares
from filiation.origin.units import relabelled
from tests.origin.units import channels, drawn, ffn


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("drift", [0.0, 0.3, 1.0, 2.0])
def test_layers_that_began_as_copies_are_one_label_set(drift: float) -> None:
    """Trained apart to a cosine of 1, .96, .7 and .45."""
    start = drawn(0, 96, 128)
    layers = {i: ffn(start + drift * drawn(10 + i, 96, 128)) for i in (0, 3, 7)}
    layers |= {i: ffn(drawn(20 + i, 96, 128)) for i in (1, 2)}
    assert shares(layers, rng()) == {0: 1 / 3, 3: 1 / 3, 7: 1 / 3, 1: 1.0, 2: 1.0}


def test_few_units_are_compared_by_content() -> None:
    """Four channels can never reach the e-value: 4! is too small."""
    start = drawn(0, 4, 64)
    heads = {0: channels(start), 1: channels(-start + 0.1 * drawn(1, 4, 64)), 2: channels(drawn(2, 4, 64))}
    assert shares(heads, rng()) == {0: 0.5, 1: 0.5, 2: 1.0}


def test_layers_that_merely_resemble_one_another_are_not_copies() -> None:
    """A direction that all units of all layers share, as a big residual channel gives them."""
    common = 5 * drawn(0, 1, 128)
    layers = {i: ffn(common + drawn(1 + i, 64, 128)) for i in range(6)}
    assert not clusters_of(shares(layers, rng()))


def test_independent_layers_are_hardly_ever_merged() -> None:
    """All contents alike, orders drawn at random: the hardest case. The bound is 1 in 1,000 pairs."""
    layer = ffn(drawn(0, 40, 16))
    layers = {i: relabelled(layer, rng(i)) for i in range(40)}
    merged = sum(share < 1 for share in shares(layers, rng()).values())
    assert merged <= 4  # of 780 pairs


def test_repeated_heads_share_their_weight() -> None:
    head, other = drawn(0, 16, 32), drawn(1, 16, 32)
    heads = channels(np.vstack([head, other, head + 0.05 * drawn(2, 16, 32)]))
    by_head = type(heads)(
        "value", heads.content, np.tile(np.arange(16), 3), np.repeat([0, 1, 2], 16), (), True
    )
    assert block_weights(by_head, rng()) == {0: 0.5, 1: 1.0, 2: 0.5}


def test_repeated_units_of_a_small_label_set() -> None:
    rows = drawn(0, 6, 20)
    assert not repeated(ffn(rows))
    rows[4] = rows[1] + 0.1 * drawn(1, 1, 20)[0]
    assert repeated(ffn(rows))
    assert not repeated(ffn(rows[:1]))


def test_a_product_over_copies_needs_the_shares() -> None:
    """Two layers that are copies in both models: one uniform order, counted twice."""
    hits = [sum(place == unit for place, unit in enumerate(o)) for o in permutations(range(5))]
    logs = np.array([evalues.fixed_points([h], [5], [1.0]) for h in hits])
    assert np.exp(2 * evalues_insured(logs)).mean() > 1.5
    assert np.exp(2 * 0.5 * evalues_insured(logs)).mean() <= 1 + 1e-9


def evalues_insured(logs: np.ndarray) -> np.ndarray:
    return np.array([evalues.insured(x) for x in logs])
