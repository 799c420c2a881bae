"""Checkpoints made in memory, so that a room can be tested without a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Checkpoint, Floats, Index, TensorInfo

Arrays = Mapping[str, npt.NDArray[Any]]


class Counter:
    """Counts the bytes that were read, as a source does."""

    def __init__(self) -> None:
        self.bytes_read = 0


@dataclass(frozen=True)
class MemoryTensor:
    """A stored tensor that lies in memory; a read counts what the leading indices would cost on disk."""

    info: TensorInfo
    values: npt.NDArray[Any]
    counter: Counter

    def read(self, index: Index) -> Floats:
        picked = np.asarray(self.values[tuple(index)], dtype=np.float32)
        self.counter.bytes_read += picked.size * self.info.nbytes // max(1, self.values.size)
        return np.array(picked, dtype=np.float32)


def memory_checkpoint(
    tensors: Arrays,
    config: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    side_files: Mapping[str, str] | None = None,
    format: str = "safetensors",
    dtypes: Mapping[str, str] | None = None,
    name: str = "memory",
) -> Checkpoint:
    """Return a checkpoint over `tensors`, in their order; `dtypes` overrides the stored kind of some ("Q4_0")."""
    counter = Counter()
    stored = {
        key: MemoryTensor(
            TensorInfo(key, tuple(value.shape), (dtypes or {}).get(key, "F32"), 4 * value.size, "memory"),
            value,
            counter,
        )
        for key, value in tensors.items()
    }
    return Checkpoint(
        locator=f"memory:{name}",
        name=name,
        format=format,
        files=(),
        stored=stored,
        counter=counter,
        config=config,
        metadata=metadata or {},
        side_files=side_files or {},
    )


def shape_checkpoint(
    shapes: Mapping[str, Sequence[int]], config: Mapping[str, Any] | None = None, **options: Any
) -> Checkpoint:
    """Return a checkpoint of zeros with these shapes; it takes no memory, whatever the sizes."""
    zero = np.zeros((), np.float32)
    return memory_checkpoint(
        {k: np.broadcast_to(zero, tuple(s)) for k, s in shapes.items()}, config, **options
    )
