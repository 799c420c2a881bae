"""A hub on loopback, a clock that does not wait, and a small model to serve."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hubserver import BytesFile, HubServer
from filiation.checkpoint.sources.http_retry import Patience
from filiation.checkpoint.sources.hub import HubSettings

TOKEN = "hf_aSecretThatMustNotBeSeen"


class FakeTime:
    """A clock that moves when someone sleeps, and by `tick` each time it is looked at."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 0.0
        self.tick = tick
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def patience(time: FakeTime) -> Patience:
    return Patience(sleep=time.sleep, clock=time.clock, silence=5.0, connect=5.0)


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


@pytest.fixture
def settings(server: HubServer, tmp_path: Path, patience: Patience) -> HubSettings:
    return HubSettings(server.endpoint, tmp_path / "hub", patience=patience)


def weights(size: int = 3_000_000, seed: int = 1) -> BytesFile:
    """A safetensors file of one int8 tensor with bytes that are all different enough to notice a shift."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    words = np.arange(size // 4 + 1, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    return BytesFile(struct.pack("<Q", len(header)) + header + words.tobytes()[:size], large=True)


def small_model(seed: int = 1) -> dict[str, BytesFile]:
    """A model repository: weights, config, tokenizer, and a file in a folder."""
    return {
        "model.safetensors": weights(seed=seed),
        "config.json": BytesFile(b'{"model_type": "llama"}'),
        "tokenizer.json": BytesFile(b'{"model": {}}' * 1000, large=True),
        "onnx/model.onnx": BytesFile(b"onnx" * 1000, large=True),
    }
