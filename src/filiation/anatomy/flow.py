"""What a config says of the residual stream: how its summands are scaled, what norms add, which branches are parallel.

As with routing, a family's code reads some settings and passes over others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from filiation.anatomy.config import Config, gguf_architecture, own_settings
from filiation.anatomy.families import of_type
from filiation.anatomy.further import EPSILONS, epsilon_keys, stated

_FALCON = ("falcon", "RefinedWeb", "RefinedWebModel")
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
    embedding, residual = _scales(own, kind, d_model, n_layers)
    is_gguf = gguf_architecture(metadata) is not None
    return Flow(embedding, residual, _epsilon(own, kind, is_gguf=is_gguf), _parallel(own, kind))


def _epsilon(own: Config, kind: str, *, is_gguf: bool) -> float:
    if is_gguf:
        return max(stated(own, *EPSILONS) or 0.0, 0.0)
    if of_type(kind):
        return max(stated(own, *epsilon_keys(own)) or 0.0, 0.0)
    # Of several keys nobody knows which one is read: the least of them, since a large one would drown every row.
    every = (stated(own, key) for key in EPSILONS)
    return max(min((value for value in every if value is not None), default=0.0), 0.0)


def _scales(own: Config, kind: str, d_model: int, n_layers: int) -> tuple[float, float]:
    if kind.startswith("gemma"):
        return d_model**0.5, 1.0
    if kind.startswith("minicpm") and stated(own, "scale_emb") is not None:
        return stated(own, "scale_emb"), (stated(own, "scale_depth") or 1.0) / max(1, n_layers) ** 0.5
    if kind.startswith(("granite", "minicpm")):
        return stated(own, "embedding_multiplier") or 1.0, stated(own, "residual_multiplier") or 1.0
    return 1.0, 1.0


def _parallel(own: Config, kind: str) -> bool:
    if kind in _NEOX:
        return stated(own, "use_parallel_residual") is not False
    if kind in _FALCON:
        return bool(stated(own, "new_decoder_architecture")) or stated(own, "parallel_attn") is not False
    return kind.startswith("stablelm") and bool(stated(own, "use_parallel_residual"))
