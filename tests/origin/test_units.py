from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.origin.units import GRAIN, Units, relabelled, signed_agreement, similarity
from tests.origin.units import channels, drawn, ffn


def test_dead_constant_and_repeated_units_carry_no_label() -> None:
    rows = drawn(0, 12, 6)
    rows[3] = 0.0  # dead
    rows[4] = 2.5  # constant
    rows[7] = rows[8] = rows[1]  # padding of one kind: alike
    rows[9] = 3.0 * rows[5]  # equal up to its size: its cosines cannot tell it from the other
    assert ffn(rows).alive().position.tolist() == [0, 2, 6, 10, 11]


def test_a_repeated_unit_may_have_the_other_sign_where_the_sign_is_free() -> None:
    rows = drawn(1, 6, 5)
    rows[2] = -rows[0]
    assert channels(rows).alive().position.tolist() == [1, 3, 4, 5]
    assert len(ffn(rows).alive()) == 6


def test_units_of_different_blocks_may_be_equal() -> None:
    rows = np.vstack([drawn(2, 4, 5)] * 2)
    assert len(ffn(rows, block=np.repeat([0, 1], 4)).alive()) == 8
    assert not len(ffn(rows).alive())


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_nothing_is_not_alive(shape: tuple[int, int]) -> None:
    assert not len(ffn(np.zeros(shape)).alive())


@given(st.integers(0, 10_000), st.booleans())
def test_relabelling_keeps_what_a_unit_holds(seed: int, free: bool) -> None:
    rng = np.random.default_rng(seed)
    rows = drawn(seed, 9, 4)
    units = channels(rows) if free else ffn(rows, drawn(seed + 1, 9, 3), block=np.repeat([0, 1], [4, 5]))
    moved = relabelled(units, rng)
    for block, of in units.blocks():
        there = moved.take(np.flatnonzero(moved.block == block))
        assert there.position.tolist() == sorted(units.position[of].tolist())
    before = {abs(r).tobytes() for r in units.content}
    assert {abs(r).tobytes() for r in moved.content} == before
    if not free:
        # Contents stay as they are; the sign sits in the signed contents.
        pairs = dict(zip(map(bytes, units.content), units.signed[0], strict=True))
        assert all(
            (abs(pairs[bytes(r)]) == abs(s)).all()
            for r, s in zip(moved.content, moved.signed[0], strict=True)
        )


def test_relabelling_is_uniform() -> None:
    rng = np.random.default_rng(0)
    units = ffn(np.eye(3) + 0.1, np.ones((3, 1)))
    seen = [relabelled(units, rng) for _ in range(4800)]
    orders = [tuple(u.content.argmax(axis=1)) + tuple(u.signed[0][:, 0] > 0) for u in seen]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(counts) == 6 * 8
    assert counts.min() > 55  # 100 expected
    assert counts.max() < 150


def test_similarity_is_blind_to_signs_where_they_are_free() -> None:
    rows = drawn(3, 5, 8)
    turned = rows * np.array([1, -1, -1, 1, -1])[:, None]
    np.testing.assert_array_equal(
        similarity(channels(turned), channels(rows)), similarity(channels(rows), channels(rows))
    )
    np.testing.assert_allclose(np.diag(similarity(ffn(turned), ffn(rows))), [1, -1, -1, 1, -1], rtol=1e-6)


def test_signed_agreement_adds_up_what_is_defined() -> None:
    s = ffn(drawn(0, 3, 2), np.array([[1.0, 0], [0, 2], [0, 0]]), np.array([[0.0, 3], [1, 0], [0, 0]]))
    c = ffn(drawn(1, 2, 2), np.array([[2.0, 0], [0, 0]]), np.array([[0.0, -1], [5, 0]]))
    np.testing.assert_allclose(signed_agreement(s, c, np.array([0, 1, 1])), [0.0, 1.0, 0.0])


def test_inside_blocks_splits_every_block_into_runs() -> None:
    n = 2 * GRAIN + 3
    units = Units("ffn", drawn(0, n, 3), np.arange(5, 5 + n), np.zeros(n, np.int64), blocked=True)
    inside = units.inside_blocks()
    assert not inside.blocked
    runs = [inside.position[rows] for _, rows in inside.blocks()]
    assert [len(r) for r in runs] == [GRAIN - 5, GRAIN, 8]
    assert all(len(set(r // GRAIN)) == 1 for r in runs)
