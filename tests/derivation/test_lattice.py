"""Quantisation lattices: found in values, held against what the quantiser makes, and not found where there is none."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st

from filiation.derivation import derive
from filiation.derivation.lattice import find_gaps, find_lattice
from filiation.derivation.quantisers import GGML, NF4_LEVELS, QUANTISERS, by_name
from filiation.lab import recode
from filiation.origin.pairing import Plan
from tests.derivation.models import (
    Model,
    anatomy,
    base,
    demo,
    derived,
    examined,
    numbers,
    stored,
    tokens,
    tuned,
)

FLOATS = ("F32", "F16", "BF16")


@cache
def weights(seed: int = 0, rows: int = 64, columns: int = 512) -> np.ndarray:
    values = 0.02 * np.random.default_rng(seed).standard_normal((rows, columns))
    return stored(values.astype(np.float32), "BF16")


def ggml(values: np.ndarray, name: str) -> np.ndarray:
    kind = GGMLQuantizationType[name]
    return dequantize(quantize(values, kind), kind).reshape(values.shape)


def affine(values: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Scales from the range, any zero point: what AWQ, GPTQ and K-quants dequantise to."""
    grouped = values.reshape(-1, group)
    low, high = grouped.min(1, keepdims=True), grouped.max(1, keepdims=True)
    step = (high - low) / (2**bits - 1)
    return (np.rint((grouped - low) / step) * step + low).reshape(values.shape).astype(np.float32)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("quantiser", GGML, ids=lambda q: q.name)
def test_gguf_blocks_stored_as_floats(quantiser: Any, dtype: str) -> None:
    found = find_lattice(stored(ggml(weights(), quantiser.name), dtype), weights(), dtype)
    assert found is not None
    if (quantiser.name, dtype) != (
        "Q8_0",
        "BF16",
    ):  # there the scale itself was rounded: an 8-bit lattice, no more
        assert found.name == quantiser.name
    assert found.bits == quantiser.bits
    assert found.group == 32
    assert found.exact is not None
    assert found.exact > 0.99
    assert not found.stored
    assert not found.inherited


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("bits", "group"), [(8, 64), (8, 128), (6, 32), (4, 64), (4, 128), (3, 32)])
def test_absmax_integers(bits: int, group: int, dtype: str) -> None:
    rounded = recode.round_to_lattice(weights(), bits, group)
    found = find_lattice(stored(rounded, dtype), weights(), dtype)
    assert found is not None
    assert (found.bits, found.group) == (bits, group)
    assert found.in_steps == pytest.approx(0.287, abs=0.015)
    assert found.expected is not None
    assert found.error == pytest.approx(found.expected, rel=0.06)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nf4(dtype: str) -> None:
    child, _ = recode.quantise_nf4({"w": weights()}, {})
    found = find_lattice(stored(child["w"], dtype), weights(), dtype)
    assert found is not None
    assert (found.name, found.exact) == ("nf4/64", 1.0)


@pytest.mark.parametrize(
    ("bits", "group", "dtype"),
    [
        (4, 128, "F32"),
        (4, 128, "F16"),
        (4, 128, "BF16"),
        (3, 16, "F32"),
        (3, 16, "BF16"),
        (6, 16, "F16"),
        (8, 128, "F32"),
    ],
)
def test_lattices_of_free_scales_and_offsets(bits: int, group: int, dtype: str) -> None:
    found = find_lattice(stored(affine(weights(), bits, group), dtype), weights(), dtype)
    assert found is not None
    assert (found.name, found.bits, found.group) == (f"uniform/{group}", bits, group)
    assert found.in_steps == pytest.approx(0.285, abs=0.03)
    assert found.exact is None


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("seed", range(6))
def test_free_values_lie_on_no_lattice(seed: int, dtype: str) -> None:
    values = weights(seed)
    assert find_lattice(stored(values * 1.37, dtype), values, dtype) is None


@pytest.mark.parametrize("name", ["base", "twin", "continued"])
def test_trained_values_lie_on_no_lattice(name: str) -> None:
    for key, values in demo(name)[0].items():
        if values.ndim == 2:
            assert find_lattice(values, values, "BF16") is None, key


def test_zeros_do_not_make_a_lattice() -> None:
    values = weights().copy()
    values[np.abs(values) < np.quantile(np.abs(values), 0.4)] = 0
    assert find_lattice(values, weights(), "BF16") is None


def test_a_lattice_that_the_candidate_lies_on_already_is_inherited() -> None:
    coarse = ggml(weights(), "Q4_0")
    moved = coarse.copy()
    moved[:8] = ggml(weights(3), "Q4_0")[:8]
    found = find_lattice(moved, coarse, "F32")
    assert found is not None
    assert found.inherited


