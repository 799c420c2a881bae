"""A byte budget, from opening the files to the last step: nothing is read beyond it, and no byte is charged twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import filiation
from filiation import checkpoint
from filiation.errors import BudgetError
from filiation.evidence import Relation
from filiation.lab import derive, launder, shrink
from filiation.lab.layout import Config, Tensors
from filiation.lab.save import load_model
from tests.checkpoint.makers import write_gguf

EXAMPLES = Path(__file__).parents[2] / "examples" / "models"
SUSPECT, CANDIDATE = str(EXAMPLES / "continued"), str(EXAMPLES / "base")


Change = Callable[[Tensors, Config], tuple[Tensors, Config]]
#: What sends a comparison into each of its stages: pruned, rearranged, turned, and none of the candidate's at all.
CHANGES: dict[str, Change] = {
    "neurons pruned": lambda t, c: shrink.prune_ffn_by_norm(t, c, units=120),
    "layers dropped": lambda t, c: derive.take_layers(t, c, layers=[0, 1, 3, 4, 5]),
    "neurons permuted": lambda t, c: launder.permute_ffn(t, c, seed=1),
    "orders laundered": lambda t, c: launder.launder_orders(t, c, seed=1),
    "experts": lambda t, c: load_model(EXAMPLES / "moe-upcycled"),
    "stranger": lambda t, c: load_model(EXAMPLES / "twin"),
}


def size(folder: str) -> int:
    return sum(f.stat().st_size for f in Path(folder).iterdir())


@pytest.mark.parametrize("budget", [6_375, 10_000, 70_000, 150_000, 300_000, 740_000, 752_000, 10**6])
def test_nothing_is_read_beyond_the_budget(budget: int) -> None:
    found = filiation.compare(SUSPECT, CANDIDATE, budget=budget)
    read = [m["bytes_read"] for m in _models(found)]
    assert max(read) <= budget
    assert (found.verdict.relation is Relation.COMMON_ORIGIN) == (budget >= 150_000)


@pytest.fixture
def _only_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take these models for large ones: read in samples, and not hashed."""
    monkeypatch.setattr("filiation.comparison.opening.WHOLE_UP_TO", 1)
    monkeypatch.setattr("filiation.checkpoint.opening.SMALL", 1)


@pytest.mark.usefixtures("_only_samples")
@pytest.mark.parametrize("full", [False, True], ids=["sampled", "full"])
@pytest.mark.parametrize("name", CHANGES)
def test_no_stage_reads_beyond_the_budget(name: str, full: bool, tmp_path: Path) -> None:
    """Files of four bytes a value, of which a stage takes twice what it does of the usual two."""
    parent = load_model(Path(CANDIDATE))
    for place, (tensors, config) in (("parent", parent), ("child", CHANGES[name](*parent))):
        folder = tmp_path / place
        folder.mkdir()
        save_file({k: np.asarray(v, np.float32) for k, v in tensors.items()}, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config))
    for budget in (200_000, 400_000, 700_000):
        found = filiation.compare(str(tmp_path / "child"), str(tmp_path / "parent"), full=full, budget=budget)
        assert max(m["bytes_read"] for m in _models(found)) <= budget
        spent = "budget_spent" in found.report.limits
        assert spent or found.verdict.relation is Relation.COMMON_ORIGIN, "what was left out is said"


@pytest.mark.parametrize("budget", [100, 1_000, 6_374])
def test_a_budget_that_cannot_open_a_model_is_refused_with_the_smallest_that_can(budget: int) -> None:
    header = int.from_bytes((Path(SUSPECT) / "model.safetensors").read_bytes()[:8], "little")
    least = 8 + header + (Path(SUSPECT) / "config.json").stat().st_size
    with pytest.raises(BudgetError) as refused:
        filiation.compare(SUSPECT, CANDIDATE, budget=budget)
    assert f"--budget {least}" in str(refused.value.next_step)
    assert "continued" in refused.value.message
    assert checkpoint.open(SUSPECT, keep=least).bytes_read == least


def test_a_gguf_header_is_held_to_the_budget(tmp_path: Path) -> None:
    whole = tmp_path / "model.gguf"
    write_gguf(whole, {"token_embd.weight": np.zeros((512, 64), np.float32)})
    assert whole.stat().st_size > 100_000
    assert checkpoint.open(str(whole), keep=10_000).bytes_read <= 10_000
    with pytest.raises(BudgetError, match="too small to open"):
        checkpoint.open(str(whole), keep=20)


def test_files_that_fit_are_read_once_and_whole() -> None:
    everything = filiation.compare(SUSPECT, CANDIDATE)
    found = filiation.compare(SUSPECT, CANDIDATE, budget=10**6)
    assert found.verdict == everything.verdict
    assert [m["bytes_read"] for m in _models(found)] == [size(SUSPECT), size(CANDIDATE)]
    assert all(f["sha256"] for m in _models(found) for f in m["files"])


def test_files_that_do_not_fit_are_not_hashed() -> None:
    found = filiation.compare(SUSPECT, CANDIDATE, budget=400_000)
    assert all(f["sha256"] is None and f["not_hashed"] for m in _models(found) for f in m["files"])


def _models(found: filiation.Comparison) -> list[dict[str, Any]]:
    models = found.to_dict()["models"]
    return [models["suspect"], *models["candidates"]]


def test_what_is_kept_is_the_same_as_what_is_read() -> None:
    kept, plain = checkpoint.open(SUSPECT, keep=10**7), checkpoint.open(SUSPECT)
    assert kept.kept
    assert not plain.kept
    assert not checkpoint.open(SUSPECT, keep=700_000).kept
    before = kept.bytes_read
    for name in plain.tensors:
        assert (kept.read(name) == plain.read(name)).all()
    assert kept.read_file("tokenizer.json") == plain.read_file("tokenizer.json")
    assert kept.bytes_read - before <= size(SUSPECT)
    for name in plain.tensors:
        kept.read(name)
    assert kept.bytes_read == size(SUSPECT)
