"""The benchmark's checkpoints: random llama-shaped weights of a stated size, a derived one and a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from benchmarks.synthetic import Shape

LARGE = Shape(layers=16, hidden=2048, ffn=5632, vocab=32000, heads=16, kv_heads=16)
SMALL = Shape(layers=6, hidden=160, ffn=448, vocab=2048, heads=4, kv_heads=4)


def large(folder: Path) -> tuple[Path, Path, Path]:
    """Return base, derived (5 % noise) and independent checkpoints of about 1.8 GB each, written once."""
    return (
        _written(folder / "large-base", LARGE, seed=1),
        _written(folder / "large-child", LARGE, seed=1, noise=0.05),
        _written(folder / "large-stranger", LARGE, seed=3),
    )


def small(folder: Path) -> tuple[Path, Path]:
    """Return two related checkpoints of about 5 MB."""
    return _written(folder / "small-base", SMALL, seed=1), _written(
        folder / "small-child", SMALL, seed=1, noise=0.05
    )


def _written(folder: Path, shape: Shape, seed: int, noise: float = 0.0) -> Path:
    if (folder / "config.json").exists():
        return folder
    folder.mkdir(parents=True)
    rng, extra = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    tensors: dict[str, Any] = {}
    for name, size in shape.tensors():
        values = rng.standard_normal(size, np.float32)
        if noise:
            values += noise * extra.standard_normal(size, np.float32)
        values = 1 + 0.1 * values if len(size) == 1 else 0.02 * values
        tensors[name] = values.astype(ml_dtypes.bfloat16)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(shape.config()))
    return folder
