"""Every planted child is told as what it is, and as nothing else: each kind's finding and its negatives at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from filiation.derivation import KINDS, Derived
from filiation.lab import derive as lab
from filiation.lab import launder, recode
from tests.derivation.models import LAYERS, Model, base, derived, tuned

FOLDED = {"rescaled", "settings_changed"}  # folding the final gain unties the head


def _mixtral(noise: float = 0.5) -> Model:
    return lab.upcycle(*base(), experts=4, active=2, noise=noise, seed=3)


def _grafted() -> Model:
    return lab.graft(base()[0], base(9)[0], base()[1], layers=[1, 4])


def _cut_in_half(model: Model) -> Model:
    """Keep the two larger of every four neighbouring inputs."""
    out = {}
    for name, value in model[0].items():
        out[name] = value.copy()
        if value.ndim == 2 and "embed" not in name:
            groups = out[name].reshape(len(value), -1, 4)
            np.put_along_axis(groups, np.argsort(np.abs(groups), axis=2)[:, :, :2], 0, 2)
    return out, model[1]


def _other_settings() -> Model:
    return base()[0], {**base()[1], "rope_theta": 1e6, "max_position_embeddings": 4096}


# name -> (the child, the kinds it must be told as)
CHILDREN: dict[str, tuple[Callable[[], Model], set[str]]] = {
    "itself": (lambda: base(), {"identical"}),
    "fine-tuned": (lambda: tuned(*base(), level=0.03), {"fine_tuned"}),
    "trained on": (lambda: tuned(*base(), level=0.7), {"continued_pretraining"}),
    "trained on a little": (lambda: tuned(*base(), level=0.29), {"cannot_tell"}),
    "gains alone": (
        lambda: ({k: v * 1.05 if v.ndim == 1 else v for k, v in base()[0].items()}, base()[1]),
        {"fine_tuned"},
    ),
    "adapter merged": (lambda: lab.low_rank_update(*base(), rank=4, level=0.05, seed=1), {"low_rank_update"}),
    "noise": (lambda: lab.add_noise(*base(), level=0.1, seed=1), {"noise_added"}),
    "little noise": (lambda: lab.add_noise(*base(), level=0.005, seed=1), {"noise_added"}),
    "sparsified": (lambda: lab.sparsify(*base(), fraction=0.5), {"sparsified"}),
    "sparsified 2:4": (lambda: _cut_in_half(base()), {"sparsified"}),
    "sparsified, tuned": (
        lambda: lab.sparsify(*tuned(*base(), level=0.03), fraction=0.4),
        {"sparsified", "fine_tuned"},
    ),
    "8 bits": (lambda: recode.quantise(*base(), bits=8), {"requantised"}),
    "4 bits": (lambda: recode.quantise(*base(), bits=4), {"requantised"}),
    "nf4": (lambda: recode.quantise_nf4(*base()), {"requantised"}),
    "layers dropped": (lambda: lab.take_layers(*base(), [0, 1, 3, 5]), {"layers_changed"}),
    "layers repeated": (lambda: lab.take_layers(*base(), [0, 1, 2, 3, 2, 3, 4, 5]), {"layers_changed"}),
    "layers swapped": (lambda: lab.take_layers(*base(), [0, 2, 1, 3, 4, 5]), {"layers_changed"}),
    "blocks inserted": (lambda: lab.insert_blocks(*base(), [1, 3]), {"blocks_inserted"}),
    "neurons pruned": (lambda: lab.prune_ffn(*base(), units=128, seed=1), {"width_pruned"}),
    "channels pruned": (lambda: lab.prune_residual(*base(), channels=48, seed=1), {"width_pruned"}),
    "kv heads pooled": (lambda: lab.pool_kv_heads(*base(), kv_heads=1), {"heads_converted"}),
    "kv heads repeated": (lambda: lab.repeat_kv_heads(*base(), kv_heads=4), {"heads_converted"}),
    "upcycled": (lambda: _mixtral(0.05), {"moe_upcycled", "noise_added"}),
    "vocabulary pruned": (
        lambda: lab.take_tokens(*base(), np.arange(0, 512, 2)),
        {"vocabulary_changed"},
    ),
    "vocabulary extended": (
        lambda: lab.extend_vocabulary(*base(), tokens=40, seed=1),
        {"vocabulary_changed"},
    ),
    "vocabulary replaced": (
        lambda: lab.replace_embeddings(*base(), seed=1, vocab=300),
        {"vocabulary_changed"},
    ),
    "grafted": (_grafted, {"grafted"}),
    "neurons permuted": (lambda: launder.permute_ffn(*base(), seed=1), {"permuted"}),
    "neurons flipped": (lambda: launder.flip_ffn_signs(*base(), seed=1), {"rescaled"}),
    "channels permuted": (lambda: launder.permute_residual(*base(), seed=1), {"permuted"}),
    "channels permuted, flipped": (
        lambda: launder.signed_permutation(*base(), seed=1),
        {"permuted", "rescaled"},
    ),
    "value channels permuted": (lambda: launder.permute_value_channels(*base(), seed=1), {"permuted"}),
    "value channels flipped": (lambda: launder.flip_value_signs(*base(), seed=1), {"rescaled"}),
    "heads permuted": (lambda: launder.permute_heads(*base(), seed=1), {"permuted"}),
    "gains folded": (lambda: launder.fold_gains(*base()), FOLDED),
    "rotated": (lambda: launder.rotate_residual(*base(), seed=1), {"rotated", *FOLDED}),
    "neurons rescaled": (lambda: launder.rescale_ffn_units(*base(), seed=1), {"rescaled"}),
    "values rescaled": (lambda: launder.rescale_value_channels(*base(), seed=1), {"rescaled"}),
    "queries, keys rescaled": (lambda: launder.rescale_queries_and_keys(*base(), seed=1), {"rescaled"}),
    "laundered": (lambda: launder.launder(*base(), seed=1), {"permuted", "rotated", *FOLDED}),
    "laundered, tuned": (
        lambda: launder.launder(*tuned(*base(), level=0.03), seed=1),
        {"permuted", "rotated", "fine_tuned", *FOLDED},
    ),
    "fused": (lambda: recode.fuse_projections(*base()), {"re_encoded"}),
    "other settings": (_other_settings, {"settings_changed"}),
    "layers dropped, tuned": (
        lambda: tuned(*lab.take_layers(*base(), [0, 1, 3, 4]), level=0.03),
        {"layers_changed", "fine_tuned"},
    ),
    "blocks inserted, tuned": (
        lambda: tuned(*lab.insert_blocks(*base(), [1, 3]), level=0.03),
        {"blocks_inserted", "fine_tuned"},
    ),
    "pruned, tuned": (
        lambda: tuned(*lab.prune_ffn(*base(), units=128, seed=1), level=0.03),
        {"width_pruned", "fine_tuned"},
    ),
}


@cache
def told(name: str) -> Derived:
    return derived(CHILDREN[name][0](), base())


@pytest.mark.parametrize("name", CHILDREN)
def test_child_is_told_as_what_it_is_and_nothing_else(name: str) -> None:
    assert told(name).kinds == CHILDREN[name][1]


@pytest.mark.parametrize("name", ["fine-tuned", "laundered, tuned", "4 bits", "layers dropped, tuned"])
def test_the_same_holds_when_weights_are_stored_in_bfloat16(name: str) -> None:
    child, kinds = CHILDREN[name]
    assert derived(child(), base(), dtype="BF16").kinds == kinds


def test_dense_model_taken_out_of_a_mixture() -> None:
    mixture = _mixtral()
    found = derived(lab.extract_dense(*mixture, expert=2), mixture)
    assert found.kinds == {"moe_extracted"}


def test_experts_permuted() -> None:
    mixture = _mixtral()
    found = derived(launder.permute_experts(*mixture, seed=1), mixture)
    assert found.kinds == {"permuted"}
    assert {s.numbers["what"] for s in found.steps} == {"experts"}


def test_steps_come_in_the_order_in_which_they_are_told() -> None:
    for name in CHILDREN:
        places = [KINDS.index(step.kind) for step in told(name).steps]
        assert places == sorted(places)


def test_every_kind_of_this_walk_is_planted_somewhere() -> None:
    planted = set().union(*(kinds for _, kinds in CHILDREN.values()))
    elsewhere = {"moe_extracted", "merged", "renamed", "networks_rewritten"}  # their own tests
    assert planted | elsewhere == set(KINDS)


@pytest.mark.parametrize("seed", [9, 10, 11])
def test_nothing_is_said_of_an_independent_model(seed: int) -> None:
    found = derived(base(seed), base())
    assert found.steps == ()
    assert found.notes == ("derivation.no_part_agrees",)


def test_nothing_is_said_of_independent_models_that_were_changed_too() -> None:
    for name in ("laundered", "4 bits", "layers dropped", "sparsified", "upcycled"):
        assert derived(CHILDREN[name][0](), base(9)).steps == (), name


def test_all_layers_are_measured() -> None:
    layers = {d.layer for d in told("fine-tuned").deltas if d.layer is not None}
    assert layers == set(range(LAYERS))
