"""Labels can be arranged by whoever holds both files: that must never read as a common origin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import filiation
from filiation.evidence import Relation
from filiation.lab.layout import Config, Tensors
from filiation.lab.save import load_model, save_model

MODELS = Path(__file__).parents[2] / "examples" / "models"
LAYERS = range(6)


def matched(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each of their rows, the row of mine that the best assignment gives it."""
    a = mine / np.linalg.norm(mine, axis=1, keepdims=True)
    b = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    rows, columns = linear_sum_assignment(a @ b.T, maximize=True)
    order = np.empty(len(rows), np.int64)
    order[columns] = rows
    return order


def arranged(tensors: Tensors, accused: Tensors) -> Tensors:
    """Put the neurons of every layer of an independent model in the order of their best partners' numbers."""
    out = dict(tensors)
    for layer in LAYERS:
        at = f"model.layers.{layer}.mlp."
        order = matched(out[at + "gate_proj.weight"], accused[at + "gate_proj.weight"])
        for name in ("gate_proj", "up_proj"):
            out[f"{at}{name}.weight"] = out[f"{at}{name}.weight"][order]
        out[at + "down_proj.weight"] = out[at + "down_proj.weight"][:, order]
    return out


def with_gains(tensors: Tensors, accused: Tensors) -> Tensors:
    """Copy every norm gain as well."""
    return {name: accused[name] if "norm" in name else value for name, value in tensors.items()}


@pytest.mark.parametrize("gains", [False, True], ids=["arranged", "arranged and gains copied"])
def test_an_arranged_stranger_is_no_relative(gains: bool, tmp_path: Path) -> None:
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    steps: list[Callable[[Tensors, Tensors], Tensors]] = [arranged, with_gains] if gains else [arranged]
    for step in steps:
        stranger = step(stranger, accused)
    found = compared(stranger, config, tmp_path)
    assert found.verdict.log10_e is not None
    assert found.verdict.log10_e > 6, "the labels do agree: somebody saw to it"
    assert found.verdict.relation is Relation.SUGGESTIVE
    assert found.verdict.reason == "labels_without_contents"
    assert "arranged" in found.report.limits
    assert found.verdict.derivation == ()


def compared(tensors: Tensors, config: Config, folder: Path) -> filiation.Comparison:
    save_model(folder / "stranger", tensors, config)
    return filiation.compare(str(folder / "stranger"), str(MODELS / "base"))
