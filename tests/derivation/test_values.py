"""What happened to the values, with the right numbers; and the cases in which it cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.derivation.measure import spectrum_of
from filiation.derivation.rounding import rounding_level, stored_as
from filiation.lab import derive as lab
from filiation.lab import launder, recode
from tests.derivation.models import Model, base, demo, derived, numbers, stored, tuned


def _changes(child: Model, parent: Model) -> list[float]:
    pairs = [(child[0][n], parent[0][n]) for n in parent[0] if parent[0][n].ndim == 2]
    return [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs]


def test_size_of_a_fine_tune() -> None:
    child = tuned(*base(), level=0.03)
    shown = numbers(derived(child, base()), "fine_tuned")
    sizes = _changes(child, base())
    assert shown["median_relative_delta"] == pytest.approx(np.median(sizes), rel=1e-4)
    assert shown["max_relative_delta"] == pytest.approx(max(sizes), rel=1e-4)
    assert shown["tensors_changed"] == 43
    assert shown["tensors_equal"] == 0


def test_change_of_each_tensor() -> None:
    child = tuned(*base(), level=0.03)
    found = derived(child, base())
    for delta in found.deltas:
        a, b = child[0][delta.tensor], base()[0][delta.tensor]
        assert delta.relative_delta == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b), rel=1e-4)
        cosine = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
        assert delta.cosine == pytest.approx(cosine, abs=1e-5)
        assert delta.elements == a.size


@pytest.mark.parametrize("rank", [1, 4, 8])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_rank_of_a_merged_adapter(rank: int, dtype: str) -> None:
    child = lab.low_rank_update(*base(), rank=rank, level=0.05, seed=1)
    found = derived(child, (base()[0], base()[1]), dtype=dtype)
    assert found.kinds == {"low_rank_update"}
    shown = numbers(found, "low_rank_update")
    assert (shown["rank"], shown["roles"]) == (rank, ["q", "v"])
    assert (shown["tensors_changed"], shown["tensors_equal"]) == (12, 31)
    assert shown["median_relative_delta"] == pytest.approx(0.05, rel=0.02)
    ranks = {d.rank for d in found.deltas if d.role in ("q", "v")}
    assert ranks == {rank}
    assert {d.rank for d in found.deltas if d.role in ("k", "o", "up")} == {None}


def test_rank_is_found_after_laundering() -> None:
    child = launder.launder(*lab.low_rank_update(*base(), rank=4, level=0.05, seed=1), seed=2)
    found = derived(child, base())
    assert "low_rank_update" in found.kinds
    assert numbers(found, "low_rank_update")["rank"] == 4


@pytest.mark.parametrize("level", [0.005, 0.05, 0.3])
def test_level_of_noise(level: float) -> None:
    shown = numbers(derived(lab.add_noise(*base(), level=level, seed=1), base()), "noise_added")
    assert shown["level"] == pytest.approx(level, rel=0.03)
    assert shown["level_spread"] < 0.05


def test_white_noise_of_uneven_levels_might_be_training() -> None:
    g = np.random.default_rng(0)
    uneven = {
        n: v
        + (0.05 * np.exp(0.5 * g.standard_normal()) * v.std() * g.standard_normal(v.shape)).astype(np.float32)
        if v.ndim == 2
        else v
        for n, v in base()[0].items()
    }
    found = derived((uneven, base()[1]), base())
    assert found.kinds == {"cannot_tell"}
    assert numbers(found, "cannot_tell")["candidates"] == ["noise_added", "fine_tuned"]


def test_between_fine_tuning_and_continued_pretraining() -> None:
    shown = numbers(derived(tuned(*base(), level=0.29), base()), "cannot_tell")
    assert shown["candidates"] == ["fine_tuned", "continued_pretraining"]
    assert 0.2 < shown["median_relative_delta"] < 0.4


def test_weak_agreement_might_be_a_shared_initialisation() -> None:
    shown = numbers(derived(tuned(*base(), level=2.5), base()), "cannot_tell")
    assert shown["candidates"] == ["continued_pretraining", "shared_initialisation"]
    assert shown["cosine"] < 0.5


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.7])
def test_share_of_zeros(fraction: float) -> None:
    shown = numbers(derived(lab.sparsify(*base(), fraction=fraction), base()), "sparsified")
    assert shown["zeros"] == pytest.approx(fraction, abs=0.01)
    assert shown["survivors_equal"] == 1.0
    assert shown["by"] == "magnitude"
    assert shown["pattern"] == "unstructured"
    assert (shown["tensors"], shown["of"]) == (42, 43)  # the embedding was left alone


def test_zeros_that_do_not_follow_size() -> None:
    g = np.random.default_rng(0)
    cut = {n: np.where(g.random(v.shape) < 0.4, 0, v) if v.ndim == 2 else v for n, v in base()[0].items()}
    shown = numbers(derived((cut, base()[1]), base()), "sparsified")
    assert shown["by"] == "other"


def test_two_of_four() -> None:
    out = {}
    for name, value in base()[0].items():
        out[name] = value.copy()
        if value.ndim == 2:
            groups = out[name].reshape(len(value), -1, 4)
            np.put_along_axis(groups, np.argsort(np.abs(groups), axis=2)[:, :, :2], 0, 2)
    shown = numbers(derived((out, base()[1]), base()), "sparsified")
    assert shown["pattern"] == "2:4"
    assert shown["zeros"] == 0.5


def test_survivors_that_were_trained() -> None:
    found = derived(lab.sparsify(*tuned(*base(), level=0.03), fraction=0.4), base())
    shown = numbers(found, "sparsified")
    assert shown["survivors_equal"] == 0.0
    assert shown["survivors_relative_delta"] == pytest.approx(0.03, rel=0.5)
    # The change that is told as fine-tuning is that of the survivors: the zeros alone would make it 0.2 and more.
    assert numbers(found, "fine_tuned")["median_relative_delta"] < 0.06


def test_storing_in_a_coarser_type_is_no_change() -> None:
    found = derived(base(), base(), dtype="BF16", candidate_dtype="F32")
    assert found.kinds == {"re_encoded"}
    assert not any(d.rank for d in found.deltas)


def test_rounding_of_a_laundered_model_is_no_fine_tuning() -> None:
    found = derived(launder.launder(*base(), seed=1), base(), dtype="BF16", candidate_dtype="F32")
    assert "fine_tuned" not in found.kinds
    # What moving the candidate's weights and rounding them to bf16 leaves is no change, and is told as none.
    assert {d.relative_delta for d in found.deltas} == {0.0}


def test_fine_tuned_then_quantised() -> None:
    found = derived(recode.quantise(*tuned(*base(), level=0.09), bits=8), base())
    assert found.kinds == {"requantised", "fine_tuned"}
    beneath = numbers(found, "fine_tuned")
    assert beneath["beneath"] == "quantisation"
    assert beneath["median_relative_delta"] == pytest.approx(0.09, rel=0.3)


def test_small_change_beneath_a_coarse_lattice_cannot_be_told_from_error_feedback() -> None:
    tensors, settings = tuned(*base(), level=0.09)
    child = {n: base()[0][n] if v.ndim == 1 else v for n, v in tensors.items()}  # gains as they were
    found = derived(recode.quantise(child, settings, bits=4), base())
    assert found.kinds == {"requantised", "cannot_tell"}
    assert numbers(found, "cannot_tell")["candidates"] == ["fine_tuned", "error_feedback_quantiser"]


def test_really_trained_models() -> None:
    tuned_child = numbers(derived(demo("fine-tuned"), demo("base"), dtype="BF16"), "fine_tuned")
    assert tuned_child["median_relative_delta"] == pytest.approx(0.086, abs=0.01)
    on = numbers(derived(demo("continued"), demo("base"), dtype="BF16"), "continued_pretraining")
    assert on["median_relative_delta"] == pytest.approx(0.74, abs=0.05)


def test_really_trained_and_laundered() -> None:
    found = derived(demo("laundered"), demo("base"), dtype="BF16")
    assert found.kinds == {"permuted", "rotated", "rescaled", "fine_tuned", "settings_changed"}
    assert numbers(found, "fine_tuned")["median_relative_delta"] == pytest.approx(0.086, abs=0.01)
    only = derived(demo("laundered"), demo("fine-tuned"), dtype="BF16")
    assert only.kinds == {"permuted", "rotated", "rescaled", "settings_changed"}


def test_really_trained_twins_and_shared_initialisation() -> None:
    assert derived(demo("twin"), demo("base"), dtype="BF16").steps == ()
    same = derived(demo("same-init"), demo("base"), dtype="BF16")
    assert "permuted" not in same.kinds
    assert numbers(same, "cannot_tell")["candidates"] == ["continued_pretraining", "shared_initialisation"]


def test_spectrum_of_white_noise_and_of_an_adapter() -> None:
    g = np.random.default_rng(0)
    noise = spectrum_of(g.standard_normal((128, 400)).astype(np.float32))
    assert noise is not None
    assert noise.edge == pytest.approx(1.0, abs=0.06)
    assert noise.kurtosis == pytest.approx(3.0, abs=0.1)
    assert noise.unevenness == pytest.approx(1.0, abs=0.4)
    assert noise.rank == 128
    low = (g.standard_normal((128, 5)) @ g.standard_normal((5, 400))).astype(np.float32)
    adapter = spectrum_of(low)
    assert adapter is not None
    assert adapter.rank == 5
    assert adapter.tail < 1e-6
    assert spectrum_of(np.zeros((8, 8), np.float32)) is None


def test_the_cliff_may_lie_at_half_of_the_rank_a_matrix_could_have() -> None:
    g = np.random.default_rng(0)
    half = (g.standard_normal((32, 16)) @ g.standard_normal((16, 96))).astype(np.float32)
    found = spectrum_of(half + 1e-3 * g.standard_normal((32, 96)).astype(np.float32))
    assert found is not None
    assert (found.rank, found.of, found.cliff, found.low) == (16, 32, True, True)


def test_a_dominant_direction_is_no_low_rank() -> None:
    g = np.random.default_rng(0)
    strong = 20 * np.outer(g.standard_normal(96), g.standard_normal(128)) / np.sqrt(96)
    found = spectrum_of((strong + g.standard_normal((96, 128))).astype(np.float32))
    assert found is not None
    assert found.rank > 48


def test_rounding_levels() -> None:
    values = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    assert rounding_level(values, "F32") == 0.0
    assert rounding_level(values, "BF16") == pytest.approx(1.7e-3, rel=0.1)
    assert rounding_level(stored_as(values, "BF16"), "BF16") == 0.0
    assert rounding_level(np.zeros((2, 2), np.float32), "BF16") == 0.0
    np.testing.assert_array_equal(stored_as(values, "F16"), stored(values, "F16"))
