"""Finding the named tensors in what a PyTorch file holds, which is not always just a state dict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from filiation.checkpoint.encodings import ENCODINGS
from filiation.checkpoint.model import StoredTensor, TensorInfo
from filiation.checkpoint.ranges import RangeTensor
from filiation.checkpoint.strided import StridedTensor, is_contiguous
from filiation.checkpoint.torchfile.standins import Tensor
from filiation.checkpoint.torchfile.storages import TorchFile, damaged, unsupported

_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "params")
_NOT_WEIGHTS = (
    "optimizer",
    "optim",
    "lr_scheduler",
    "scheduler",
    "scaler",
    "rng",
    "args",
    "hyper_parameters",
)
_MAX_DEPTH = 8
_MAX_TENSORS = 1_000_000


@dataclass(slots=True)
class Named:
    """Tensors by name, and what had to be assumed to find them."""

    tensors: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    notes: list[str] = field(default_factory=list[str])
    ignored: int = 0


def find_tensors(root: Any, file: str) -> Named:
    """Unwrap what a file holds (``{"state_dict": ...}`` and the like) down to its named tensors.

    Raises:
        UnsupportedFormatError: it holds no named tensors.
        CorruptCheckpointError: it is nested beyond belief, or one name stands for two tensors.
    """
    named = Named()
    value = root
    for _ in range(_MAX_DEPTH):
        inner = _wrapped(value)
        if inner is None:
            break
        value = value[inner]
        named.notes.append(f"weights taken from the entry {inner!r} of {file}")
    if not isinstance(value, dict):
        what = "a single tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise unsupported(file, f"It holds {what}, not a dictionary of named tensors.")
    _collect(cast(dict[Any, Any], value), "", 0, named, file)
    if not named.tensors:
        raise unsupported(file, "It holds no named tensors.")
    if named.ignored:
        named.notes.append(f"{named.ignored} entries of {file} that are not tensors were ignored")
    return named


def _wrapped(value: Any) -> str | None:
    """Return the key under which the weights are, where a dictionary holds no tensors of its own."""
    if not isinstance(value, dict):
        return None
    entries = cast(dict[Any, Any], value)
    if any(isinstance(item, Tensor) for item in entries.values()):
        return None
    return next((key for key in _WRAPPERS if isinstance(entries.get(key), dict)), None)


def _collect(entries: dict[Any, Any], prefix: str, depth: int, named: Named, file: str) -> None:
    if depth > _MAX_DEPTH:
        raise damaged(file, f"Its dictionaries are nested more than {_MAX_DEPTH} deep.")
    for key, value in entries.items():
        name = f"{prefix}{key}"
        if isinstance(value, Tensor):
            _add(name, value, named, file)
        elif isinstance(value, dict) and value and not (depth == 0 and str(key).startswith(_NOT_WEIGHTS)):
            _collect(cast(dict[Any, Any], value), name + ".", depth + 1, named, file)
        else:
            named.ignored += 1
        if named.ignored > _MAX_TENSORS:
            raise damaged(file, f"It holds more than {_MAX_TENSORS} entries.")


def _add(name: str, tensor: Tensor, named: Named, file: str) -> None:
    if not name.isprintable():
        raise damaged(file, "A tensor's name holds unprintable characters.", ascii(name))
    if name in named.tensors:
        raise damaged(file, "Two tensors have one name.", name)
    if len(named.tensors) >= _MAX_TENSORS:
        raise damaged(file, f"It holds more than {_MAX_TENSORS} tensors.")
    named.tensors[name] = tensor


def stored_tensors(named: Named, opened: TorchFile, file: str) -> dict[str, StoredTensor]:
    """Turn descriptions into readable tensors, after checking that each lies within its storage.

    Raises:
        CorruptCheckpointError: one does not, or its storage is missing.
    """
    stored = {name: _stored(name, tensor, opened, file) for name, tensor in named.tensors.items()}
    named.notes += _shared(named.tensors)
    return stored


def _stored(name: str, tensor: Tensor, opened: TorchFile, file: str) -> StoredTensor:
    encoding = ENCODINGS[tensor.encoding]
    count = math.prod(tensor.shape)
    run = opened.run(tensor.storage, encoding, name)
    first = tensor.offset + tensor.storage.first
    last = first + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    capacity = _capacity(tensor, encoding.size)
    if count and (last >= capacity or count > capacity):
        reason = f"It reaches value {last} of a storage of {capacity}, with {count} values of its own."
        raise damaged(file, reason, name)
    info = TensorInfo(name, tensor.shape, tensor.encoding, count * encoding.size, file)
    if is_contiguous(tensor.shape, tensor.strides):
        return RangeTensor(info, run.shifted(first))
    return StridedTensor(info, run.shifted(first), tensor.strides)


def _capacity(tensor: Tensor, size: int) -> int:
    """Return how many of the tensor's values its storage holds (the storage may be of another kind)."""
    own = tensor.storage.kind.encoding
    return tensor.storage.count * (ENCODINGS[own].size if own else 1) // size


def _shared(tensors: Mapping[str, Tensor]) -> list[str]:
    """Say which tensors are one and the same, as tied embeddings are."""
    first: dict[tuple[str, int, tuple[int, ...], tuple[int, ...]], str] = {}
    notes: list[str] = []
    for name, t in tensors.items():
        if not math.prod(t.shape):
            continue
        place = (t.storage.key, t.offset + t.storage.first, t.shape, t.strides)
        other = first.setdefault(place, name)
        if other != name:
            notes.append(f"{name} is the same tensor as {other} (shared storage)")
    return notes
