"""Keys of a config that no loader of its family reads make no relative of a stranger, and hide no copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from filiation.evidence import Relation
from tests.comparison.test_arranged import named
from tests.comparison.test_computed import computed
from tests.comparison.test_without_effect import (
    FFN,
    LAYERS,
    accused,
    compared,
    same_function,
    stranger,
    with_gains_of,
)
from tests.derivation.models import Model

FAINT, LOUD = np.float32(2.0**-16), np.float32(2.0**16)


def without_activation(model: Model) -> Model:
    return model[0], {key: value for key, value in model[1].items() if key != "hidden_act"}


def cancelling_under_silu() -> Model:
    """The accused's units come in threes that write nothing under SiLU, and twice what they wrote under tanh."""
    own, config = without_activation(stranger())
    tensors, theirs = with_gains_of(own, accused()[0]), accused()[0]
    for layer in range(LAYERS):
        gate, up, down = (theirs[named(layer, which)] for which in ("gate", "up", "down"))
        threes = {
            "gate": (FAINT * gate, LOUD * up, -LOUD * up),
            "up": (up, gate, gate),
            "down": (4 * down / FAINT, -2 * down / LOUD, 2 * down / LOUD),
        }
        for which, units in threes.items():
            name = named(layer, which)
            tensors[name] = np.concatenate([*units, tensors[name]], axis=int(which == "down")).astype(
                np.float32
            )
    return tensors, {**config, "intermediate_size": 4 * FFN}


@pytest.mark.parametrize("turned", [False, True], ids=["framer against accused", "accused against framer"])
def test_an_activation_that_no_loader_reads_makes_no_common_origin(turned: bool, tmp_path: Path) -> None:
    tensors, config = cancelling_under_silu()
    with np.errstate(over="ignore"):
        same_function(stranger(), (tensors, {**config, "hidden_act": "silu"}), within=1e-2)
    framed = tensors, {**config, "activation": "tanh"}
    pair = (accused(), framed) if turned else (framed, accused())
    found = compared(*pair, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert computed(found) < 0.1


def behind_idle_layers(model: Model, count: int = 2) -> Model:
    """Put the stranger's first layers in front, with next to nothing of what they write."""
    tensors = {name: value for name, value in model[0].items() if ".layers." not in name}
    for source, first in ((stranger()[0], 0), (model[0], count)):
        for name in (name for name in source if ".layers." in name):
            number, rest = name.removeprefix("model.layers.").split(".", 1)
            if source is model[0] or int(number) < count:
                faint = source is not model[0] and rest.endswith(("o_proj.weight", "down_proj.weight"))
                place = f"model.layers.{int(number) + first}.{rest}"
                tensors[place] = source[name] * np.float32(1e-6 if faint else 1)
    return tensors, {**model[1], "num_hidden_layers": LAYERS + count}


@pytest.mark.parametrize(
    "unread",
    [
        {"llm_config": {"num_hidden_layers": 2}},
        {"text_config": {"num_hidden_layers": 1, "hidden_act": "tanh"}, "vision_config": {"depth": 3}},
        {"activation": "tanh", "topk_group": "x", "alibi": "yes", "layer_norm_eps": 1e9},
    ],
    ids=["fewer layers", "another tower", "nonsense"],
)
def test_what_no_loader_reads_hides_no_copy(unread: dict[str, Any], tmp_path: Path) -> None:
    tensors, config = behind_idle_layers(accused())
    same_function(accused(), (tensors, config))
    found = compared((tensors, {**config, **unread}), accused(), tmp_path)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