@given(st.sampled_from(QUANTISERS), st.integers(0, 1000))
def test_quantisers_leave_their_own_output_alone(quantiser: Any, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((4, 256)).astype(np.float32)
    once, step = quantiser.round(values)
    again, _ = quantiser.round(once)
    assert once.shape == step.shape == values.shape
    assert (step >= 0).all()
    near = np.abs(once - again) <= 0.02 * np.where(step > 0, step, 1)
    assert near.mean() >= 0.995  # float16 scales of GGUF blocks may move the last digit


@given(st.integers(2, 6), st.sampled_from([32, 64, 128]), st.integers(0, 1000))
def test_steps_read_off_the_gaps(bits: int, group: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((32, 256)).astype(np.float32)
    rounded = affine(values, bits, group)
    found = find_gaps(rounded, "F32")
    assert found is not None
    assert found.group == group
    grouped = values.reshape(-1, group)
    step = (grouped.max(1) - grouped.min(1)) / (2**bits - 1)
    read = found.step.reshape(-1, group)[:, 0]
    known = read > 0  # a group that uses fewer than four levels does not tell
    assert known.mean() > 0.95
    np.testing.assert_allclose(read[known], step[known], rtol=0.01)
    assert found.levels == 2**bits


def test_levels_of_nf4_are_the_published_ones() -> None:
    np.testing.assert_array_equal(NF4_LEVELS, recode.NF4_LEVELS)


def test_kinds_without_a_quantiser_have_none() -> None:
    assert by_name("Q6_K") is None
    assert by_name("Q4_0") is not None


@pytest.mark.parametrize("bits", [8, 4])
def test_requantised_child_says_what_was_made_of_it(bits: int) -> None:
    shown = numbers(derived(recode.quantise(*base(), bits=bits), base()), "requantised")
    assert (shown["lattice"], shown["bits"], shown["group"]) == (f"int{bits}/32", bits, 32)
    assert shown["tensors"] == shown["of"] == 43
    assert shown["exact"] == 1.0
    assert shown["error"] == pytest.approx(shown["expected_error"], rel=1e-6)
    assert not shown["from_file"]


def _gguf_child(model: Model, kinds: dict[str, str]) -> Any:
    tensors = {n: ggml(v, kinds[n]) if n in kinds else v for n, v in model[0].items()}
    dtypes = {n: kinds.get(n, "F32") for n in tensors}
    return anatomy((tensors, model[1]), dtypes=dtypes)


def _told(suspect: Any, candidate: Any) -> Any:
    plan, rows = Plan("0" * 64, whole=True), tokens(suspect, candidate)
    return derive(suspect, candidate, examined(suspect, candidate, plan), plan, rows, full=False)


@pytest.mark.parametrize("kind", [q.name for q in GGML])
def test_stored_kind_is_checked_value_by_value(kind: str) -> None:
    matrices = {n: kind for n, v in base()[0].items() if v.ndim == 2}
    found = _told(_gguf_child(base(), matrices), anatomy(base()))
    assert found.kinds == {"requantised"}
    shown = numbers(found, "requantised")
    assert (shown["lattice"], shown["from_file"], shown["exact"]) == (kind, True, 1.0)


def test_mixed_kinds_are_counted() -> None:
    kinds = {n: "Q8_0" if "embed" in n else "Q4_0" for n, v in base()[0].items() if v.ndim == 2}
    shown = numbers(_told(_gguf_child(base(), kinds), anatomy(base())), "requantised")
    assert shown["lattice"] == "Q4_0"
    assert shown["lattices"] == {"Q4_0": 42, "Q8_0": 1}


def test_requantised_child_of_a_fine_tune_is_both() -> None:
    child = tuned(*base(), level=0.05)
    kinds = {n: "Q8_0" for n, v in base()[0].items() if v.ndim == 2}
    found = _told(_gguf_child(child, kinds), anatomy(base()))
    assert found.kinds == {"requantised", "fine_tuned"}
    assert numbers(found, "fine_tuned")["median_relative_delta"] == pytest.approx(0.05, rel=0.4)
    assert numbers(found, "requantised")["exact"] < 0.5


def test_equal_stored_kinds_are_no_requantisation() -> None:
    kinds = {n: "Q4_0" for n, v in base()[0].items() if v.ndim == 2}
    one, other = _gguf_child(base(), kinds), _gguf_child(base(), kinds)
    assert _told(one, other).kinds == {"identical"}


def test_a_kind_whose_quantiser_is_not_at_hand_is_measured_in_steps() -> None:
    tensors = {n: affine(v, 4, 32) if v.ndim == 2 else v for n, v in base()[0].items()}
    dtypes = {n: "GPTQ4" if v.ndim == 2 else "F16" for n, v in tensors.items()}
    shown = numbers(_told(anatomy((tensors, base()[1]), dtypes=dtypes), anatomy(base())), "requantised")
    assert (shown["lattice"], shown["bits"], shown["group"]) == ("GPTQ4", 4, 32)
    assert shown["error_in_steps"] == pytest.approx(0.28, abs=0.03)
    assert "exact" not in shown
