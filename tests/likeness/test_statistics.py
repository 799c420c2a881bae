"""Published statistics: right on cases with a known answer, always beside a background, never exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation import likeness
from filiation.anatomy import Anatomy, dissect
from filiation.evidence import Evidence, Scale, Status
from filiation.lab import derive, launder
from filiation.lab.layout import Config, Tensors
from filiation.likeness import sigma
from filiation.likeness.cka import unbiased_cka
from filiation.likeness.sigma import EXCEEDANCE, SigmaCurve, exceedance, standardised, stretched
from filiation.origin import TESTS
from filiation.origin.examine import examine
from filiation.origin.pairing import Plan, TokenRows
from tests.lab import models
from tests.support import memory_checkpoint

PLAN = Plan("likeness", whole=True)
TOKENS = TokenRows(np.arange(200), np.arange(200), by_string=False)


@pytest.fixture(autouse=True)
def _sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VOCAB": 200, "WIDTH": 48, "LAYERS": 6, "DIM": 12, "FFN": 96}.items():
        monkeypatch.setattr(models, name, value)


def anatomy(made: tuple[Tensors, Config]) -> Anatomy:
    return dissect(memory_checkpoint(*made))


def measured(suspect: tuple[Tensors, Config], candidate: tuple[Tensors, Config]) -> dict[str, Evidence]:
    s, c = anatomy(suspect), anatomy(candidate)
    found = examine(s, c, "language", PLAN, TOKENS, TESTS)
    return {e.test: e for e in likeness.measure(found, PLAN, TOKENS, full=False, number=0).evidence}


def test_a_model_is_like_itself() -> None:
    made = models.llama(1)
    found = measured(made, made)
    assert set(found) == {s.name for s in likeness.STATISTICS}
    for evidence in found.values():
        assert evidence.status is Status.APPLIED
        assert evidence.statistic == pytest.approx(1.0, abs=1e-6)


def test_independent_models_are_unlike_where_the_statistic_is_centred() -> None:
    found = measured(models.llama(1), models.llama(2))
    assert abs(found["cka"].statistic or 0) < 0.05
    assert abs(found["norm_correlation"].statistic or 0) < 0.3
    assert (found["neuron_match"].statistic or 0) < 0.1


def test_rotation_is_undone_for_cka_and_said_for_gains() -> None:
    parent = models.llama(1)
    found = measured(launder.rotate_residual(*parent, seed=5), parent)
    assert found["cka"].statistic == pytest.approx(1.0, abs=1e-3)
    assert found["norm_correlation"].status is Status.NOT_MEASURED
    assert found["norm_correlation"].reason == "channels_rotated"
    assert found["embedding_geometry"].statistic == pytest.approx(1.0, abs=1e-3)


def test_no_statistic_is_exact_and_none_has_an_e_value() -> None:
    for evidence in measured(models.llama(1), models.llama(1)).values():
        assert evidence.scale is Scale.CALIBRATED
        assert evidence.log10_e is None
        assert evidence.cannot_show


def test_a_shared_recipe_is_likened_by_spectra_and_not_by_cka() -> None:
    """Two random models of one shape have one spectrum: why spectra are no evidence."""
    found = measured(models.llama(1), models.llama(2))
    assert (found["spectra"].statistic or 0) > 0.9
    assert found["spectra"].background is not None


def test_unequal_depth_is_interpolated() -> None:
    parent = models.llama(1)
    found = measured(derive.take_layers(*parent, layers=[0, 1, 2, 4, 5]), parent)
    assert found["sigma_curve"].status is Status.APPLIED
    assert found["sigma_curve"].n == 5


def test_too_few_layers_is_a_reason_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "LAYERS", 3)
    made = models.llama(1)
    assert measured(made, made)["sigma_curve"].reason == "too_few_layers"


def test_a_budget_keeps_bytes_for_the_exact_tests() -> None:
    made = models.llama(1)
    found = examine(anatomy(made), anatomy(made), "language", PLAN, TOKENS, TESTS)
    poor = Plan("likeness", whole=True, budget=10**9)
    kept = {e.test: e.reason for e in likeness.measure(found, poor, TOKENS, full=False, number=0).evidence}
    assert kept["sigma_curve"] == "kept_for_exact_tests"
    assert kept["neuron_match"] is None


def test_sigma_curves_are_handed_to_the_figure() -> None:
    made = models.llama(1)
    found = examine(anatomy(made), anatomy(made), "language", PLAN, TOKENS, TESTS)
    curves = likeness.measure(found, PLAN, TOKENS, full=False, number=2).curves
    assert [c["name"] for c in curves] == ["sigma_q", "sigma_k", "sigma_v", "sigma_o"]
    assert all(
        (len(c["suspect"]) == 6 and c["candidate"] == c["suspect"]) or c["candidate"] == 2 for c in curves
    )


@given(st.integers(4, 40), st.integers(4, 40))
def test_stretching_keeps_ends_and_equalises_length(a: int, b: int) -> None:
    first, second = stretched(np.linspace(0, 1, a), np.linspace(2, 5, b))
    assert len(first) == len(second) == max(a, b)
    assert (first[0], first[-1], second[0], second[-1]) == pytest.approx((0, 1, 2, 5))


def test_standardised_curve_has_mean_zero_and_unit_spread() -> None:
    curve = np.array(standardised(np.array([1.0, 2.0, 4.0, 8.0])))
    assert curve.mean() == pytest.approx(0, abs=1e-3)
    assert curve.std() == pytest.approx(1, abs=1e-3)


def test_exceedance_falls_as_the_value_rises() -> None:
    shares = [exceedance(line) for line, _ in EXCEEDANCE]
    assert shares == sorted(shares, reverse=True)
    assert exceedance(0.3) == 1.0
    assert SigmaCurve.background.n_pairs == 3685


@given(st.integers(0, 2**31))
def test_cka_is_one_for_any_rotation_and_scale_of_the_outputs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((20, 12))
    turn = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    assert unbiased_cka(x, 3.0 * turn @ x) == pytest.approx(1.0, abs=1e-9)


def test_cka_of_independent_matrices_averages_zero() -> None:
    rng = np.random.default_rng(0)
    values = [unbiased_cka(rng.standard_normal((30, 40)), rng.standard_normal((30, 40))) for _ in range(200)]
    assert abs(float(np.mean(values))) < 4 * float(np.std(values)) / np.sqrt(200)


@pytest.mark.parametrize("size", [1, 10, 97, 100])
def test_a_deviation_is_joined_from_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = (5 + np.random.default_rng(size).standard_normal((size, 7))).astype(np.float32)
    monkeypatch.setattr(sigma, "PIECE", 30)
    assert sigma.deviation(matrix) == pytest.approx(float(matrix.std(dtype=np.float64)), rel=1e-12)


def test_a_full_reading_of_a_large_model_says_what_a_reading_in_turn_says() -> None:
    s, c = anatomy(models.llama(1)), anatomy(models.llama(2))
    large = Plan("likeness", whole=False)
    found = examine(s, c, "language", large, TOKENS, TESTS)
    side_by_side = likeness.measure(found, large, TOKENS, full=True, number=0)
    best = found.best
    assert best is not None
    subject = likeness.Subject(best.pairing, large, TOKENS, 0, None, best.pairing.layers)
    assert len(best.pairing.layers) <= likeness.MOST_LAYERS
    for statistic, evidence in zip(likeness.STATISTICS, side_by_side.evidence, strict=True):
        assert evidence.test == statistic.name
        assert evidence.statistic == statistic.measure(subject).value
