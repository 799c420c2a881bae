"""Scales that no loader applies make no relative and hide none; scales that the settings name are applied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import filiation
from filiation.api import Comparison
from filiation.evidence import Relation
from filiation.lab.layout import EMBEDDING, HEAD
from tests.comparison.test_beyond_config import DEPTH, MODELS, TOKENIZER, Tensors, shipped, with_gains_of

FP8 = ml_dtypes.float8_e4m3fn
SMALLEST = 2.0**-9


def as_fp8(values: Any) -> Any:
    """Round to 8 bits; what would be zero becomes the smallest number, so that it can be divided by."""
    rounded = np.asarray(values, np.float32).astype(FP8)
    return np.where(rounded.astype(np.float32) == 0, np.float32(SMALLEST), rounded.astype(np.float32)).astype(
        FP8
    )


def saved(tensors: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({n: np.ascontiguousarray(v) for n, v in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(config)))
    (folder / "tokenizer.json").write_bytes(TOKENIZER)
    return str(folder)


def told(models: list[str], turned: bool) -> Comparison:
    return filiation.compare(*(models[::-1] if turned else models))


def is_no_finding(found: Comparison) -> bool:
    return found.verdict.relation in (Relation.NONE_FOUND, Relation.SUGGESTIVE)


def untied(model: Tensors) -> dict[str, Any]:
    return {**model, HEAD: model.get(HEAD, model[EMBEDDING])}


def disguised(stranger: Tensors, accused: Tensors) -> dict[str, Any]:
    """Store a model in 8 bits, with scales beside it that would make another one of every matrix."""
    mine, theirs = untied(with_gains_of(stranger, accused)), untied(accused)
    out: dict[str, Any] = {}
    for name, values in mine.items():
        if values.ndim < 2:
            out[name] = values.astype(ml_dtypes.bfloat16)
            continue
        out[name] = as_fp8(values)
        out[name + "_scale_inv"] = (theirs[name] / out[name].astype(np.float32)).astype(np.float32)
    return out


def drowned(stranger: Tensors, accused: Tensors) -> dict[str, Any]:
    """Put another model's units beside a model's own, too small to do anything; scales by row would turn that round."""
    out = with_gains_of(stranger, accused)
    for n in range(DEPTH):
        gate, up, down = (f"model.layers.{n}.mlp.{role}_proj.weight" for role in ("gate", "up", "down"))
        size = len(out[up])
        out[gate] = np.concatenate([out[gate], accused[gate]])
        out[up] = as_fp8(np.concatenate([out[up], accused[up] * 2.0**-5]))
        out[down] = np.concatenate([out[down], accused[down]], axis=1)
        rows = np.repeat(np.array([2.0**-10, 2.0**10], np.float32), (size, len(accused[up])))
        out[up + "_scale"] = rows[:, None]
    return {
        n: v.astype(ml_dtypes.bfloat16) if v.dtype == np.float32 and "_scale" not in n else v
        for n, v in out.items()
    }


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("excluded", [False, True])
@pytest.mark.parametrize("planted", [disguised, drowned])
def test_scales_that_are_not_applied_make_no_relative(
    planted: Any, excluded: bool, turned: bool, tmp_path: Path
) -> None:
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    left = planted(stranger, accused)
    scaled = [n for n in left if n + "_scale" in left or n + "_scale_inv" in left]
    width = len(left["model.layers.0.mlp.up_proj.weight"])
    settings = {"quant_method": "fp8", "modules_to_not_convert": [n.removesuffix(".weight") for n in scaled]}
    said = {"quantization_config": settings} if excluded else {}
    tied = HEAD not in left
    config = {**config, "tie_word_embeddings": tied, "intermediate_size": width, **said}
    found = told([saved(left, config, tmp_path), str(MODELS / "base")], turned)
    assert is_no_finding(found)
    assert not found.verdict.inherited_share
    assert "scales_passed_over" in found.report.limits
    models = found.report.to_dict()["models"]
    record = models["candidates"][0] if turned else models["suspect"]
    assert any("the scales were passed over" in text for text in record["inferred"])


@pytest.mark.parametrize("turned", [False, True])
def test_scales_that_are_not_applied_hide_no_copy(turned: bool, tmp_path: Path) -> None:
    (child, config), (stranger, _) = shipped("continued"), shipped("twin")
    planted = disguised(child, stranger)
    gains = {n: child[n].astype(ml_dtypes.bfloat16) for n in child if child[n].ndim == 1}
    own = {n: as_fp8(v) for n, v in untied(child).items() if v.ndim == 2}
    planted = {**planted, **gains, **own}
    folder = saved(planted, {**config, "tie_word_embeddings": False}, tmp_path)
    found = told([folder, str(MODELS / "base")], turned)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert "scales_passed_over" in found.report.limits


def test_models_that_differ_in_scales_alone_are_not_called_identical(tmp_path: Path) -> None:
    base, config = shipped("base")
    config = {**config, "tie_word_embeddings": False}
    plain = {n: as_fp8(v) if v.ndim == 2 else v for n, v in untied(base).items()}
    scales = {n + "_scale": np.ones((1,), np.float32) for n, v in plain.items() if v.ndim == 2}
    one = saved(plain, config, tmp_path / "one")
    two = saved({**plain, **scales}, config, tmp_path / "two")
    for turned in (False, True):
        assert told([one, two], turned).verdict.relation is Relation.COMMON_ORIGIN


def test_blocks_that_the_settings_name_are_scaled(tmp_path: Path) -> None:
    """As DeepSeek-V3 is stored, whose numbers differ much from block to block."""
    child, config = shipped("continued")
    out: dict[str, Any] = {}
    for name, values in child.items():
        if values.ndim < 2 or name in (EMBEDDING, HEAD):
            out[name] = values.astype(ml_dtypes.bfloat16)
            continue
        rows, columns = (np.arange(size) // 32 for size in values.shape)
        scales = np.zeros((rows[-1] + 1, columns[-1] + 1), np.float32)
        np.maximum.at(scales, (rows[:, None], columns[None]), np.abs(values))
        scales /= 448
        out[name] = (values / scales[rows][:, columns]).astype(FP8)
        out[name + "_scale_inv"] = scales
    settings = {"quant_method": "fp8", "weight_block_size": [32, 32], "fmt": "e4m3"}
    folder = saved(out, {**config, "quantization_config": settings}, tmp_path)
    found = filiation.compare(folder, str(MODELS / "base"))
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert "scales_passed_over" not in found.report.limits
    assert "FP8_BLOCK" in found.report.to_dict()["models"]["suspect"]["dtypes"]
