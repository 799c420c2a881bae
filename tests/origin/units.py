"""Units made by hand."""

from __future__ import annotations

import numpy as np

from filiation.origin.units import Units


def ffn(rows: np.ndarray, *signed: np.ndarray, block: np.ndarray | None = None) -> Units:
    """FFN units in place: matched by ``rows``, which do not flip."""
    n = len(rows)
    blocks = np.zeros(n, np.int64) if block is None else block
    return Units(
        "ffn", rows.astype(np.float32), np.arange(n), blocks, tuple(s.astype(np.float32) for s in signed)
    )


def channels(rows: np.ndarray) -> Units:
    """Residual channels in place: matched by ``|cos|`` of what flips with their sign."""
    n, content = len(rows), rows.astype(np.float32)
    return Units("residual", content, np.arange(n), np.zeros(n, np.int64), (content,), sign_free=True)


def drawn(seed: int, n: int, m: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, m)).astype(np.float32)
