"""The golden files, and packed tensors made in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.checkpoint import packing
from filiation.checkpoint.formats import safetensors
from filiation.checkpoint.model import Floats, Index, Span, StoredTensor, TensorInfo
from filiation.checkpoint.sources.local import LocalSource

GOLDEN = Path(__file__).parent / "golden"
NAMES = tuple(sorted(path.stem for path in GOLDEN.glob("*.safetensors")))
_PREFIX = "oracle."


@dataclass(frozen=True)
class Golden:
    """One golden file: what is stored, what the oracle makes of it, the config, and the source it is read from."""

    packed: Mapping[str, StoredTensor]
    oracle: Mapping[str, npt.NDArray[Any]]
    config: Mapping[str, Any]
    source: LocalSource


def golden(name: str) -> Golden:
    """Open a golden file through the safetensors reader."""
    source = LocalSource(GOLDEN / f"{name}.safetensors")
    loaded = safetensors.load(source)
    packed = {key: tensor for key, tensor in loaded.tensors.items() if not key.startswith(_PREFIX)}
    oracle: dict[str, npt.NDArray[Any]] = {}
    for key, tensor in loaded.tensors.items():
        if key.startswith(_PREFIX):
            oracle[key.removeprefix(_PREFIX)] = tensor.read_raw(())  # type: ignore[attr-defined]
    return Golden(packed, oracle, json.loads(loaded.metadata["golden"])["config"], source)


def unpack(
    tensors: Mapping[str, StoredTensor], config: Mapping[str, Any] | None
) -> tuple[Mapping[str, StoredTensor], tuple[str, ...]]:
    """Return the logical tensors and the notes."""
    found = packing.unpack(tensors, config)
    return found.tensors, found.notes


@dataclass(frozen=True)
class RawMemory:
    """A stored tensor in memory, readable as it is stored."""

    info: TensorInfo
    values: npt.NDArray[Any]

    def read(self, index: Index = ()) -> Floats:
        return np.asarray(self.values[tuple(index)], dtype=np.float32)

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        return np.asarray(self.values[tuple(index)])

    def spans(self, index: Index = ()) -> tuple[Span, ...]:
        return ()


def stored(kinds: Mapping[str, tuple[str, npt.NDArray[Any]]]) -> dict[str, StoredTensor]:
    """Return tensors by name from ``{name: (kind, values)}``."""
    return {
        name: RawMemory(TensorInfo(name, values.shape, kind, values.nbytes, "memory.safetensors"), values)
        for name, (kind, values) in kinds.items()
    }
