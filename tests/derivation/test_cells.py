"""Cells of a lattice: plain rounding leaves every value in the candidate's cell, a change before it does not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from filiation.derivation.cells import CODEBOOKS, place
from filiation.derivation.lattice import find_gaps, find_lattice
from filiation.derivation.quantisers import GGML
from filiation.derivation.values import DISPLACED
from filiation.lab import derive as lab
from filiation.lab import recode
from tests.derivation.models import Model, base, derived, numbers, tuned


@cache
def weights(rows: int = 64, columns: int = 512) -> np.ndarray:
    return (0.02 * np.random.default_rng(0).standard_normal((rows, columns))).astype(np.float32)


@cache
def moved(level: float = 0.1) -> np.ndarray:
    """The same weights after a change of this relative size."""
    change = 0.02 * level * np.random.default_rng(1).standard_normal(weights().shape)
    return (weights() + change).astype(np.float32)


def ggml(values: np.ndarray, name: str) -> np.ndarray:
    kind = GGMLQuantizationType[name]
    return dequantize(quantize(values, kind), kind).reshape(values.shape)


def uneven(values: np.ndarray, name: str) -> np.ndarray:
    """Round to a codebook with one scale for each group, as a quantiser for it does."""
    book = CODEBOOKS[name]
    levels, groups = np.array(book.levels, np.float32), values.reshape(-1, book.group)
    scale = np.abs(groups).max(axis=1, keepdims=True) / np.abs(levels).max()
    nearest = np.abs((groups / scale)[..., None] - levels).argmin(axis=-1)
    return (levels[nearest] * scale).astype(np.float32).reshape(values.shape)


@pytest.mark.parametrize("name", [q.name for q in GGML])
def test_plain_rounding_displaces_hardly_anything(name: str) -> None:
    found = find_lattice(ggml(weights(), name), weights(), name)
    assert found is not None
    assert found.displaced is not None
    assert found.displaced < 0.01
    after = find_lattice(ggml(moved(), name), weights(), name)
    assert after is not None
    assert after.displaced is not None
    assert after.displaced > 2 * DISPLACED


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_the_same_for_integers_found_in_floats(bits: int) -> None:
    shown: list[Any] = [
        find_lattice(recode.round_to_lattice(values, bits, 64), weights(), "F32")
        for values in (weights(), moved())
    ]
    assert shown[0].displaced == 0.0
    assert shown[1].displaced > DISPLACED


@pytest.mark.parametrize("name", CODEBOOKS)
def test_uneven_levels_are_held_against_their_codebook(name: str) -> None:
    found: Any = find_lattice(uneven(weights(), name), weights(), name)
    assert found.displaced < 0.01
    assert found.error == pytest.approx(found.expected, rel=0.01)
    after: Any = find_lattice(uneven(moved(), name), weights(), name)
    assert after.displaced > DISPLACED
    assert after.error > after.expected


def test_values_off_a_codebook_are_not_placed_on_it() -> None:
    assert place(CODEBOOKS["IQ4_NL"], weights(), weights()) is None


def test_the_step_is_that_of_rounding_where_scales_are_multiples_of_one_number() -> None:
    """Q3_K: 16 values share a scale of 6 bits; all scales of 256 values are multiples of one number."""
    g = np.random.default_rng(2)
    scale = g.integers(8, 32, (64, 32, 1)) * 1e-3
    groups = np.clip(np.rint(weights().reshape(64, 32, 16) * 50 / scale), -4, 3)
    groups[:, :, :8] = np.arange(-4, 4)  # every level is used, so that the step shows
    values = (groups * scale).astype(np.float32).reshape(64, 512)
    found = find_gaps(values, "F32")
    assert found is not None
    assert found.group == 16
    assert np.median(found.step) == pytest.approx(np.median(scale), rel=0.01)


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_groups_that_run_over_row_ends_are_found(start: int) -> None:
    """NormalFloat blocks are cut from the matrix row by row, whatever its width, and a sample begins anywhere."""
    values = weights()[:, :96]
    rounded = recode.quantise_nf4({"w": np.ascontiguousarray(values)}, {})[0]["w"]
    found = find_lattice(rounded[start:], values[start:], "F32")
    assert found is not None
    assert found.name == "nf4/64"


def _with_gains_of(tensors: Model, other: Model) -> Model:
    return {n: other[0][n] if v.ndim == 1 else v for n, v in tensors[0].items()}, tensors[1]


def _scaled(model: Model, spread: float) -> Model:
    """Divide gains by what the readers' columns are multiplied by, as AWQ does before it rounds."""
    g = np.random.default_rng(3)
    out = {n: v.copy() for n, v in model[0].items()}
    for name in model[0]:
        if "layernorm" not in name:
            continue
        layer = name.rsplit(".", 2)[0]
        factor = np.exp(spread * g.standard_normal(out[name].shape)).astype(np.float32)
        out[name] = out[name] / factor
        readers = ("q_proj", "k_proj", "v_proj") if "input" in name else ("gate_proj", "up_proj")
        for other in out:
            if other.startswith(layer + ".") and any(r in other for r in readers):
                out[other] = out[other] * factor
    return out, model[1]


def test_trained_gains_bear_witness_for_what_lies_beneath_a_coarse_lattice() -> None:
    child = tuned(*base(), level=0.09)
    found = derived(recode.quantise(*child, bits=4), base())
    assert found.kinds == {"requantised", "fine_tuned"}
    assert numbers(found, "fine_tuned")["beneath"] == "quantisation"
    assert numbers(found, "fine_tuned")["median_relative_delta"] == pytest.approx(0.09, rel=0.4)
    assert numbers(found, "requantised")["displaced"] > DISPLACED


def test_without_them_error_feedback_explains_it_as_well() -> None:
    child = _with_gains_of(tuned(*base(), level=0.09), base())
    found = derived(recode.quantise(*child, bits=4), base())
    assert found.kinds == {"requantised", "cannot_tell"}
    assert numbers(found, "cannot_tell")["candidates"] == ["fine_tuned", "error_feedback_quantiser"]


@pytest.mark.parametrize(("bits", "other"), [(8, "noise_added"), (4, "error_feedback_quantiser")])
def test_noise_beneath_a_lattice_is_not_called_training(bits: int, other: str) -> None:
    found = derived(recode.quantise(*lab.add_noise(*base(), level=0.15, seed=1), bits=bits), base())
    assert found.kinds == {"requantised", "cannot_tell"}
    assert numbers(found, "cannot_tell")["candidates"] == ["fine_tuned", other]


@pytest.mark.parametrize("spread", [0.03, 0.3])
def test_gains_that_readers_undo_are_scaled_and_not_trained(spread: float) -> None:
    found = derived(recode.quantise(*_scaled(base(), spread), bits=4), base())
    assert "fine_tuned" not in found.kinds
    assert {"requantised", "rescaled"} <= found.kinds
    assert numbers(found, "rescaled", "gains")["norms"] > 0


def test_a_model_that_was_only_rounded_is_told_as_that() -> None:
    for bits in (4, 8):
        assert derived(recode.quantise(*base(), bits=bits), base()).kinds == {"requantised"}
