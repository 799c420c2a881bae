"""The readers on real files: an int8 ONNX against the safetensors of the same model, and the pruned e5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import filiation.checkpoint as checkpoint
from tests.real import e5s1, fetch

pytestmark = pytest.mark.real


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of two flattened arrays."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def test_every_int8_matrix_of_the_onnx_is_the_tensor_it_is_named_after() -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    plain = checkpoint.open(str(fetch.path("minilm")))
    packed = checkpoint.open(str(fetch.path("minilm_int8")))
    cosines: dict[str, float] = {}
    for name, info in packed.tensors.items():
        original = plain.read(name.removeprefix("inner."))
        read = packed.read(name)
        assert read.shape == original.shape
        if info.dtype == "INT8":
            cosines[name] = cosine(read, original)
        else:
            assert np.array_equal(read, original)
    assert len(cosines) == 38
    assert min(cosines.values()) > 0.9997
    assert max(cosines.values()) < 1


def test_the_other_publishers_onnx_gets_the_names_of_its_modules() -> None:
    pytest.importorskip("onnx", reason="the extra 'onnx' is not installed")
    model = checkpoint.open(str(fetch.path("paraphrase_l3")))
    names = {name.removeprefix("model.0.auto_model.") for name in model.tensors}
    plain = checkpoint.open(str(fetch.path("minilm")))
    first_three = {
        name
        for name in plain.tensors
        if not name.startswith(("pooler", *(f"encoder.layer.{i}." for i in (3, 4, 5))))
        and "position_ids" not in name
    }
    assert names == first_three
    for name, info in model.tensors.items():
        assert info.shape == plain.tensors[name.removeprefix("model.0.auto_model.")].shape


def test_the_pruned_e5_keeps_rows_and_everything_else_bit_by_bit(tmp_path: Path) -> None:
    source = fetch.folder("e5")
    whole, pruned = (e5s1.parse(source / name) for name in ("e5-small-q4.bin", "e5-small-enpt-q4.bin"))
    row_of = {piece: i for i, (piece, _) in enumerate(whole.pieces)}
    kept = np.array([row_of[piece] for piece, _ in pruned.pieces])
    assert len(kept) == pruned.sizes["vocab"] == 47284
    for short, (name, shape) in e5s1.shapes(pruned).items():
        other = e5s1.shapes(whole)[short][1]
        a = np.concatenate(list(e5s1.rows(pruned, short, shape))).reshape(shape)
        b = np.concatenate(list(e5s1.rows(whole, short, other))).reshape(other)
        assert np.array_equal(a, b[kept] if short == "emb.word" else b), name


def test_the_pruned_e5_is_written_as_a_model_that_opens(tmp_path: Path) -> None:
    source = fetch.folder("e5") / "e5-small-enpt-q4.bin"
    folder = e5s1.write(source, tmp_path / "pruned")
    model = checkpoint.open(str(folder))
    parsed = e5s1.parse(source)
    assert {name: info.shape for name, info in model.tensors.items()} == dict(e5s1.shapes(parsed).values())
    word = np.concatenate(list(e5s1.rows(parsed, "emb.word", (47284, 384)))).reshape(47284, 384)
    assert np.array_equal(model.read("embeddings.word_embeddings.weight", slice(100, 200)), word[100:200])
    assert model.config is not None
    assert model.config["num_hidden_layers"] == 12
    assert e5s1.write(source, folder) == folder
