from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.origin.pattern import order_is_arbitrary, signs_are_free
from filiation.origin.units import Units
from tests.origin.units import channels, drawn, ffn


def shapes(seed: int, n: int, m: int) -> list[Units]:
    """Arbitrary orders of contents that are anything but well behaved."""
    g = np.random.default_rng(seed)
    plain = g.standard_normal((n, m))
    few = g.standard_normal((n, 2)) @ g.standard_normal((2, m)) + 0.1 * plain
    heavy = g.standard_cauchy((n, m))
    hubs = plain + np.abs(g.standard_normal((n, 1))) * g.standard_normal((1, m))
    groups = plain + 4 * g.standard_normal((5, m))[g.integers(0, 5, n)]
    dead = plain * (g.random((n, 1)) < 0.7)
    return [ffn(x) for x in (plain, few, heavy, hubs, groups, dead)] + [
        channels(x) for x in (plain, few, heavy, groups)
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([20, 64, 200]), st.sampled_from([3, 16, 100]))
def test_an_arbitrary_order_is_taken_for_one(seed: int, n: int, m: int) -> None:
    for units in shapes(seed, n, m):
        assert order_is_arbitrary(units)
        assert signs_are_free(units)


def test_a_sorted_layer_is_found_whatever_it_was_sorted_by() -> None:
    rows, up = drawn(0, 128, 64), drawn(1, 128, 64)
    size = np.exp(0.3 * drawn(2, 128, 1))
    by_gate = ffn((rows * size)[np.argsort(size[:, 0])])
    by_up = ffn(rows, (up * size)[np.argsort(-size[:, 0])])
    common = drawn(3, 1, 64)
    likeness = np.sort(np.abs(drawn(4, 128, 1)), axis=0)
    leaning = rows + likeness * common
    by_likeness = ffn(leaning / np.linalg.norm(leaning, axis=1, keepdims=True))
    angle = np.linspace(0, 3, 128)[:, None]
    along = ffn(np.cos(angle) * common + np.sin(angle) * drawn(5, 1, 64) + 0.5 * rows)
    for units in (by_gate, by_up, by_likeness, along):
        assert not order_is_arbitrary(units)
    for units in (by_gate, by_up, by_likeness):  # neighbours on a smooth curve look like clones, and may
        assert signs_are_free(units)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("side_by_side", [False, True])
def test_clones_are_found(noise: float, side_by_side: bool) -> None:
    half = drawn(0, 64, 48)
    rows = np.repeat(half, 2, axis=0) if side_by_side else np.vstack([half, half])
    units = ffn(rows + noise * drawn(1, 128, 48))
    if noise:
        assert not order_is_arbitrary(units)
        assert not signs_are_free(units)
    else:
        assert not len(units.alive())  # equal units are no units


def test_padding_at_the_end_leaves_the_rest_a_label() -> None:
    rows = drawn(0, 120, 32)
    for filler in (np.zeros((1, 32)), drawn(1, 1, 32)):
        assert order_is_arbitrary(ffn(np.vstack([rows, np.repeat(filler, 40, axis=0)])))
    noisy = np.repeat(drawn(1, 1, 32), 40, axis=0) + 0.05 * drawn(2, 40, 32)
    assert not order_is_arbitrary(ffn(np.vstack([rows, noisy])))


def test_heads_are_looked_at_inside_each_head() -> None:
    sizes = np.sort(np.exp(drawn(0, 32, 1)), axis=0)
    heads = [drawn(i, 32, 24) * sizes for i in range(1, 4)]
    block = np.repeat([0, 1, 2], 32)
    assert not order_is_arbitrary(ffn(np.vstack(heads), block=block))
    shuffled = [h[np.random.default_rng(i).permutation(32)] for i, h in enumerate(heads)]
    assert order_is_arbitrary(ffn(np.vstack(shuffled), block=block))


@pytest.mark.parametrize("n", [0, 1, 7, 15])
def test_few_units_show_no_pattern(n: int) -> None:
    assert order_is_arbitrary(ffn(drawn(0, n, 6)))
    assert signs_are_free(ffn(drawn(0, n, 6)))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([16, 64, 500]))
def test_units_scaled_to_one_length_are_no_pattern(seed: int, n: int) -> None:
    """Their lengths differ by rounding, in a few values: ties that are broken by position would follow it."""
    rows = drawn(seed, n, 48)
    parts = [
        x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows[:, :16], rows[:, 16:32], rows[:, 32:])
    ]
    assert order_is_arbitrary(ffn(np.hstack(parts)))
    assert order_is_arbitrary(ffn(rows, np.sign(drawn(seed + 1, n, 48))))


def test_equal_sizes_in_two_runs_are_a_pattern() -> None:
    rows = drawn(0, 256, 48)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[128:] *= 2
    assert not order_is_arbitrary(ffn(rows))
    assert order_is_arbitrary(ffn(rows[np.random.default_rng(0).permutation(256)]))
