from __future__ import annotations

import numpy as np
import pytest

from filiation.origin import basis, polar
from filiation.origin.basis import IDENTITY, column_correlation, rotation, signed_permutation
from tests.origin.units import drawn


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_identity_changes_nothing() -> None:
    rows = drawn(0, 5, 8)
    assert IDENTITY.suspect(rows) is rows
    assert IDENTITY.candidate(rows) is rows


def test_a_signed_permutation_is_recovered() -> None:
    candidate = drawn(0, 200, 24)
    order, signs = rng().permutation(24), np.where(rng().random(24) < 0.5, -1, 1)
    suspect = (candidate[:, order] * signs + 0.2 * drawn(1, 200, 24)).astype(np.float32)
    found = signed_permutation(suspect, candidate, rng())
    assert found.columns is not None
    np.testing.assert_array_equal(found.columns, order)
    np.testing.assert_array_equal(found.signs, signs)
    assert found.agreement > 0.9
    np.testing.assert_allclose(found.suspect(suspect), found.candidate(candidate), atol=1.2)


def test_signs_are_left_alone_where_they_are_no_symmetry() -> None:
    candidate = drawn(0, 200, 12)
    found = signed_permutation(-candidate, candidate, rng(), signed=False)
    assert found.signs is None or (found.signs == 1).all()
    assert found.agreement < 0.3


@pytest.mark.parametrize("suspect_is_wider", [False, True])
def test_pruned_channels_are_an_injection(suspect_is_wider: bool) -> None:
    wide = drawn(0, 200, 24)
    kept = np.sort(rng().permutation(24)[:16])
    narrow = -wide[:, kept]
    suspect, candidate = (wide, narrow) if suspect_is_wider else (narrow, wide)
    found = signed_permutation(suspect, candidate, rng())
    assert found.kind == "injection"
    np.testing.assert_allclose(found.suspect(suspect), found.candidate(candidate), rtol=1e-5)


def test_a_rotation_is_recovered_and_a_stranger_agrees_with_nothing() -> None:
    candidate = drawn(0, 300, 16)
    turn = np.linalg.qr(drawn(1, 16, 16))[0]
    found = rotation(candidate @ turn.T, candidate)
    assert found.agreement > 0.99
    np.testing.assert_allclose(found.suspect(candidate @ turn.T), candidate, atol=1e-3)
    assert rotation(drawn(2, 300, 16), candidate).agreement < 0.2


@pytest.mark.parametrize("suspect_is_wider", [False, True])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_an_isometry_into_a_wider_stream_is_recovered(
    suspect_is_wider: bool, in_pieces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_pieces:
        monkeypatch.setattr(basis, "PRECISE", 8)
        monkeypatch.setattr(polar, "PRECISE", 8)
        monkeypatch.setattr(polar, "DECOMPOSED", 12)
    narrow = drawn(0, 300, 16)
    turn = np.linalg.qr(drawn(1, 24, 16))[0]
    wide = narrow @ turn.T
    suspect, candidate = (wide, narrow) if suspect_is_wider else (narrow, wide)
    found = rotation(suspect, candidate)
    assert found.matrix is not None
    assert found.matrix.shape == (suspect.shape[1], candidate.shape[1])
    assert found.agreement > 0.99
    np.testing.assert_allclose(found.suspect(suspect), found.candidate(candidate), atol=1e-3)
    assert rotation(drawn(2, 300, suspect.shape[1]), candidate).agreement < 0.2


@pytest.mark.parametrize("shape", [(60, 44), (44, 60)])
def test_a_wide_isometry_is_that_of_the_singular_vectors(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = (drawn(0, *shape) @ np.diag(np.geomspace(1, 1e-2, shape[1]))).astype(np.float32)
    left, _, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    monkeypatch.setattr(polar, "PRECISE", 16)
    monkeypatch.setattr(polar, "DECOMPOSED", 32)
    np.testing.assert_allclose(polar.nearest_rotation(matrix.copy()), left @ right, atol=1e-4)


def test_a_wide_rotation_is_found_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = drawn(0, 900, 16)
    suspect = candidate @ np.linalg.qr(drawn(1, 16, 16))[0].T
    exact = rotation(suspect, candidate)
    for module in (basis, polar):
        monkeypatch.setattr(module, "PRECISE", 8)
    found = rotation(suspect, candidate)
    assert found.matrix is not None
    assert exact.matrix is not None
    assert found.matrix.dtype == np.float32
    np.testing.assert_allclose(found.matrix, exact.matrix, atol=1e-5)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(16), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 700])
def test_column_correlations_are_those_of_numpy_for_any_number_of_rows(rows: int) -> None:
    a, b = drawn(0, max(rows, 2), 5), drawn(1, max(rows, 2), 6)
    expected = np.corrcoef(a.T, b.T)[:5, 5:]
    np.testing.assert_allclose(column_correlation(a, b), expected, atol=1e-5)
