"""A layer whose only network is stored as a shared expert has a dense network: Granite 4 without experts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import filiation
from filiation.evidence import Relation
from filiation.lab.save import load_model, save_model
from tests.comparison.test_arranged import named
from tests.derivation.models import Model, anatomy

MODELS = Path(__file__).parents[2] / "examples" / "models"
LAYERS = 6


def as_granite(name: str, *, routed: bool = False) -> Model:
    tensors, config = load_model(MODELS / name)
    out = dict(tensors)
    for layer in range(LAYERS):
        gate, up, down = (out.pop(named(layer, which)) for which in ("gate", "up", "down"))
        prefix = f"model.layers.{layer}"
        out[f"{prefix}.shared_mlp.input_linear.weight"] = np.concatenate([gate, up])
        out[f"{prefix}.shared_mlp.output_linear.weight"] = down
        if routed:
            mixture = f"{prefix}.block_sparse_moe"
            out[f"{mixture}.input_linear.weight"] = np.stack([np.concatenate([gate, up])] * 2)
            out[f"{mixture}.output_linear.weight"] = np.stack([down] * 2)
            out[f"{mixture}.router.layer.weight"] = np.ones((2, gate.shape[1]), np.float32)
    experts = {"num_local_experts": 2 * routed, "num_experts_per_tok": int(routed)}
    kind = "granitemoeshared" if routed else "granitemoehybrid"
    return out, {**config, "model_type": kind, "architectures": ["GraniteMoeForCausalLM"], **experts}


def test_it_is_the_network_of_the_layer_where_it_stands_alone() -> None:
    alone, beside = anatomy(as_granite("base")), anatomy(as_granite("base", routed=True))
    assert alone.part("up", 0) is not None
    assert alone.part("shared.up", 0) is None
    assert beside.part("shared.up", 0) is not None
    assert beside.part("up", 0, 1) is not None


@pytest.mark.parametrize("child", ["fine-tuned", "continued"])
def test_children_are_found(child: str, tmp_path: Path) -> None:
    save_model(tmp_path / "child", *as_granite(child))
    save_model(tmp_path / "base", *as_granite("base"))
    plain = str(MODELS / "base")
    for pair in ((tmp_path / "child", tmp_path / "base"), (tmp_path / "child", plain)):
        assert filiation.compare(*map(str, pair)).verdict.relation is Relation.COMMON_ORIGIN
