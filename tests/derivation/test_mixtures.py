"""Mixtures of experts made from a dense model, and dense models taken out of a mixture."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab import derive as lab
from filiation.lab import launder
from tests.derivation.models import LAYERS, Model, base, derived, numbers, tuned


def _mixtral(noise: float) -> Model:
    return lab.upcycle(*base(), experts=4, active=2, noise=noise, seed=3)


def test_every_expert_is_mapped_to_the_dense_block() -> None:
    shown = numbers(derived(_mixtral(0.05), base()), "moe_upcycled")
    assert shown["experts"] == shown["inherited"] == 4
    assert [row["expert"] for row in shown["expert_map"]] == [0, 1, 2, 3]
    for row in shown["expert_map"]:
        assert row["from"] == "dense"
        assert row["in_place"] == 1.0
        assert row["cosine"] == pytest.approx(1 / np.sqrt(1 + 0.05**2), abs=1e-3)


def test_an_expert_from_elsewhere_is_told_apart() -> None:
    tensors, config = _mixtral(0.05)
    other = lab.upcycle(*base(9), experts=4, active=2, noise=0.05, seed=4)[0]
    mixed = {n: other[n] if ".experts.2." in n else t for n, t in tensors.items()}
    shown = numbers(derived((mixed, config), base()), "moe_upcycled")
    assert shown["inherited"] == 3
    assert [row["from"] for row in shown["expert_map"]] == ["dense", "dense", "elsewhere", "dense"]


def test_experts_with_units_in_another_order() -> None:
    shown = numbers(derived(launder.permute_ffn(*_mixtral(0.05), seed=1), base()), "moe_upcycled")
    assert shown["inherited"] == 4
    assert max(row["in_place"] for row in shown["expert_map"]) < 0.1


def test_the_expert_that_was_taken_out_is_named_for_each_layer() -> None:
    mixture = _mixtral(0.5)
    shown = numbers(derived(lab.extract_dense(*mixture, expert=2), mixture), "moe_extracted")
    assert shown["expert_map"] == [{"layer": layer, "expert": 2} for layer in range(LAYERS)]
    assert shown["cosine"] == pytest.approx(1.0, abs=1e-6)


def test_order_of_experts_is_recovered() -> None:
    mixture = _mixtral(0.5)
    child = launder.permute_experts(*mixture, seed=1)
    shown = numbers(derived(child, mixture), "permuted", "experts")
    for layer, order in shown["order"].items():
        name = f"model.layers.{layer}.block_sparse_moe.gate.weight"
        np.testing.assert_array_equal(child[0][name], mixture[0][name][order])


def test_order_of_experts_is_recovered_from_contents_when_the_router_is_new() -> None:
    mixture = _mixtral(0.5)
    tensors, config = launder.permute_experts(*mixture, seed=1)
    g = np.random.default_rng(0)
    for name in tensors:
        if name.endswith("block_sparse_moe.gate.weight"):
            tensors[name] = g.standard_normal(tensors[name].shape).astype(np.float32)
    shown = numbers(derived((tensors, config), mixture), "permuted", "experts")
    assert shown["moved"] > 0


def test_experts_left_out() -> None:
    tensors, config = _mixtral(0.5)
    kept = [0, 2, 3]
    out = {n: t for n, t in tensors.items() if ".experts." not in n}
    for name, value in tensors.items():
        if ".experts." in name:
            head, _, tail = name.partition(".experts.")
            number, _, rest = tail.partition(".")
            if int(number) in kept:
                out[f"{head}.experts.{kept.index(int(number))}.{rest}"] = value
        elif name.endswith("block_sparse_moe.gate.weight"):
            out[name] = value[kept]
    found = derived((out, {**config, "num_local_experts": 3}), (tensors, config))
    shown = numbers(found, "width_pruned", "experts")
    assert (shown["from"], shown["to"]) == (4, 3)
    assert shown["kept"]["0"] == kept


@pytest.mark.parametrize("noise", [0.02, 0.2])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_an_expert_is_known_among_others_that_are_much_like_it(noise: float, level: float) -> None:
    """What was trained on after it was taken out lies nearer to that expert than to any other, and beside none."""
    mixture = _mixtral(noise)
    child = lab.extract_dense(*mixture, expert=1)
    found = derived(tuned(*child, level=level) if level else child, mixture)
    assert found.kinds == ({"moe_extracted", "fine_tuned"} if level else {"moe_extracted"})
    shown = numbers(found, "moe_extracted")
    assert {row["expert"] for row in shown["expert_map"]} == {1}
    assert abs(shown["between"]) < 0.05


def test_what_experts_were_made_from_lies_between_them() -> None:
    shown = numbers(derived(tuned(*base(), level=0.1), _mixtral(0.05)), "moe_upcycled")
    assert shown["between"] == pytest.approx(0.5, abs=0.1)


def test_experts_drawn_anew_are_told() -> None:
    mixture = _mixtral(0.05)
    other = lab.upcycle(*base(9), experts=4, active=2, noise=0.05, seed=4)
    child = {n: other[0][n] if ".experts.2." in n else t for n, t in mixture[0].items()}
    found = derived((child, mixture[1]), mixture)
    assert found.kinds == {"grafted"}
    shown = numbers(found, "grafted")
    assert shown["foreign_experts"] == [{"expert": 2, "layers": list(range(LAYERS))}]
    assert shown["share"] == 0.75


def test_experts_that_were_only_reordered_are_not_called_foreign() -> None:
    mixture = _mixtral(0.5)
    for child in (
        launder.permute_experts(*mixture, seed=1),
        launder.permute_ffn(*mixture, seed=1),
    ):
        assert "grafted" not in derived(child, mixture).kinds


def test_a_dense_model_against_its_own_mixture_is_read_the_other_way_round() -> None:
    found = derived(base(), _mixtral(0.02))
    assert "moe_extracted" not in found.kinds
    shown = numbers(found, "moe_upcycled")
    assert shown["reversed"] is True
    assert shown["layers"] == list(range(LAYERS))
