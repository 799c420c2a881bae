"""What a LayerNorm lets nobody see is taken out of each model by itself, in a way that commutes with every label."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.origin.basis import IDENTITY
from filiation.origin.gather import Side, ffn_units, token_rows
from filiation.origin.level import level, unseen_through
from filiation.origin.tokenrows import SummedRows
from tests.derivation.models import base
from tests.derivation.test_architectures import bert, gpt2
from tests.origin.models import dissected
from tests.origin.units import drawn


def test_a_constant_over_the_channels_is_taken_out() -> None:
    rows = drawn(0, 40, 24)
    shift = (100 * drawn(1, 40, 1)).astype(np.float32)
    levelled = level(rows.copy())
    np.testing.assert_allclose(levelled.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(level(rows + shift), levelled, atol=1e-4)


def test_levelling_commutes_with_every_label() -> None:
    rows = drawn(0, 40, 24) + 3
    levelled = level(rows.copy())
    generator = np.random.default_rng(0)
    units, channels = generator.permutation(40), generator.permutation(24)
    signs = generator.choice(np.array([-1, 1], np.float32), (40, 1))
    np.testing.assert_array_equal(level(rows[units]), levelled[units])
    np.testing.assert_array_equal(level(rows * signs), levelled * signs)
    np.testing.assert_array_equal(level(np.ascontiguousarray(rows[:, channels])), levelled[:, channels])


def test_nothing_but_a_constant_leaves_nothing() -> None:
    rows = np.concatenate([np.zeros((1, 24)), np.full((1, 24), 0.1), 7 * np.ones((1, 24))]).astype(np.float32)
    assert not level(rows).any()


def test_rows_behind_a_gain_that_is_not_folded() -> None:
    rows, gain = drawn(0, 40, 24), (1 + 0.5 * drawn(1, 1, 24)[0]).astype(np.float32)
    along = unseen_through(gain)
    assert along is not None
    seen = drawn(2, 30, 24)
    seen = (seen - seen.mean(axis=1, keepdims=True)) * gain
    np.testing.assert_allclose(seen @ along, 0, atol=1e-4)
    shifted = rows + 5 * drawn(3, 40, 1) / gain
    np.testing.assert_allclose(seen @ shifted.T, seen @ rows.T, atol=1e-2)
    np.testing.assert_allclose(level(shifted, along), level(rows.copy(), along), atol=1e-3)


def test_channels_that_a_gain_shuts_are_left_as_they_are() -> None:
    gain = np.array([1, 0, 2, -1], np.float32)
    along = unseen_through(gain)
    assert along is not None
    assert along[1] == 0
    assert along[3] < 0 < along[2] < along[0]
    assert unseen_through(None) is None
    assert unseen_through(np.zeros(4, np.float32)) is None


@pytest.mark.parametrize("made", [gpt2, bert])
def test_what_a_branch_computes_is_what_is_compared(made: object) -> None:
    """Of the model's own rows nothing is lost that a branch reads or a norm lets through."""
    model = gpt2(0) if made is gpt2 else bert(0)
    side = Side(dissected(model), "language", IDENTITY)
    up, down = side.reader("up", 1), side.writer("down", 1)
    stored = side.matrix("up", 1)
    assert up is not None
    assert down is not None
    assert stored is not None
    np.testing.assert_allclose(down.mean(axis=1), 0, atol=1e-6)
    inputs = drawn(0, 30, stored.shape[1])
    inputs -= inputs.mean(axis=1, keepdims=True)
    gain = side.gain("ffn_norm" if made is gpt2 else "post_attn_norm", 1)
    assert gain is not None
    given = inputs * gain
    # A norm before the branch is folded into what reads through it; one after the addition before it is not.
    read = inputs @ up.T if made is gpt2 else given @ up.T
    np.testing.assert_allclose(read, given @ stored.T, atol=1e-3)


def test_models_whose_norms_subtract_no_mean_are_left_as_they_are() -> None:
    side = Side(dissected(base(0)), "language", IDENTITY)
    units, stored, gain = ffn_units(side, 0), side.matrix("gate", 0), side.gain("ffn_norm", 0)
    assert units is not None
    assert stored is not None
    assert gain is not None
    np.testing.assert_array_equal(units.content, stored * gain)


def test_token_rows_are_levelled_where_the_norms_are() -> None:
    ids = np.arange(64)
    for model, flat in ((gpt2(0), True), (base(0), False)):
        rows = token_rows(Side(dissected(model), "language", IDENTITY), ids)
        assert rows is not None
        assert bool(np.abs(rows.mean(axis=1)).max() < 1e-6) is flat


def test_rows_that_are_summed_up_are_levelled_as_those_held() -> None:
    mine, theirs = drawn(0, 200, 20), drawn(1, 200, 20)
    shifted = mine + 10 * drawn(2, 200, 1)
    found: list[np.ndarray] = []
    for rows in (mine, shifted):
        summed = SummedRows(200, 20, 20, (True, True))
        summed.add(rows.copy(), theirs.copy())
        matrix = summed.rotation().matrix
        assert matrix is not None
        found.append(matrix)
    # What both lack has no place to be carried to: rows are compared without it.
    level_rows = level(mine.copy())
    np.testing.assert_allclose(level_rows @ found[0], level_rows @ found[1], atol=1e-3)
