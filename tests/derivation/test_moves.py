"""The small pieces: unit maps, maps of residual channels, paired scales, matching."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.derivation.channels import match_pairs, match_values
from filiation.derivation.ffn import match_units
from filiation.derivation.heads import match_heads, overlap
from filiation.derivation.residual import IN_PLACE, from_basis, is_hadamard, refined
from filiation.derivation.scaling import paired_scaling
from filiation.derivation.unitmap import STILL, UnitMap, inverse_factor
from filiation.lab.launder import haar_orthogonal
from filiation.origin.basis import IDENTITY, Basis

seeds = st.integers(0, 10_000)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def matrix(g: np.random.Generator, *shape: int) -> np.ndarray:
    return g.standard_normal(shape).astype(np.float32)


@given(seeds)
def test_unit_map_picks_turns_and_scales_in_this_order(seed: int) -> None:
    g = rng(seed)
    units = matrix(g, 12, 5)
    index, factor = g.permutation(12)[:8], np.abs(matrix(g, 8)) + 0.1
    mix = np.stack([haar_orthogonal(4, seed=seed + h) for h in range(2)]).astype(np.float32)
    made = UnitMap(index, factor, mix).apply(units)
    expected = np.concatenate([mix[h] @ units[index[4 * h : 4 * h + 4]] for h in range(2)]) * factor[:, None]
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


@given(seeds)
def test_unit_map_pools_whole_heads_of_matrices_and_biases(seed: int) -> None:
    g = rng(seed)
    pool = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], np.float32)
    rows, bias = matrix(g, 12, 5), matrix(g, 12)
    heads = rows.reshape(4, 3, 5)
    expected = np.stack([(heads[0] + heads[1]) / 2, (heads[2] + heads[3]) / 2]).reshape(6, 5)
    np.testing.assert_allclose(UnitMap(pool=pool).apply(rows), expected, rtol=1e-5, atol=1e-6)
    assert UnitMap(pool=pool).apply(bias).shape == (6,)


def test_trivial_maps() -> None:
    assert STILL.trivial
    assert STILL.by_row
    assert UnitMap(factor=np.ones(3, np.float32)).by_row
    assert not UnitMap(np.arange(3)).by_row
    assert inverse_factor(None) is None
    inverted = inverse_factor(np.array([2.0, 0.5], np.float32))
    assert inverted is not None
    np.testing.assert_array_equal(inverted, [0.5, 2.0])


@given(seeds)
def test_residual_map_carries_candidate_rows_into_the_suspects_channels(seed: int) -> None:
    g = rng(seed)
    candidate = matrix(g, 40, 8)
    columns, signs = g.permutation(8), np.where(g.random(8) < 0.5, -1, 1).astype(np.float32)
    suspect = candidate[:, columns] * signs
    found = from_basis(Basis("signed_permutation", columns, signs=signs))
    np.testing.assert_array_equal(found.carry(candidate), suspect)
    gain = matrix(g, 8)
    np.testing.assert_array_equal(found.carry_gain(gain), gain[columns])  # type: ignore[arg-type]


@given(seeds)
def test_refining_recovers_a_rotation_from_matched_rows(seed: int) -> None:
    g = rng(seed)
    q = haar_orthogonal(12, seed=seed).astype(np.float32)
    candidate = matrix(g, 200, 12)
    suspect = candidate @ q
    rough = from_basis(Basis("rotation", matrix=haar_orthogonal(12, seed=seed + 1).astype(np.float32)))
    cross = (suspect.T @ candidate).astype(np.float64)
    found = refined(rough, cross, np.square(suspect).sum(0), np.square(candidate).sum(0), g)
    assert found.kind == "rotated"
    np.testing.assert_allclose(found.carry(candidate), suspect, atol=1e-4)


@given(seeds)
def test_refining_sees_that_a_rotation_was_only_a_permutation(seed: int) -> None:
    g = rng(seed)
    columns = g.permutation(12)
    candidate = matrix(g, 200, 12)
    suspect = candidate[:, columns]
    rough = from_basis(Basis("rotation", matrix=haar_orthogonal(12, seed=seed + 1).astype(np.float32)))
    cross = (suspect.T @ candidate).astype(np.float64)
    found = refined(rough, cross, np.square(suspect).sum(0), np.square(candidate).sum(0), g)
    if np.array_equal(columns, np.arange(12)):
        assert found.trivial
    else:
        np.testing.assert_array_equal(found.columns, columns)  # type: ignore[arg-type]


def test_identity_is_kept_but_for_channels_that_are_clearly_negative() -> None:
    g = rng(0)
    candidate = matrix(g, 300, 16)
    suspect = candidate.copy()
    energies = np.square(suspect).sum(0), np.square(candidate).sum(0)
    assert refined(IN_PLACE, (suspect.T @ candidate).astype(np.float64), *energies, g).trivial
    suspect[:, 3] *= -1
    found = refined(IN_PLACE, (suspect.T @ candidate).astype(np.float64), *energies, g)
    assert found.signs is not None
    np.testing.assert_array_equal(np.flatnonzero(found.signs < 0), [3])
    unrelated = matrix(g, 300, 16)
    assert refined(IN_PLACE, (unrelated.T @ candidate).astype(np.float64), *energies, g).trivial


def test_a_permutation_that_moves_nothing_is_the_identity() -> None:
    assert from_basis(IDENTITY).trivial
    still = Basis("signed_permutation", np.arange(8), signs=np.ones(8, np.float32))
    assert from_basis(still).trivial
    assert from_basis(Basis("injection", np.arange(8), signs=np.ones(8, np.float32))).kind == "injected"


def test_hadamard_is_told_from_haar() -> None:
    two = np.array([[1, 1], [1, -1]])
    matrix_ = np.kron(np.kron(two, two), two) / np.sqrt(8)
    assert is_hadamard(matrix_.astype(np.float32))
    assert not is_hadamard(haar_orthogonal(8, seed=0).astype(np.float32))


@given(seeds, st.floats(0.05, 1.0))
def test_paired_scales_are_recovered(seed: int, spread: float) -> None:
    g = rng(seed)
    up, down = matrix(g, 40, 30), matrix(g, 40, 30)
    factor = np.exp(spread * g.standard_normal(40)).astype(np.float32)
    found = paired_scaling(up * factor[:, None], up, down / factor[:, None], down)
    assert found is not None
    np.testing.assert_allclose(found.factor, factor, rtol=1e-4)


@given(seeds)
def test_scales_of_one_side_alone_and_mere_changes_are_no_pairs(seed: int) -> None:
    g = rng(seed)
    up, down = matrix(g, 40, 30), matrix(g, 40, 30)
    factor = np.exp(0.5 * g.standard_normal(40)).astype(np.float32)
    assert paired_scaling(up * factor[:, None], up, down, down) is None
    assert paired_scaling(up + 0.1 * matrix(g, 40, 30), up, down + 0.1 * matrix(g, 40, 30), down) is None
    assert paired_scaling(up, up, down, down) is None


@given(seeds, st.floats(0.0, 0.5))
def test_units_are_found_again_under_noise(seed: int, noise: float) -> None:
    g = rng(seed)
    candidate = matrix(g, 60, 48)
    order = g.permutation(60)
    suspect = candidate[order] + noise * matrix(g, 60, 48)
    np.testing.assert_array_equal(match_units(suspect, candidate, g), order)


def test_units_stay_in_place_under_heavy_drift() -> None:
    g = rng(0)
    candidate = matrix(g, 192, 64)
    suspect = candidate + 1.2 * matrix(g, 192, 64)
    found = match_units(suspect, candidate, g)
    assert (found == np.arange(192)).mean() > 0.97


@given(seeds)
def test_heads_are_matched_whatever_was_done_inside_them(seed: int) -> None:
    g = rng(seed)
    candidate = matrix(g, 6, 8, 64)
    order = g.permutation(6)
    turned = np.stack([haar_orthogonal(8, seed=seed + h) @ candidate[o] for h, o in enumerate(order)])
    scores = overlap((turned.astype(np.float32),), (candidate,))
    assert scores[np.arange(6), order] == pytest.approx(np.ones(6), abs=1e-5)
    found = match_heads(scores, g)
    if np.array_equal(order, np.arange(6)):
        assert found is None
    else:
        np.testing.assert_array_equal(found, order)  # type: ignore[arg-type]


@given(seeds)
def test_unrelated_heads_stay_where_they_are(seed: int) -> None:
    g = rng(seed)
    scores = overlap((matrix(g, 6, 8, 64),), (matrix(g, 6, 8, 64),))
    assert scores.max() < 0.4


@given(seeds)
def test_value_channels_permuted_flipped_and_scaled_at_once(seed: int) -> None:
    g = rng(seed)
    v, o = matrix(g, 2, 8, 40), matrix(g, 2, 8, 80)
    index = np.stack([g.permutation(8) for _ in range(2)])
    factor = (np.exp(0.4 * g.standard_normal((2, 8))) * np.where(g.random((2, 8)) < 0.5, -1, 1)).astype(
        np.float32
    )
    v_s = np.take_along_axis(v, index[..., None], 1) * factor[..., None]
    o_s = np.take_along_axis(o, index[..., None], 1) / factor[..., None]
    found = match_values(v_s, v, o_s, o, g)
    assert found.mix is None
    assert found.index is not None
    np.testing.assert_array_equal(found.index, index)
    sign = np.ones((2, 8)) if found.sign is None else found.sign
    assert found.factor is not None
    np.testing.assert_allclose(sign * found.factor, factor, rtol=1e-4)


@given(seeds)
def test_drifted_values_are_not_called_turned(seed: int) -> None:
    g = rng(seed)
    v, o = matrix(g, 2, 8, 40), matrix(g, 2, 8, 80)
    found = match_values(v + 0.7 * matrix(g, 2, 8, 40), v, o + 0.7 * matrix(g, 2, 8, 80), o, g)
    assert found.index is None
    assert found.sign is None
    assert found.mix is None
    assert found.factor is None


@given(seeds, st.sampled_from(["neox", "interleaved"]))
def test_rotary_pairs_turned_and_scaled(seed: int, rope: str) -> None:
    g = rng(seed)
    k, q = matrix(g, 2, 8, 40), matrix(g, 2, 3, 8, 40)
    first, second = (
        (np.arange(4), np.arange(4, 8)) if rope == "neox" else (np.arange(0, 8, 2), np.arange(1, 8, 2))
    )
    angle, size = g.uniform(-3, 3, (2, 4)), np.exp(0.3 * g.standard_normal((2, 4)))

    def moved(rows: np.ndarray, a: np.ndarray, s: np.ndarray) -> np.ndarray:
        out = np.empty_like(rows)
        x, y = rows[..., first, :], rows[..., second, :]
        out[..., first, :] = s * (np.cos(a) * x - np.sin(a) * y)
        out[..., second, :] = s * (np.sin(a) * x + np.cos(a) * y)
        return out.astype(np.float32)

    k_s = moved(k, angle[..., None], size[..., None])
    q_s = moved(q, angle[:, None, :, None], 1 / size[:, None, :, None])
    found = match_pairs(q_s, q, k_s, k, rope)
    assert found.mix is not None
    assert found.factor is not None
    np.testing.assert_allclose((found.mix @ k) * found.factor[..., None], k_s, atol=1e-3)


@pytest.mark.parametrize("zero", ["suspect", "candidate", "both"])
@pytest.mark.parametrize("rope", ["neox", "interleaved"])
def test_keys_of_zeros_tell_no_scale(zero: str, rope: str) -> None:
    g = rng(3)
    k_s, k, q_s, q = (matrix(g, *shape, 8, 40) for shape in ((2,), (2,), (2, 3), (2, 3)))
    k_s, k = k_s * (zero == "candidate"), k * (zero == "suspect")
    found = match_pairs(q_s, q, k_s, k, rope)
    assert found.factor is None
    assert found.spread is None
