"""What is written can be read by others, and rounding is round-to-nearest-even."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from filiation.errors import UnsupportedFormatError
from filiation.lab import save
from tests.lab.models import llama


@given(st.lists(st.floats(-(2.0**127), 2.0**127, width=32)))
def test_rounding_agrees_with_ml_dtypes(values) -> None:
    array = np.array(values, dtype=np.float32)
    expected = array.astype(ml_dtypes.bfloat16)
    assert np.array_equal(save.to_bfloat16(array), expected.view(np.uint16))
    assert np.array_equal(save.from_bfloat16(save.to_bfloat16(array)), expected.astype(np.float32))


@pytest.mark.parametrize("shards", [1, 3])
def test_folders_read_back_and_open_with_safetensors(tmp_path, shards) -> None:
    tensors, config = llama()
    save.save_model(tmp_path, tensors, config, b"{}", shards=shards)
    back, settings = save.load_model(tmp_path)
    stored = save.as_stored(tensors)
    assert settings == config
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[name], stored[name]) for name in tensors)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == shards
    seen: set[str] = set()
    for file in files:
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118 - the handle is not a mapping
                part = opened.get_slice(name)
                assert part.get_dtype() == "BF16"
                assert tuple(part.get_shape()) == tensors[name].shape
                seen.add(name)
    assert seen == tensors.keys()


def test_the_index_names_every_tensor_and_its_file(tmp_path) -> None:
    tensors, config = llama()
    save.save_model(tmp_path, tensors, config, shards=2)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"].keys() == tensors.keys()
    assert index["metadata"]["total_size"] == sum(2 * t.size for t in tensors.values())
    for file in set(index["weight_map"].values()):
        inside = save.read_safetensors(tmp_path / file)
        assert {n for n, f in index["weight_map"].items() if f == file} == inside.keys()
    assert not list(tmp_path.glob("*.partial"))


def test_other_dtypes_are_refused_by_name(tmp_path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2, dtype=np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(UnsupportedFormatError, match="a is F32"):
        save.read_safetensors(tmp_path / "x.safetensors")
