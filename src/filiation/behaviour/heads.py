"""The output layer of a checkpoint: rows of the unembedding, bias, final norm, soft cap. Read by rows, never whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation import vocabulary
from filiation.anatomy import Anatomy, dissect
from filiation.anatomy.model import Part
from filiation.checkpoint import Checkpoint
from filiation.errors import UnknownAnatomyError
from filiation.vocabulary import Vocabulary

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Head:
    """What turns a hidden vector into logits: ``z = W h + b``, then a soft cap where the model has one.

    Attributes:
        name: of the model.
        width: length of the hidden vector, ``d``.
        size: rows of ``W``.
        rows: ids -> ``W[ids]``, shape ``[n, d]``, float64.
        bias: shape ``[size]``, or None.
        gain: of the final norm, shape ``[d]``, or None where it was not found.
        shift: of the final norm (LayerNorm), or None.
        norm: ``rms`` or ``layer``.
        softcap: ``z`` becomes ``softcap * tanh(z / softcap)``; None where the model has none.
        scale: factor on the logits (Cohere, Granite).
        vocabulary: tokens by id, None where there is none.
    """

    name: str
    width: int
    size: int
    rows: Callable[[Integers], Doubles]
    bias: Doubles | None = None
    gain: Doubles | None = None
    shift: Doubles | None = None
    norm: str = "rms"
    softcap: float | None = None
    scale: float = 1.0
    vocabulary: Vocabulary | None = None


def of_matrix(name: str, matrix: npt.NDArray[Any], **known: Any) -> Head:
    """Return the head of a matrix ``[size, d]`` in memory; ``known`` are further fields of :class:`Head`."""
    size, width = matrix.shape

    def rows(ids: Integers) -> Doubles:
        return matrix[ids].astype(np.float64)

    return Head(name, width, size, rows, **known)


def of_checkpoint(checkpoint: Checkpoint, name: str | None = None) -> Head:
    """Return the head of a checkpoint: its own, or the embedding where the two are tied.

    Raises:
        UnknownAnatomyError: neither was found.
        CorruptCheckpointError: the vocabulary beside it cannot be read.
    """
    anatomy = dissect(checkpoint)
    part = anatomy.part("head") or anatomy.part("embedding")
    if part is None or len(part.shape) != 2:
        raise UnknownAnatomyError(
            "This checkpoint has no output layer that could be found.",
            file=checkpoint.locator,
            reason="Neither an unembedding nor a token embedding was named.",
            next_step="Give the language model itself as the candidate.",
        )
    settings = _settings(checkpoint)
    geometry = anatomy.geometry.get("language")
    return Head(
        name or checkpoint.name,
        part.shape[1],
        part.shape[0],
        lambda ids: _rows(anatomy, part, ids),
        _vector(anatomy, "head.bias"),
        _vector(anatomy, "final_norm"),
        _vector(anatomy, "final_norm.bias"),
        "rms" if geometry is None else geometry.norm,
        _positive(settings, "final_logit_softcapping"),
        _scale(settings),
        vocabulary.read(checkpoint),
    )


def permuted(head: Head, seed: int) -> Head:
    """Return the same head with its rows in another order: what no longer belongs to its tokens."""
    order = np.random.default_rng([0x0E4D, seed]).permutation(head.size)
    bias = None if head.bias is None else head.bias[order]

    def rows(ids: Integers) -> Doubles:
        return head.rows(order[ids])

    return replace(head, name=f"row_permuted_{seed}", rows=rows, bias=bias)


def _rows(anatomy: Anatomy, part: Part, ids: Integers) -> Doubles:
    """Read scattered rows in their order on disk, whatever order is asked for."""
    wanted, back = np.unique(ids, return_inverse=True)
    stored = wanted if part.view.rows is None else part.view.rows[wanted]
    picked = replace(part, view=replace(part.view, rows=stored), shape=(len(wanted), part.shape[1]))
    return anatomy.read(picked)[back].astype(np.float64)


def _vector(anatomy: Anatomy, role: str) -> Doubles | None:
    part = anatomy.part(role)
    return None if part is None else anatomy.read(part).astype(np.float64)


def _settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Return the config, the text model's own values first; a GGUF file's keys without the architecture's name."""
    config: dict[str, Any] = dict(checkpoint.config or {})
    inner = config.get("text_config")
    config |= dict(inner) if isinstance(inner, Mapping) else {}
    arch = f"{checkpoint.metadata.get('general.architecture', '')}."
    own = {k[len(arch) :]: v for k, v in checkpoint.metadata.items() if k.startswith(arch)}
    return config | own


def _positive(settings: Mapping[str, Any], key: str) -> float | None:
    value: Any = settings.get(key)
    try:
        number = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None


def _scale(settings: Mapping[str, Any]) -> float:
    times = _positive(settings, "logit_scale")
    divided = _positive(settings, "logits_scaling")
    return times if times is not None else 1.0 / divided if divided is not None else 1.0
