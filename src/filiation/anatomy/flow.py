"""What a config says of the residual stream: how its summands are scaled, what norms add, which branches are parallel.

As with routing, a family's code reads some settings and passes over others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filiation.anatomy.config import Config, gguf_architecture, own_settings
from filiation.anatomy.further import epsilon_of, stated

_FALCON = ("falcon", "RefinedWeb", "RefinedWebModel")
#: What scales token rows and branches where a config does not say.
_MINICPM = {"minicpm": (1.0, 1.0), "minicpm3": (12.0, 1.4)}
_NEOX = ("gpt_neox", "gptneox")


@dataclass(frozen=True, slots=True)
class Flow:
    """How a residual stream is summed.

    ``embedding`` scales token rows, ``residual`` what every branch writes; ``epsilon`` is what norms add to the mean
    square; ``parallel`` says that both branches of a layer read what was there before either.
    """

    embedding: float = 1.0
    residual: float = 1.0
    epsilon: float = 0.0
    parallel: bool = False


def flow_of(
    config: Config | None, metadata: Mapping[str, Any], component: str, d_model: int, n_layers: int
) -> Flow:
    """Return how the residual stream of ``component`` is summed, as the code of its family does.

    Args:
        metadata: a GGUF file's key-value data, empty for others.

    Raises:
        CorruptCheckpointError: a setting is of the wrong type.
    """
    own = own_settings(config, metadata, component)
    kind = str(own.get("model_type"))
    is_gguf = gguf_architecture(metadata) is not None
    embedding, residual = _scales(own, kind, d_model, 0 if is_gguf else n_layers)
    epsilon = epsilon_of(own, is_gguf=is_gguf)
    return Flow(embedding, residual, epsilon, _parallel(own, kind))


def _scales(own: Config, kind: str, d_model: int, n_layers: int) -> tuple[float, float]:
    """Return what scales token rows, and branches; ``n_layers`` is 0 for GGUF files, which say both in one way."""
    if kind.startswith("gemma"):
        return d_model**0.5, 1.0
    if kind in _MINICPM and n_layers:
        rows, depth = (stated(own, key) for key in ("scale_emb", "scale_depth"))
        usual = _MINICPM[kind]
        return rows or usual[0], (depth or usual[1]) / n_layers**0.5
    if kind.startswith("granite") or kind in _MINICPM:
        return stated(own, "embedding_multiplier") or 1.0, stated(own, "residual_multiplier") or 1.0
    return 1.0, 1.0


def _parallel(own: Config, kind: str) -> bool:
    if kind in _NEOX:
        return stated(own, "use_parallel_residual") is not False
    if kind in _FALCON:
        return bool(stated(own, "new_decoder_architecture")) or stated(own, "parallel_attn") is not False
    return kind.startswith("stablelm") and bool(stated(own, "use_parallel_residual"))
