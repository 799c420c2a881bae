"""ALBERT: every layer is the same stored layer, so its units are one label set, counted once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from filiation import compare
from filiation.anatomy import Symmetry, dissect
from tests.anatomy.test_families import dissected, inventory
from tests.support import shape_checkpoint


def test_one_stored_layer_serves_all() -> None:
    anatomy = dissected("albert")
    geometry = anatomy.geometry["language"]
    assert (geometry.n_layers, geometry.d_model, geometry.d_ff, geometry.n_heads) == (1, 48, 80, 6)
    assert {part.layer for part in anatomy.parts} == {0, None}
    assert anatomy.holds(Symmetry.FFN_ORDER, "language").holds
    assert anatomy.inferences == ()


def test_groups_beyond_the_number_that_the_config_says_are_not_loaded() -> None:
    record = inventory("albert")
    container = "albert.encoder.albert_layer_groups"
    more = {
        n.replace(f"{container}.0", f"{container}.1"): s
        for n, s in record["shapes"].items()
        if container in n
    }
    for config in (record["config"], {k: v for k, v in record["config"].items() if k != "num_hidden_groups"}):
        anatomy = dissect(shape_checkpoint(record["shapes"] | more, config))
        assert anatomy.geometry["language"].n_layers == 1
        assert {*anatomy.beyond["language"]} == {*more}
    two = dissect(shape_checkpoint(record["shapes"] | more, {**record["config"], "num_hidden_groups": 2}))
    assert not two.beyond


def _write(folder: Path, seed: int, base: Path | None = None, family: str = "albert") -> Path:
    """Random weights; with a base, those of the base and a tenth of noise."""
    from safetensors.numpy import load_file

    record, rng = inventory(family), np.random.default_rng(seed)
    noise = {n: rng.standard_normal(s).astype(np.float32) for n, s in record["shapes"].items()}
    before = load_file(base / "model.safetensors") if base else {}
    folder.mkdir()
    save_file(
        {n: before[n] + 0.1 * v if before else v for n, v in noise.items()}, folder / "model.safetensors"
    )
    (folder / "config.json").write_text(json.dumps(record["config"]))
    return folder


def test_its_units_are_tested_once(tmp_path: Path) -> None:
    base = _write(tmp_path / "base", 1)
    child, stranger = _write(tmp_path / "child", 2, base), _write(tmp_path / "stranger", 3)
    found = compare(str(child), str(base))
    sets = {e.label_set for e in found.evidence if e.label_set and "ffn_order" in e.label_set}
    assert sets == {"language/layer=0/ffn_order"}
    # The embeddings are narrower than the stream, so their columns cannot be tested as its channels.
    assert found.verdict.relation in ("common_origin", "shared_parts")
    assert (found.verdict.log10_e or 0) >= 6
    assert compare(str(stranger), str(base)).verdict.relation == "none_found"


@pytest.mark.parametrize("family", ["electra", "opt_350m"])
def test_other_models_with_narrow_embeddings_are_compared(family: str, tmp_path: Path) -> None:
    base = _write(tmp_path / "base", 1, family=family)
    child = _write(tmp_path / "child", 2, base, family)
    assert (compare(str(child), str(base)).verdict.log10_e or 0) >= 6
