"""Tensors that loaders drop make no relative and hide none: experts, fused names and biases beside a Llama's own."""

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
from filiation.lab.save import save_model
from filiation.report.wording import phrases
from tests.comparison.test_beyond_config import (
    DEPTH,
    MODELS,
    TOKENIZER,
    Tensors,
    shipped,
    with_gains_of,
)


def mlp(layer: int, role: str) -> str:
    return f"model.layers.{layer}.mlp.{role}_proj.weight"


def as_experts(other: Tensors) -> dict[str, Any]:
    return {
        f"model.layers.{n}.mlp.experts.0.{role}_proj.weight": other[mlp(n, role)]
        for n in range(DEPTH)
        for role in ("gate", "up", "down")
    }


def as_fused(other: Tensors) -> dict[str, Any]:
    attention = {
        f"model.layers.{n}.self_attn.qkv_proj.weight": np.concatenate(
            [other[f"model.layers.{n}.self_attn.{role}_proj.weight"] for role in "qkv"]
        )
        for n in range(DEPTH)
    }
    return attention | {
        f"model.layers.{n}.mlp.gate_up_proj.weight": np.concatenate(
            [other[mlp(n, "gate")], other[mlp(n, "up")]]
        )
        for n in range(DEPTH)
    }


def saved(tensors: Tensors, config: Mapping[str, Any], folder: Path) -> str:
    save_model(folder, dict(tensors), dict(config), TOKENIZER)
    return str(folder)


def told(models: list[str], turned: bool) -> Comparison:
    return filiation.compare(*(models[::-1] if turned else models))


def is_no_finding(found: Comparison) -> bool:
    return found.verdict.relation in (Relation.NONE_FOUND, Relation.SUGGESTIVE)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("planted", [as_experts, as_fused])
def test_leftovers_of_another_model_make_no_relative(planted: Any, turned: bool, tmp_path: Path) -> None:
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    left = planted(accused)
    framer = saved({**with_gains_of(stranger, accused), **left}, config, tmp_path)
    found = told([framer, str(MODELS / "base")], turned)
    assert is_no_finding(found)
    assert not found.verdict.inherited_share
    assert "tensors_not_loaded" in found.report.limits
    (record,) = (e for e in found.report.evidence if e.reason == "tensors_not_loaded")
    assert record.status is Status.NOT_MEASURED
    assert record.n == len(left)
    assert record.id.endswith("of=candidate" if turned else "of=suspect")


@pytest.mark.parametrize("turned", [False, True])
def test_biases_that_are_switched_off_silence_nothing(turned: bool, tmp_path: Path) -> None:
    """Units that cancel one another, and biases that would shut what cancels, were they loaded."""
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    out = with_gains_of(stranger, accused)
    for n in range(DEPTH):
        g, u, d = (accused[mlp(n, role)] for role in ("gate", "up", "down"))
        blocks = [(g, u, d), (-g, u, -d), (u, g, -d), (-u, g, d)]
        for i, role in enumerate(("gate", "up", "down")):
            own = out[mlp(n, role)]
            out[mlp(n, role)] = np.concatenate([*(b[i] for b in blocks), own], axis=int(role == "down"))
        shut = np.zeros(len(out[mlp(n, "gate")]), np.float32)
        shut[len(g) :] = -1e4
        out[f"model.layers.{n}.mlp.gate_proj.bias"] = shut
    wide = {**config, "intermediate_size": len(out[mlp(0, "gate")])}
    found = told([saved(out, wide, tmp_path), str(MODELS / "base")], turned)
    assert is_no_finding(found)
    assert "tensors_not_loaded" in found.report.limits


@pytest.mark.parametrize("turned", [False, True])
def test_leftovers_beside_a_childs_own_hide_nothing(turned: bool, tmp_path: Path) -> None:
    child, config = shipped("continued")
    rng = np.random.default_rng(0)

    def junk(like: Any) -> Any:
        return rng.normal(0, 0.05, like.shape).astype(np.float32)

    left = {
        name: junk(values) for planted in (as_experts, as_fused) for name, values in planted(child).items()
    }
    biases = {
        f"model.layers.{n}.mlp.gate_proj.bias": np.full(len(child[mlp(n, "gate")]), -1e4, np.float32)
        for n in range(DEPTH)
    }
    models = [saved({**child, **left, **biases}, config, tmp_path), str(MODELS / "base")]
    found = told(models, turned)
    assert found.verdict.relation is Relation.COMMON_ORIGIN
    assert found.verdict.inherited_share == 1.0
    assert "tensors_not_loaded" in found.report.limits


def test_what_nobody_can_judge_makes_no_relative(tmp_path: Path) -> None:
    """Without a config that says which of two networks is loaded, neither is compared."""
    (stranger, config), (accused, _) = shipped("twin"), shipped("base")
    tensors = {**with_gains_of(stranger, accused), **as_experts(accused)}
    framer = saved(tensors, config, tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**config, "model_type": "nobody_knows", "architectures": ["NobodyKnows"]}))
    found = told([framer, str(MODELS / "base")], False)
    assert is_no_finding(found)
    assert "claimed_twice" in found.report.limits
    assert [e.n for e in found.report.evidence if e.reason == "claimed_twice"] == [6 * DEPTH]


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_both_languages_say_why(language: str) -> None:
    for reason in ("tensors_not_loaded", "claimed_twice"):
        assert phrases(language).name("reason", reason)
        assert phrases(language).name("limit", reason)
