"""Rows of a table that no token uses may hold anything: they hide no copy. Anything else must be numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import filiation
from filiation import anatomy, checkpoint
from filiation.errors import NonFiniteWeightsError
from filiation.evidence import Relation
from filiation.lab.layout import EMBEDDING, HEAD
from tests.comparison.test_beyond_config import MODELS, saved, shipped

QUERY = "model.layers.2.self_attn.q_proj.weight"


def padded(name: str, rows: Any, head: Any, folder: Path) -> str:
    """Put rows behind the vocabulary of a model whose head is its own."""
    tensors, config = shipped(name)
    table = tensors[EMBEDDING]
    own_head = tensors.get(HEAD, table)
    tensors = {
        **tensors,
        EMBEDDING: np.concatenate([table, rows]).astype(np.float32),
        HEAD: np.concatenate([own_head, head]).astype(np.float32),
    }
    size = len(tensors[EMBEDDING])
    return saved(tensors, {**config, "vocab_size": size, "tie_word_embeddings": False}, folder)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_padding_rows_that_are_no_numbers_hide_no_copy(bad: float, turned: bool, tmp_path: Path) -> None:
    width = shipped("base")[0][EMBEDDING].shape[1]
    rows = np.zeros((20, width))
    rows[3], rows[7, 5] = bad, bad
    folder = padded("continued", rows, np.zeros_like(rows), tmp_path)
    models = [folder, str(MODELS / "base")]
    found = filiation.compare(*(models[::-1] if turned else models))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0
    assert "rows_not_finite" in found.report.limits
    told = found.report.to_dict()["models"]
    record = told["candidates"][0] if turned else told["suspect"]
    (said,) = (text for text in record["inferred"] if "not numbers" in text)
    assert said.startswith(f"{EMBEDDING}: 2 of the rows")


def test_two_such_files_are_not_called_identical(tmp_path: Path) -> None:
    width = shipped("base")[0][EMBEDDING].shape[1]
    rows, other = np.full((4, width), np.nan), np.full((4, width), np.inf)
    models = [padded("base", r, r, tmp_path / str(n)) for n, r in enumerate((rows, other))]
    assert filiation.compare(*models).verdict.relation is Relation.COMMON_ORIGIN


@pytest.mark.parametrize("tensor", [QUERY, "model.norm.weight", "model.layers.0.input_layernorm.weight"])
def test_one_such_value_elsewhere_is_refused(tensor: str, tmp_path: Path) -> None:
    tensors, config = shipped("base")
    tensors[tensor] = tensors[tensor].copy()
    tensors[tensor][3] = np.nan
    with pytest.raises(NonFiniteWeightsError) as caught:
        filiation.compare(saved(tensors, config, tmp_path), str(MODELS / "base"))
    assert caught.value.tensor == tensor


def test_a_table_without_any_numbers_is_refused(tmp_path: Path) -> None:
    tensors, config = shipped("base")
    tensors[EMBEDDING] = np.full_like(tensors[EMBEDDING], np.nan)
    folder = saved(tensors, config, tmp_path)
    with pytest.raises(NonFiniteWeightsError) as caught:
        filiation.compare(folder, str(MODELS / "base"))
    assert caught.value.tensor == EMBEDDING
    model = anatomy.dissect(checkpoint.open(folder))
    part = model.part("embedding")
    assert part is not None
    with pytest.raises(NonFiniteWeightsError):
        model.read(part, 5, 6)


@pytest.mark.parametrize("axis", [0, 1])
def test_rows_come_as_zeros_and_are_counted(axis: int, tmp_path: Path) -> None:
    width = shipped("base")[0][EMBEDDING].shape[1]
    rows = np.full((3, width), np.nan)
    model = anatomy.dissect(checkpoint.open(padded("base", rows, rows, tmp_path)))
    part = model.part("embedding")
    assert part is not None
    size = part.shape[0]
    start, stop = (size - 5, size) if axis == 0 else (2, 9)
    read = model.read(part, start, stop, axis)
    expected = np.concatenate([shipped("base")[0][EMBEDDING], np.zeros((3, width), np.float32)])
    window = expected[start:stop] if axis == 0 else expected[:, start:stop]
    np.testing.assert_array_equal(read, window)
    assert model.checkpoint.rows_left_out == {EMBEDDING: {size - 3, size - 2, size - 1}}
    # A read of such rows alone is no table without numbers.
    assert not model.read(part, size - 2, size).any()
