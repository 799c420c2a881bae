"""Layers beyond the number that the config says: no loader reads them, so they make no relative and hide none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation.api import Comparison
from filiation.evidence import Relation, Status
from filiation.lab.layout import gain_readers, is_gain
from filiation.lab.save import load_model, save_model
from filiation.lab.storage import write_gguf

MODELS = Path(__file__).parents[2] / "examples" / "models"
TOKENIZER = (MODELS / "base" / "tokenizer.json").read_bytes()
DEPTH = 6
Tensors = Mapping[str, Any]


def shipped(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    tensors, config = load_model(MODELS / name)
    return {n: np.asarray(v, np.float32) for n, v in tensors.items()}, dict(config)


def with_gains_of(model: Tensors, other: Tensors) -> dict[str, Any]:
    """Take over another model's gains and divide what reads through them: the function stays."""
    out = dict(model)
    for name in [n for n in model if is_gain(n) and n.startswith("model.layers.")]:
        for reader in gain_readers(out, name):
            out[reader] = out[reader] * (out[name] / other[name])
        out[name] = other[name]
    return out


def behind(model: Tensors, other: Tensors) -> dict[str, Any]:
    """Add another model's layers behind a model's own."""
    moved = {
        f"model.layers.{int(number) + DEPTH}.{rest}": values
        for name, values in other.items()
        if name.startswith("model.layers.")
        for number, _, rest in [name.removeprefix("model.layers.").partition(".")]
    }
    return {**model, **moved}


def saved(tensors: Tensors, config: Mapping[str, Any], folder: Path) -> str:
    save_model(folder, dict(tensors), dict(config), TOKENIZER)
    return str(folder)


@pytest.fixture(scope="module")
def framer(tmp_path_factory: pytest.TempPathFactory) -> str:
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    return saved(behind(with_gains_of(stranger, accused), accused), config, tmp_path_factory.mktemp("framer"))


def is_no_finding(found: Comparison) -> bool:
    return found.verdict.relation in (Relation.NONE_FOUND, Relation.SUGGESTIVE)


@pytest.mark.parametrize("turned", [False, True])
def test_layers_that_are_not_loaded_make_no_relative(framer: str, turned: bool) -> None:
    models = [framer, str(MODELS / "base")]
    found = filiation.compare(*(models[::-1] if turned else models))
    assert is_no_finding(found)
    assert not found.verdict.inherited_share
    assert {"layers_not_loaded", "towers_not_examined"} <= {*found.report.limits}
    (record,) = (e for e in found.report.evidence if e.reason == "layers_not_loaded")
    assert record.status is Status.NOT_MEASURED
    assert record.part.component == "language"
    assert record.id.endswith("of=candidate" if turned else "of=suspect")
    assert record.n == 9 * DEPTH
    assert record.places[0].tensor is not None
    assert record.places[0].tensor.startswith(f"model.layers.{DEPTH}.")
    models = found.report.to_dict()["models"]
    told = models["candidates"][0] if turned else models["suspect"]
    assert any("layers 6 to 11 are stored and not loaded" in text for text in told["inferred"])


def test_without_the_lie_the_layers_count(framer: str, tmp_path: Path) -> None:
    """The same file whose config says what it holds shares its second half."""
    config = json.loads((Path(framer) / "config.json").read_text())
    tensors, _ = load_model(Path(framer))
    told = saved(tensors, {**config, "num_hidden_layers": 2 * DEPTH}, tmp_path / "told")
    found = filiation.compare(told, str(MODELS / "base"))
    assert found.verdict.relation in (Relation.COMMON_ORIGIN, Relation.SHARED_PARTS)
    assert "layers_not_loaded" not in found.report.limits


@pytest.mark.parametrize("turned", [False, True])
def test_a_child_with_strange_layers_behind_its_own_is_found(turned: bool, tmp_path: Path) -> None:
    (child, config), (stranger, _) = shipped("continued"), shipped("twin")
    planted = saved(behind(child, stranger), config, tmp_path)
    models = [planted, str(MODELS / "base")]
    found = filiation.compare(*(models[::-1] if turned else models))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0
    assert "layers_not_loaded" in found.report.limits


def test_layers_of_other_sizes_behind_a_childs_own_contradict_nothing(tmp_path: Path) -> None:
    child, config = shipped("continued")
    odd = {
        f"model.layers.{n}.{part}.weight": np.ones((7, 9), np.float32)
        for n in range(DEPTH, 4 * DEPTH)
        for part in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj", "something.else")
    }
    found = filiation.compare(saved({**child, **odd}, config, tmp_path), str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0


def test_models_that_differ_in_layers_that_are_not_loaded_are_not_identical(tmp_path: Path) -> None:
    (model, config), (stranger, _) = shipped("base"), shipped("twin")
    planted = saved(behind(model, stranger), config, tmp_path / "planted")
    found = filiation.compare(planted, str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    again = saved(behind(model, stranger), {**config, "model_type": "llama", "note": 1}, tmp_path / "again")
    assert filiation.compare(planted, again).verdict.relation is Relation.IDENTICAL


def test_a_gguf_file_loads_as_many_blocks_as_it_says(tmp_path: Path) -> None:
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    tensors = behind(with_gains_of(stranger, accused), accused)
    (tmp_path / "model").mkdir()
    write_gguf(tmp_path / "model", tensors, {**config, "num_hidden_layers": 2 * DEPTH}, TOKENIZER, "F16")
    file = next((tmp_path / "model").glob("*.gguf"))
    raw, key = file.read_bytes(), b"llama.block_count"
    at = raw.index(key) + len(key) + 4  # after the type of the value
    assert raw[at : at + 4] == (2 * DEPTH).to_bytes(4, "little")
    file.write_bytes(raw[:at] + DEPTH.to_bytes(4, "little") + raw[at + 4 :])
    found = filiation.compare(str(file.parent), str(MODELS / "base"))
    assert is_no_finding(found)
    assert "layers_not_loaded" in found.report.limits
