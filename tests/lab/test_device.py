"""Where a training runs, and that what it leaves lies on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from filiation.lab import device
from filiation.lab.llama import Shape, initial_weights
from filiation.lab.train import Recipe, Stream, train, windows

torch = pytest.importorskip("torch", reason="needs the extra 'lab'")
SMALL = Shape(vocab=32, width=16, layers=1, heads=2, kv_heads=1, head_dim=8, ffn=24, context=16)
STREAM = (np.arange(2000) * 7 + np.arange(2000) // 3) % 32


@pytest.mark.parametrize(("seen", "wanted"), [(False, "cpu"), (True, "cuda")])
def test_a_gpu_is_chosen_where_torch_sees_one(
    seen: bool, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen)
    assert device.device().type == wanted


def test_arrays_are_placed_and_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    there = device.placed(values.T)
    assert there.device.type == "cpu"
    assert np.array_equal(device.fetched(there.requires_grad_()), values.T)
    copies = device.all_placed({"a": values})
    copies["a"].zero_()
    assert values[2, 3] == 11


def test_every_tensor_of_a_run_is_asked_for_on_the_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []
    chosen = torch.device("cpu")

    def counted() -> object:
        asked.append("once")
        return chosen

    monkeypatch.setattr(device, "device", counted)
    start = initial_weights(SMALL, 1)
    recipe = Recipe(steps=3, rate=1e-2, order_seed=1, warmup=1, batch=2, context=16)
    held_out = windows(STREAM, 16, 4)
    done = train("run", start, SMALL.config(), Stream(STREAM), recipe, held_out, tmp_path)
    # The parameters once to train and twice to measure; inputs and targets of each step and of both measurements.
    assert len(asked) == 3 * len(start) + 2 * (recipe.steps + 2)
    assert all(value.dtype == np.float32 for value in done.weights.values())
