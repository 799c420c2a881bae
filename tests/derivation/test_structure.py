"""Layers dropped, repeated, reordered, inserted; parts that are not the candidate's."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.derivation.structure import Agreement, agreements
from filiation.lab import derive as lab
from tests.derivation.models import LAYERS, Model, base, derived, numbers, tuned


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ([0, 1, 3, 5], {"dropped": [2, 4]}),
        ([0, 1, 2, 3, 2, 3, 4, 5], {"repeated": [2, 3]}),
        ([0, 2, 1, 3, 4, 5], {"reordered": [1]}),
        ([1, 2, 3, 4, 5], {"dropped": [0]}),
        ([0, 1, 2, 3, 1, 2, 4, 5], {"repeated": [1, 2]}),
        ([5, 0, 1, 2, 3, 4], {"reordered": [5]}),
        ([0, 1, 2, 2, 4, 5], {"dropped": [3], "repeated": [2]}),
    ],
)
def test_path_of_the_layers(path: list[int], told: dict[str, list[int]]) -> None:
    shown = numbers(derived(lab.take_layers(*base(), path), base()), "layers_changed")
    assert shown["path"] == path
    assert (shown["from"], shown["to"]) == (LAYERS, len(path))
    assert {key: shown[key] for key in ("dropped", "repeated", "reordered") if key in shown} == told


def test_inserted_blocks_are_told_from_repeated_layers() -> None:
    shown = numbers(derived(lab.insert_blocks(*base(), [1, 3]), base()), "blocks_inserted")
    assert shown["inserted"] == [2, 5]
    assert shown["copies_of"] == [1, 3]
    assert shown["writer_size"] == 0.0


def test_inserted_blocks_that_were_trained_a_little_are_found() -> None:
    tensors, config = lab.insert_blocks(*base(), [1, 3])
    g = np.random.default_rng(0)
    for layer in (2, 5):
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            key = f"model.layers.{layer}.{name}.weight"
            tensors[key] = (0.01 * g.standard_normal(tensors[key].shape)).astype(np.float32)
    shown = numbers(derived((tensors, config), base()), "blocks_inserted")
    assert shown["inserted"] == [2, 5]
    assert 0.05 < shown["writer_size"] < 0.25


def test_grafted_layers() -> None:
    found = derived(lab.graft(base()[0], base(9)[0], base()[1], layers=[1, 4]), base())
    shown = numbers(found, "grafted")
    assert shown["foreign"] == [1, 4]
    assert shown["inherited"] == [0, 2, 3, 5]
    assert shown["share"] == pytest.approx(4 / 6)


def test_grafted_layers_of_a_model_that_was_tuned_too() -> None:
    child = lab.graft(tuned(*base(), level=0.03)[0], base(9)[0], base()[1], layers=[1, 4])
    found = derived(child, base())
    assert found.kinds == {"grafted", "fine_tuned"}
    assert numbers(found, "fine_tuned")["max_relative_delta"] < 0.1  # the foreign layers are left out


def _with(part: str, layers: tuple[int, ...]) -> Model:
    tensors = dict(base()[0])
    for layer in layers:
        for name in tensors:
            if name.startswith(f"model.layers.{layer}.{part}"):
                tensors[name] = base(9)[0][name]
    return tensors, base()[1]


@pytest.mark.parametrize(("part", "name"), [("mlp", "foreign_ffn"), ("self_attn", "foreign_attention")])
def test_one_half_of_a_layer_may_be_foreign(part: str, name: str) -> None:
    shown = numbers(derived(_with(part, (2, 3)), base()), "grafted")
    assert shown[name] == [2, 3]
    assert "foreign" not in shown


def test_embeddings_alone() -> None:
    found = derived(lab.graft(base()[0], base(9)[0], base()[1], layers=range(LAYERS)), base())
    assert found.kinds == {"grafted"}
    shown = numbers(found, "grafted")
    assert shown["inherited"] == []
    assert shown["inherited_roles"] == ["embedding"]


def test_agreement_speaks_of_halves() -> None:
    assert Agreement(0.9, 0.05).foreign == ("ffn",)
    assert not Agreement(0.9, 0.05).wholly_foreign
    assert Agreement(0.01, None).wholly_foreign
    assert not Agreement(None, None).wholly_foreign
    assert agreements([]) == {}
