"""Shards: which files make up a model, and what happens when they do not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from filiation import checkpoint
from filiation.errors import (
    CorruptCheckpointError,
    InputError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)
from tests.checkpoint.makers import check, model, sharded, weights


def test_shards_with_an_index(tmp_path: Path) -> None:
    all_weights = weights()
    names = list(all_weights)
    parts = [{n: all_weights[n] for n in names[:2]}, {n: all_weights[n] for n in names[2:]}]
    files = sharded(tmp_path, parts)
    opened = checkpoint.open(str(tmp_path))
    assert {n: t.file for n, t in opened.tensors.items()} == {
        n: files[i] for i, part in enumerate(parts) for n in part
    }
    for name, expected in all_weights.items():
        np.testing.assert_array_equal(opened.read(name), expected.astype(np.float32))
    assert [f.name for f in opened.files] == [*files, "model.safetensors.index.json"]


def test_shards_without_an_index_are_found_by_number(tmp_path: Path) -> None:
    sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}, {"c": np.ones(5)}], index=False)
    opened = checkpoint.open(str(tmp_path))
    assert list(opened.tensors) == ["a", "b", "c"]
    assert "no index file: the 3 shards were found by their numbers" in opened.notes


def test_naming_one_shard_opens_the_set(tmp_path: Path) -> None:
    files = sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}])
    model_file = tmp_path / "other.safetensors"
    model_file.write_bytes(save({"z": np.ones(2)}))
    assert set(checkpoint.open(str(tmp_path / files[1])).tensors) == {"a", "b"}
    assert set(checkpoint.open(str(tmp_path / "model.safetensors.index.json")).tensors) == {"a", "b"}
    assert set(checkpoint.open(str(model_file)).tensors) == {"z"}


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    files = sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}, {"c": np.ones(5)}])
    (tmp_path / files[1]).unlink()
    for named in (tmp_path, tmp_path / files[0]):
        with pytest.raises(NotFoundError) as caught:
            checkpoint.open(str(named))
        check(caught.value, NotFoundError, file=files[1], reason="")


def test_a_missing_shard_without_an_index_is_named(tmp_path: Path) -> None:
    files = sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}, {"c": np.ones(5)}], index=False)
    (tmp_path / files[2]).unlink()
    with pytest.raises(NotFoundError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, NotFoundError, file=files[2], reason="2 of 3 shards")


def test_a_tensor_in_two_shards(tmp_path: Path) -> None:
    files = sharded(tmp_path, [{"a": np.ones(3)}, {"a": np.ones(3)}], index=False)
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, CorruptCheckpointError, file=files[1], reason=files[0], tensor="a")


def _index(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_an_index_that_contradicts_the_shards(tmp_path: Path) -> None:
    first, second = sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}])
    for weight_map, tensor, reason in (
        ({"a": second, "b": second}, "a", f"says the tensor is in {second}; {first} holds it"),
        ({"a": first, "b": second, "ghost": second}, "ghost", "no shard holds it"),
    ):
        _index(tmp_path, weight_map)
        (tmp_path / "unused").write_text("")
        if tensor == "a":  # then the first shard is not named at all, unless something else is in it
            _index(tmp_path, {"a": second, "b": second, "x": first})
        with pytest.raises(CorruptCheckpointError) as caught:
            checkpoint.open(str(tmp_path))
        check(
            caught.value,
            CorruptCheckpointError,
            file="model.safetensors.index.json",
            tensor=tensor,
            reason=reason,
        )


def test_tensors_the_index_does_not_name_are_read_and_said(tmp_path: Path) -> None:
    first, second = sharded(tmp_path, [{"a": np.ones(3), "hidden": np.ones(2)}, {"b": np.ones(4)}])
    _index(tmp_path, {"a": first, "b": second})
    opened = checkpoint.open(str(tmp_path))
    assert set(opened.tensors) == {"a", "hidden", "b"}
    assert any("1 tensors are in the shards but not in" in note for note in opened.notes)


@pytest.mark.parametrize(
    "target", ["../other.safetensors", "/etc/passwd", "a/../../b", "C:\\x", "..\\x", "a//b"]
)
def test_an_index_that_points_out_of_the_folder(tmp_path: Path, target: str) -> None:
    _index(tmp_path, {"w": target})
    with pytest.raises(UnsafeCheckpointError) as caught:
        checkpoint.open(str(tmp_path))
    check(
        caught.value,
        UnsafeCheckpointError,
        file="model.safetensors.index.json",
        tensor="w",
        reason="entry says",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not valid JSON"),
        ("[]", "does not hold a JSON object"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"weight_map": {"a": 3}}', "not a file name"),
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "'a' twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, CorruptCheckpointError, file="model.safetensors.index.json", reason=reason)


def test_the_file_that_transformers_would_load_is_preferred(tmp_path: Path) -> None:
    model(tmp_path, {"w": np.ones(3)})
    (tmp_path / "consolidated.safetensors").write_bytes(save({"other": np.ones(2)}))
    opened = checkpoint.open(str(tmp_path))
    assert list(opened.tensors) == ["w"]
    assert "model.safetensors was read; 1 other safetensors files of the folder were not" in opened.notes


def test_two_models_in_one_folder_have_to_be_told_apart(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.safetensors").write_bytes(save({name: np.ones(2)}))
    with pytest.raises(UsageError) as caught:
        checkpoint.open(str(tmp_path))
    check(
        caught.value,
        UsageError,
        file="left.safetensors",
        reason="left.safetensors, right.safetensors",
        exit_code=2,
    )
    assert list(checkpoint.open(str(tmp_path / "right.safetensors")).tensors) == ["right"]


def test_a_truncated_shard_is_named(tmp_path: Path) -> None:
    files = sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}])
    path = tmp_path / files[1]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptCheckpointError) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, CorruptCheckpointError, file=files[1], reason="truncated", tensor="b")


def test_the_file_that_the_config_names_is_read_as_loaders_do(tmp_path: Path) -> None:
    """ADR 0021: what loaders pass over takes no part, be it a layer, a tensor or a file."""
    own, other = {"w": np.full(3, 2.0)}, {"w": np.ones(3)}
    model(tmp_path, other, {"model_type": "x", "transformers_weights": "./deep/own.safetensors"})
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "own.safetensors").write_bytes(save(own))
    opened = checkpoint.open(str(tmp_path))
    np.testing.assert_array_equal(opened.read("w"), own["w"])
    assert any("names deep/own.safetensors as the weights: that was read; 1 other" in n for n in opened.notes)
    # Whoever names a file means that one.
    np.testing.assert_array_equal(checkpoint.open(str(tmp_path / "model.safetensors")).read("w"), other["w"])
    (tmp_path / "model.safetensors").unlink()
    np.testing.assert_array_equal(checkpoint.open(str(tmp_path)).read("w"), own["w"])


def test_the_index_that_the_config_names_is_followed(tmp_path: Path) -> None:
    model(tmp_path, {"z": np.ones(2)}, {"transformers_weights": "own.safetensors.index.json"})
    sharded(tmp_path, [{"a": np.ones(3)}, {"b": np.ones(4)}], stem="own")
    assert set(checkpoint.open(str(tmp_path)).tensors) == {"a", "b"}


@pytest.mark.parametrize(
    ("named", "kind", "file", "reason"),
    [
        ("../own.safetensors", UnsafeCheckpointError, "config.json", "transformers_weights is"),
        ("/own.safetensors", UnsafeCheckpointError, "config.json", "transformers_weights is"),
        ("gone.safetensors", NotFoundError, "gone.safetensors", "it is not there"),
        ("own.bin", CorruptCheckpointError, "config.json", "no safetensors file"),
        (["model.safetensors"], CorruptCheckpointError, "config.json", "no safetensors file"),
    ],
)
def test_a_config_that_names_no_file_of_the_folder(
    tmp_path: Path, named: Any, kind: type[InputError], file: str, reason: str
) -> None:
    model(tmp_path, {"w": np.ones(3)}, {"transformers_weights": named})
    with pytest.raises(kind) as caught:
        checkpoint.open(str(tmp_path))
    check(caught.value, kind, file=file, reason=reason)


def test_whole_weights_beside_an_adapters_settings_are_said(tmp_path: Path) -> None:
    model(tmp_path, {"w": np.ones(3)})
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "some/base"}')
    notes = checkpoint.open(str(tmp_path)).notes
    assert any(
        note.startswith("the folder also holds adapter_config.json; its whole weights") for note in notes
    )
    assert not any("adapter" in note for note in checkpoint.open(str(tmp_path / "model.safetensors")).notes)
