"""Encoders beside decoders: their channels are another component's, or have a meaning of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import filiation
from filiation.evidence import Relation, Verdict
from filiation.lab.save import save_model
from tests.anatomy.test_families import inventory

Arrays = dict[str, npt.NDArray[np.float32]]
FAMILIES = ("t5", "whisper")


def drawn(family: str, seed: int) -> Arrays:
    """Return the tensors of a small model of a family; gains and biases are drawn too, as training leaves them."""
    rng = np.random.default_rng(seed)
    return {
        name: (rng.normal(size=shape) * 0.1 + (name.endswith("norm.weight"))).astype(np.float32)
        for name, shape in inventory(family)["shapes"].items()
    }


def child_of(parent: Arrays, seed: int = 9) -> Arrays:
    rng = np.random.default_rng(seed)
    return {n: (v + 0.1 * v.std() * rng.normal(size=v.shape)).astype(np.float32) for n, v in parent.items()}


def compared(family: str, suspect: Arrays, candidate: Arrays, folder: Path) -> Verdict:
    for name, tensors in (("suspect", suspect), ("candidate", candidate)):
        save_model(folder / name, tensors, inventory(family)["config"])
    return filiation.compare(str(folder / "suspect"), str(folder / "candidate")).verdict


@pytest.mark.parametrize("family", FAMILIES)
def test_a_child_shares_the_origin_of_encoder_and_decoder(family: str, tmp_path: Path) -> None:
    parent = drawn(family, 0)
    verdict = compared(family, child_of(parent), parent, tmp_path)
    assert (verdict.relation, verdict.reason) == (Relation.COMMON_ORIGIN, None)
    assert verdict.inherited_share == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_strangers_show_nothing(family: str, tmp_path: Path) -> None:
    verdict = compared(family, drawn(family, 1), drawn(family, 0), tmp_path)
    assert verdict.relation is Relation.NONE_FOUND


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kept", ["encoder", "decoder"])
def test_one_of_the_two_is_a_part(family: str, kept: str, tmp_path: Path) -> None:
    parent, stranger = drawn(family, 0), drawn(family, 1)
    child = child_of(parent)
    mixed = {name: child[name] if kept in name else stranger[name] for name in parent}
    verdict = compared(family, mixed, parent, tmp_path)
    assert verdict.relation is Relation.SHARED_PARTS
    others = {"encoder": "language", "decoder": "encoder" if family == "t5" else "audio"}
    assert not any(part.startswith(others[kept]) for part in verdict.scope)
