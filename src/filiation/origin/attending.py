"""What tokens look at: softmax weights worked out from queries and keys, without positions (ADR 0024).

A head can look at one token that stands in front of everything, and take a constant from it. So the rows that prompts
begin or end with are looked at beside the sampled ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from filiation.anatomy.config import own_settings
from filiation.origin.effects import offset
from filiation.origin.gather import Side
from filiation.origin.units import Floats, Integers

#: Keys of the tokens that stand in front of every prompt, or behind it.
_SPECIAL = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id", "cls_token_id")


def special_tokens(side: Side, vocab: int) -> Integers:
    """Return the numbers of the tokens that a config says prompts begin or end with; token 0 where it says none."""
    checkpoint = side.anatomy.checkpoint
    own = own_settings(checkpoint.config, checkpoint.metadata, side.component)
    found: list[int] = []
    for key in _SPECIAL:
        said: Any = own.get(key)
        several: list[Any] = said if isinstance(said, list) else [said]
        found += [n for n in several if isinstance(n, int) and not isinstance(n, bool) and 0 <= n < vocab]
    return np.array(list(dict.fromkeys(found)) or [0])


def looked_at(side: Side, layer: int, given: Floats) -> Floats | None:
    """Return how much each row looks at each, ``(heads, n, n)``; None where queries and keys are not known.

    Args:
        given: ``(n, d)``, what the branch is given, before gains that are folded into readers.
    """
    g = side.geometry
    q, k = side.reader("q", layer), side.reader("k", layer)
    if q is None or k is None or not g.n_heads or not g.n_kv_heads or not g.d_head:
        return None
    if len(q) != g.n_heads * g.d_head or len(k) != g.n_kv_heads * g.d_head:
        return None
    asks = _heads(side, "q", layer, given @ q.T + _shift(side, "q", layer, len(q)))
    answers = _heads(side, "k", layer, given @ k.T + _shift(side, "k", layer, len(k)))
    answers = np.repeat(answers, g.n_heads // g.n_kv_heads, axis=0)
    scores = asks @ answers.transpose(0, 2, 1) / np.float32(np.sqrt(g.d_head))
    scores = np.where(np.isfinite(scores), scores, np.float32(-1e30))
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True)


def _shift(side: Side, role: str, layer: int, n: int) -> Floats:
    return offset(side, role, layer, None, n).astype(np.float32)


def _heads(side: Side, role: str, layer: int, rows: Floats) -> Floats:
    """Return rows by head ``(heads, n, d_head)``, behind the norm that some models have there."""
    width = side.geometry.d_head or 1
    heads = rows.reshape(len(rows), -1, width).transpose(1, 0, 2)
    gain: Floats | None = side.matrix(f"{role}_norm", layer)
    if gain is None or gain.shape != (width,):
        return heads
    sizes = np.sqrt(np.square(heads, dtype=np.float64).mean(axis=2, keepdims=True))
    return (heads / np.maximum(sizes, 1e-30) * gain).astype(np.float32)
