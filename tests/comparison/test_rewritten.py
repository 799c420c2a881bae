"""Networks written with other units: what they compute stays, and no unit holds what another one does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation
from filiation.lab import launder
from filiation.lab.derive import replace_embeddings
from filiation.lab.layout import Tensors
from filiation.lab.save import load_model
from filiation.origin.computed import COMPUTES_SAME, TRAINED_ALIKE
from filiation.origin.pairing import Plan
from tests.comparison.test_arranged import named, traced
from tests.comparison.test_without_effect import (
    FFN,
    LAYERS,
    MODELS,
    WIDTH,
    accused,
    compared,
    same_function,
    stranger,
)
from tests.derivation.models import Model, tuned
from tests.derivation.test_architectures import gpt2


def tuned_child() -> Model:
    """Fine-tuned: trained on further, layers compute less alike than other units need to stand for them."""
    return load_model(MODELS / "fine-tuned")


def split(model: Model) -> Model:
    """``silu(z) = silu(-z) + z``: each neuron becomes three others that do together what it did, in a new order."""
    tensors, config = dict(model[0]), model[1]
    for layer in range(LAYERS):
        gate, up, down = (tensors[named(layer, which)] for which in ("gate", "up", "down"))
        order = np.random.default_rng(layer).permutation(3 * len(gate))
        tensors[named(layer, "gate")] = np.concatenate([-gate, up, -up])[order]
        tensors[named(layer, "up")] = np.concatenate([up, gate, gate])[order]
        tensors[named(layer, "down")] = np.concatenate([down, down, -down], axis=1)[:, order]
    return tensors, {**config, "intermediate_size": len(tensors[named(0, "up")])}


def figures(found: filiation.Comparison) -> dict[str, float]:
    return {x.name: x.value for e in found.evidence if e.test == "history" for x in e.effect}


@pytest.mark.parametrize(
    "turned", [False, True], ids=["rewritten against accused", "accused against rewritten"]
)
def test_a_network_of_other_units_hides_no_child(turned: bool, tmp_path: Path) -> None:
    hidden = split(tuned_child())
    same_function(tuned_child(), hidden)
    found = compared(*((accused(), hidden) if turned else (hidden, accused())), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0
    told = (found.verdict.reason, *found.verdict.notes)
    kinds = {step.kind for step in found.verdict.derivation}
    if "networks_compute_same" in told:
        assert figures(found)["computed_alike"] >= COMPUTES_SAME
        assert figures(found)["weight_cosine"] < 0.5, "no unit holds the same"
        assert "networks_rewritten" in kinds
        assert "fine_tuned" not in kinds, "units that are no counterparts were not tuned"
    else:
        assert "names_exchanged" in told


def test_where_no_label_of_the_blocks_is_left_that_is_said(tmp_path: Path) -> None:
    hidden = launder.flip_value_signs(*launder.permute_value_channels(*split(tuned_child()), seed=1), seed=2)
    found = compared(accused(), hidden, tmp_path)
    assert found.verdict.relation is Relation.SHARED_PARTS
    assert found.verdict.reason == "order_and_signs_destroyed"
    assert found.verdict.inherited_share is None
    assert figures(found)["computed_alike"] >= COMPUTES_SAME


@pytest.mark.parametrize("name", ["twin", "same-init"])
def test_others_rewritten_the_same_way_come_no_nearer(name: str, tmp_path: Path) -> None:
    other = load_model(MODELS / name)
    found = compared(split(other), accused(), tmp_path)
    assert found.verdict.relation is not Relation.COMMON_ORIGIN
    assert "networks_compute_same" not in (found.verdict.reason, *found.verdict.notes)
    assert figures(found).get("computed_alike", 0.0) < TRAINED_ALIKE
    if name == "twin":
        assert found.verdict.relation in (Relation.NONE_FOUND, Relation.SUGGESTIVE)


def flipped(model: Model) -> Model:
    """``gelu(z) = gelu(-z) + z``: all rows are flipped, what is linear is carried by two more units a channel."""
    tensors, config = dict(model[0]), model[1]
    layers = config["n_layer"]
    for layer in range(layers):
        at = f"h.{layer}.mlp."
        read, bias, write = (
            tensors[at + n].astype(np.float64) for n in ("c_fc.weight", "c_fc.bias", "c_proj.weight")
        )
        rng = np.random.default_rng(layer)
        left, sizes, right = np.linalg.svd(read @ write)
        turn = np.linalg.qr(rng.standard_normal((len(sizes), len(sizes))))[0]
        first, last = left * np.sqrt(sizes) @ turn, turn.T @ (right * np.sqrt(sizes)[:, None])
        order = rng.permutation(read.shape[1] + 2 * len(sizes))
        changed = {
            "c_fc.weight": np.concatenate([-read, first, -first], axis=1)[:, order],
            "c_fc.bias": np.concatenate([-bias, np.zeros(2 * len(sizes))])[order],
            "c_proj.weight": np.concatenate([write, last, -last])[order],
            "c_proj.bias": tensors[at + "c_proj.bias"] + bias @ write,
        }
        tensors |= {at + name: value.astype(np.float32) for name, value in changed.items()}
    return tensors, {**config, "n_inner": len(tensors["h.0.mlp.c_fc.bias"])}


@pytest.mark.parametrize(
    "turned", [False, True], ids=["parent against rewritten", "rewritten against parent"]
)
def test_flipped_units_of_an_ungated_model_hide_no_child(turned: bool, tmp_path: Path) -> None:
    parent, hidden = gpt2(), flipped(tuned(*gpt2(), level=0.1))
    found = compared(*((hidden, parent) if turned else (parent, hidden)), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.reason == "networks_compute_same"
    assert compared(gpt2(3), hidden, tmp_path).verdict.relation in (Relation.NONE_FOUND, Relation.SUGGESTIVE)


# Where no basis is common.


def rotated_neurons_of(other: Tensors, model: Model, own: int, scale: float = 1e-6) -> Model:
    """Keep ``own`` of a model's neurons, and put idle ones of another in the other numbers, turned round together."""
    tensors, config = dict(model[0]), model[1]
    turn = np.linalg.qr(np.random.default_rng(7).standard_normal((WIDTH, WIDTH)))[0]
    for layer in range(LAYERS):
        norm = f"model.layers.{layer}.post_attention_layernorm.weight"
        loud = np.argsort(-np.linalg.norm(tensors[named(layer, "down")], axis=0))[:own]
        for which in ("gate", "up", "down"):
            name = named(layer, which)
            if which == "down":
                theirs, mine, axis = turn.T @ other[name] * scale, tensors[name][:, loud], 1
            else:
                theirs, mine, axis = (
                    (other[name] * other[norm]) @ turn / tensors[norm],
                    tensors[name][loud],
                    0,
                )
            theirs = np.take(theirs, range(FFN - own), axis=axis)
            tensors[name] = np.concatenate([theirs, mine], axis=axis).astype(np.float32)
    return replace_embeddings(tensors, config, seed=5, vocab=900)


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
@pytest.mark.parametrize("own", [48, 24])
def test_idle_neurons_in_a_basis_of_their_own_make_no_shared_parts(
    own: int, turned: bool, tmp_path: Path
) -> None:
    framer = rotated_neurons_of(accused()[0], stranger(), own)
    found = compared(*((accused(), framer) if turned else (framer, accused())), tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.inherited_share is None
    assert figures(found)["partners_agree"] < 0.05


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_nor_in_a_sampled_reading(turned: bool) -> None:
    framer = rotated_neurons_of(accused()[0], stranger(), 48)
    history, finding = traced(
        *((accused(), framer) if turned else (framer, accused())), Plan("0" * 64, whole=False)
    )
    assert finding.relation is Relation.SUGGESTIVE
    assert (history.partners_agree or 0.0) < 0.05


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
def test_a_child_in_a_basis_of_its_own_keeps_its_parts(whole: bool) -> None:
    hidden = replace_embeddings(
        *launder.rotate_residual(*launder.fold_gains(*tuned_child()), seed=3), seed=5, vocab=900
    )
    history, finding = traced(hidden, accused(), Plan("0" * 64, whole=whole))
    assert finding.relation is Relation.SHARED_PARTS
    assert finding.reasons[0] == "one_label_set_only"
    assert (history.partners_agree or 0.0) > 0.8
