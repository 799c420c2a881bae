"""Checkpoints that lie elsewhere: the same values, few requests, nothing hashed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf.quants import dequantize, quantize

from filiation import checkpoint
from filiation.checkpoint import opening
from filiation.errors import BudgetError, CorruptCheckpointError
from tests.checkpoint.makers import (
    Remote,
    check,
    model,
    save_legacy,
    save_torch,
    sharded,
    tensor,
    weights,
    write_gguf,
)

Open = Callable[..., tuple[checkpoint.Checkpoint, Remote]]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Open:
    def open_remote(folder: Path, **options: Any) -> tuple[checkpoint.Checkpoint, Remote]:
        remote = Remote(folder)
        monkeypatch.setattr(opening, "open_source", lambda _: remote)
        return checkpoint.open("remote://x", **options), remote

    return open_remote


def test_safetensors(tmp_path: Path, opened: Open) -> None:
    bf16 = (
        np.random.default_rng(0).standard_normal((900, 700)).astype(ml_dtypes.bfloat16)
    )  # more than a chunk
    found, remote = opened(model(tmp_path, {**weights(), "b": bf16}))
    assert [name for name, _, _ in remote.requests] == ["model.safetensors", "config.json"]
    assert not found.is_local
    assert found.revision == "c" * 40
    assert [f.not_hashed for f in found.files] == ["sampled read"] * 2
    for name, expected in {**weights(), "b": bf16}.items():
        np.testing.assert_array_equal(found.read(name), expected.astype(np.float32))
        np.testing.assert_array_equal(found.read(name, slice(1, 3)), expected[1:3].astype(np.float32))
        np.testing.assert_array_equal(found.stored[name].read_raw((1,)), expected[1])  # type: ignore[attr-defined]
    before = len(remote.requests)
    found.read("b")
    assert len(remote.requests) == before + 1


def test_all_hashes_when_asked_for(tmp_path: Path, opened: Open) -> None:
    local = checkpoint.open(str(model(tmp_path)))
    found, _ = opened(tmp_path, hash_files=True)
    assert found.files == local.files
    assert all(f.sha256 for f in found.files)


def test_shards_cost_one_request_each(tmp_path: Path, opened: Open) -> None:
    names = sharded(tmp_path, [{f"w{i}": np.full(300, i, np.float32)} for i in range(12)])
    found, remote = opened(tmp_path)
    assert list(found.tensors) == [f"w{i}" for i in range(12)]
    assert sorted(n for n, _, _ in remote.requests) == sorted([*names, "model.safetensors.index.json"])
    assert found.read("w7", slice(0, 3)).tolist() == [7, 7, 7]


def test_a_damaged_shard_is_named(tmp_path: Path, opened: Open) -> None:
    names = sharded(tmp_path, [{f"w{i}": np.full(3, i, np.float32)} for i in range(6)])
    (tmp_path / names[3]).write_bytes(b"")
    with pytest.raises(CorruptCheckpointError) as caught:
        opened(tmp_path)
    check(caught.value, CorruptCheckpointError, file=names[3], reason="0 bytes")


def test_gguf(tmp_path: Path, opened: Open) -> None:
    values = np.random.default_rng(0).standard_normal((64, 256), dtype=np.float32)
    kind = gguf.GGMLQuantizationType.Q4_0
    raw = quantize(values, kind)
    tokens = [f"token{i}" for i in range(40_000)]
    write_gguf(tmp_path / "m.gguf", {"w": raw}, {"w": kind}, {"tokens": tokens})
    found, remote = opened(tmp_path)
    header = (tmp_path / "m.gguf").stat().st_size - raw.nbytes
    assert found.bytes_read < 2 * header
    assert len(remote.requests) < 8
    assert found.metadata["tokens"] == tuple(tokens)
    np.testing.assert_array_equal(found.read("w", slice(5, 60)), dequantize(raw, kind)[5:60])


@pytest.mark.parametrize("save", [save_torch, save_legacy])
def test_torch(tmp_path: Path, opened: Open, save: Any) -> None:
    tensors = {f"w{i}": np.full((40, 8), i, np.float32) for i in range(9)}
    save(tmp_path / "pytorch_model.bin", {n: tensor(v, str(i)) for i, (n, v) in enumerate(tensors.items())})
    found, remote = opened(tmp_path)
    assert len(remote.requests) <= 8  # not one for every storage
    for name, expected in tensors.items():
        np.testing.assert_array_equal(found.read(name, slice(1, 7)), expected[1:7])


def test_an_answer_that_is_too_short_names_the_tensor(tmp_path: Path, opened: Open) -> None:
    found, remote = opened(model(tmp_path))
    remote.short = 1
    for read in (found.read, lambda name: found.stored[name].read_raw(())):  # type: ignore[attr-defined]
        with pytest.raises(CorruptCheckpointError) as caught:
            read("layer.0.weight")
        check(
            caught.value,
            CorruptCheckpointError,
            file="model.safetensors",
            tensor="layer.0.weight",
            reason="came",
        )


def test_prefetch_passes_the_ranges_on(tmp_path: Path, opened: Open) -> None:
    found, remote = opened(model(tmp_path))
    found.prefetch([("embed.weight", (slice(2, 4),)), ("layer.0.bias", ()), ("embed.weight", (0,))])
    ((name, ranges),) = remote.prefetched
    assert name == "model.safetensors"
    assert list(ranges) == sorted(ranges)
    assert sorted(stop - start for start, stop in ranges) == [32, 32, 64]


def test_what_was_prefetched_is_not_charged_twice(tmp_path: Path, opened: Open) -> None:
    model(tmp_path, {"w": np.ones((1000, 25), np.float32)})
    free, _ = opened(tmp_path)
    found, remote = opened(tmp_path, budget=free.bytes_read + 99_999)
    with pytest.raises(BudgetError):
        found.prefetch([("w", ())])
    assert not remote.prefetched
    found.prefetch([("w", (slice(0, 900),))])
    assert found.read("w", slice(0, 900)).shape == (900, 25)
    with pytest.raises(BudgetError) as caught:
        found.read("w", slice(900, 1000))
    check(caught.value, BudgetError, file="model.safetensors", tensor="w", reason="10000 more", exit_code=2)
