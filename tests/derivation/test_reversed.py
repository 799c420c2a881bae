"""The suspect is the model that the candidate was made from: told from the suspect to the candidate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from filiation.derivation import Derived, derive
from filiation.lab import derive as lab
from filiation.lab import launder
from filiation.origin.pairing import Plan
from tests.derivation.models import LAYERS, Model, anatomy, base, derived, examined, numbers, tokens, tuned

BLOCK = 32


def packed(model: Model, name: str) -> Any:
    """The model with its matrices in a GGUF kind."""
    kind = GGMLQuantizationType[name]
    tensors = {
        n: dequantize(quantize(v, kind), kind).reshape(v.shape) if v.ndim == 2 else v
        for n, v in model[0].items()
    }
    dtypes = {n: name if v.ndim == 2 else "F32" for n, v in tensors.items()}
    return anatomy((tensors, model[1]), dtypes=dtypes)


def told(suspect: Any, candidate: Any) -> Derived:
    plan, rows = Plan("0" * 64, whole=True), tokens(suspect, candidate)
    return derive(suspect, candidate, examined(suspect, candidate, plan), plan, rows, full=False)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0", "Q5_1"])
def test_the_original_against_its_quantised_copy(kind: str) -> None:
    found = told(anatomy(base()), packed(base(), kind))
    assert found.kinds == {"requantised"}
    shown = numbers(found, "requantised")
    assert (shown["lattice"], shown["from_file"], shown["exact"]) == (kind, True, 1.0)
    assert shown["reversed"] is True
    assert "derivation.reversed" in found.notes


def test_the_coarser_of_two_kinds_is_the_later_one() -> None:
    fine, coarse = packed(base(), "Q8_0"), packed(base(), "Q4_0")
    assert "reversed" not in numbers(told(coarse, fine), "requantised")
    shown = numbers(told(fine, coarse), "requantised")
    assert (shown["lattice"], shown["reversed"]) == ("Q4_0", True)


def test_a_model_trained_on_from_a_quantised_one_is_not_told_as_its_original() -> None:
    parent = packed(base(), "Q8_0")
    values = {name: parent.checkpoint.read(name) for name in parent.checkpoint.tensors}
    found = told(anatomy(tuned(values, base()[1], level=0.05)), parent)
    assert found.kinds == {"fine_tuned", "re_encoded"}


def test_a_lattice_that_the_candidate_left_says_nothing_of_the_suspect() -> None:
    """The suspect's floats lie on Q4_1, and the candidate was trained on from there: nothing was quantised."""
    kind = GGMLQuantizationType.Q4_1
    rounded = {
        n: dequantize(quantize(v, kind), kind).reshape(v.shape) if v.ndim == 2 else v
        for n, v in base()[0].items()
    }
    suspect = (rounded, base()[1])
    found = derived(suspect, tuned(*suspect, level=0.002))
    assert found.kinds == {"fine_tuned"}
    assert numbers(found, "fine_tuned")["median_relative_delta"] == pytest.approx(0.002, rel=0.5)


def test_a_deeper_suspect_whose_layers_were_dropped() -> None:
    found = derived(base(), lab.take_layers(*base(), [0, 1, 3, 5]))
    assert found.kinds == {"layers_changed"}
    shown = numbers(found, "layers_changed")
    assert shown["dropped"] == [2, 4]
    assert (shown["from"], shown["to"]) == (LAYERS, 4)
    assert shown["reversed"] is True


def test_inserted_blocks_are_not_turned_round() -> None:
    found = derived(lab.insert_blocks(*base(), [1, 3]), base())
    assert "blocks_inserted" in found.kinds
    assert "derivation.reversed" not in found.notes


def test_gains_near_zero_do_not_make_an_update_of_rounding() -> None:
    """Folded and rotated away in the candidate, a gain of nothing leaves nothing to take out again."""
    tensors = {n: v.copy() for n, v in base()[0].items()}
    g = np.random.default_rng(0)
    for values in tensors.values():
        if values.ndim == 1:
            values[g.permutation(len(values))[:3]] = 1e-6
    original = (tensors, base()[1])
    found = derived(original, launder.launder(*original, seed=3))
    assert found.kinds >= {"permuted", "rotated", "rescaled"}
    assert not found.kinds & {"fine_tuned", "low_rank_update", "noise_added", "cannot_tell"}
    computed = [d for d in found.deltas if d.equal is None]
    assert computed
    assert all(d.relative_delta == 0.0 for d in computed)


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_quantised_suspect_with_gains_near_zero_against_a_folded_candidate(kind: str) -> None:
    tensors = {n: v.copy() for n, v in base()[0].items()}
    for values in tensors.values():
        if values.ndim == 1:
            values[:BLOCK:8] = 1e-5
    found = told(packed((tensors, base()[1]), kind), anatomy(launder.fold_gains(tensors, base()[1])))
    assert {"requantised", "rescaled"} <= found.kinds
    assert not found.kinds & {"grafted", "fine_tuned", "sparsified"}
    shown = numbers(found, "requantised")
    assert shown["lattice"] == kind
    assert shown["exact"] > 0.98
