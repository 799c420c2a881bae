"""What an opened checkpoint is to the rest of the toolkit: names, shapes, dtypes, and rows on demand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.sources.base import Source
from filiation.errors import NonFiniteWeightsError, NotFoundError
from filiation.evidence import FileRecord

Floats = npt.NDArray[np.float32]
Index = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A logical tensor: what it is after decoding (``shape``) and how it is stored (``dtype``, ``nbytes``).

    ``dtype`` is the stored kind, upper case: ``BF16``, ``F32``, ``F8_E4M3``, ``Q4_0``, ``GPTQ4``, ``NF4`` ...
    ``shape`` is in numpy order (GGUF's reversed dimensions are already turned round).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    file: str


class StoredTensor(Protocol):
    """What a format hands over for each tensor."""

    @property
    def info(self) -> TensorInfo:
        """Name, shape, stored dtype, size and file."""
        ...

    def read(self, index: Index) -> Floats:
        """Decode ``tensor[index]`` to float32, reading no more bytes than the leading indices need."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start:stop`` of one file of a source."""

    source: Source
    file: str
    start: int
    stop: int


@runtime_checkable
class RawTensor(Protocol):
    """A tensor whose stored values can be had unrounded; the tensors of every built-in format are of this kind.

    Packed formats need it: a float32 cannot hold every int32.
    """

    @property
    def info(self) -> TensorInfo:
        """Name, shape, stored dtype, size and file."""
        ...

    def read(self, index: Index) -> Floats:
        """Decode ``tensor[index]`` to float32."""
        ...

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` in its stored kind (``int32``, ``uint8``, ml_dtypes' ``float8_e4m3fn`` ...).

        Kinds that have no numpy type of whole bytes (``F4``, ``F6_*``, GGUF's quantised ones) come as float32.
        """
        ...

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Say which bytes of which files :meth:`read` would read for ``index``."""
        ...


class ByteCounter(Protocol):
    """The part of a source that knows how many bytes were read so far."""

    @property
    def bytes_read(self) -> int:
        """Bytes read from this source since it was opened."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """An opened model: headers only; weights are read when asked for.

    Attributes:
        locator: what the caller wrote.
        name: a short display name.
        format: ``safetensors``, ``gguf``, ``torch``, ``onnx`` ...
        files: every file that belongs to it, with size and (where known) SHA-256.
        config: the parsed config.json, or None (then the anatomy infers).
        metadata: the format's own key-value data (GGUF KV, safetensors ``__metadata__``).
        revision: the commit a hub id was resolved to.
        notes: what was assumed while opening (e.g. "no config.json: geometry inferred").
        is_local: whether the weights lie on this machine (then reading them costs no network).
        side_files: the text files beside the weights (tokenizer.json, generation_config.json ...); each is read
            when it is first asked for. Binary ones (sentencepiece models) come through :meth:`read_file`.
        kept: whether every file is read at most once and kept in memory, so that reading again costs nothing.
        unscaled: 8-bit matrices read as they are stored, because no loader applies the scales beside them.
        rows_left_out: rows of tables (embedding, head, positions) read so far that hold NaN or infinity, by tensor.
    """

    locator: str
    name: str
    format: str
    files: tuple[FileRecord, ...]
    stored: Mapping[str, StoredTensor]
    counter: ByteCounter
    config: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    revision: str | None = None
    notes: tuple[str, ...] = ()
    is_local: bool = True
    side_files: Mapping[str, str] = field(default_factory=dict[str, str])
    file_reader: Callable[[str], bytes] | None = field(default=None, repr=False, compare=False)
    kept: bool = False
    unscaled: tuple[str, ...] = ()
    rows_left_out: dict[str, set[int]] = field(default_factory=dict[str, set[int]], repr=False, compare=False)

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor's :class:`TensorInfo` by name, in stored order."""
        return MappingProxyType({name: tensor.info for name, tensor in self.stored.items()})

    @property
    def bytes_read(self) -> int:
        """Bytes read so far, headers included."""
        return self.counter.bytes_read

    @property
    def total_bytes(self) -> int:
        """Stored size of all tensors, in bytes."""
        return sum(tensor.info.nbytes for tensor in self.stored.values())

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical header: every tensor's name, shape and dtype, and every file's size and hash.

        It pins what was opened without reading the weights; two checkpoints with one digest may still hold
        different weights when the files were not hashed (:func:`~filiation.checkpoint.hashing.pinned` tells).
        """
        header = {
            "tensors": [[t.name, list(t.shape), t.dtype] for t in self.tensors.values()],
            "files": [[f.name, f.size, f.sha256] for f in self.files],
        }
        return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()

    def read(self, name: str, *index: int | slice) -> Floats:
        """Return ``tensor[index]`` decoded to float32; with no index, all of it.

        Only leading indices save bytes: ``read("w", slice(0, 64))`` reads 64 rows.

        Raises:
            KeyError: no tensor of that name.
            NonFiniteWeightsError: what was read holds NaN or infinity.
        """
        values = self.stored[name].read(index)
        if not is_finite(values):
            bad = int(values.size - np.isfinite(values).sum())
            raise NonFiniteWeightsError(
                "A tensor holds values that are not numbers.",
                file=self.stored[name].info.file,
                tensor=name,
                reason=f"{bad} of the {values.size} values read are NaN or infinite.",
                next_step="Re-download the file and compare its SHA-256 with the publisher's; "
                "if it is as published, the model itself is damaged.",
            )
        return values

    def naming(self) -> AbstractContextManager[None]:
        """Return a context in which errors say which model they are of, where there is more than one."""
        return nullcontext()

    def prefetch(self, wanted: Iterable[tuple[str, Index]]) -> None:
        """Say what :meth:`read` will be asked for next: ``(tensor name, index)`` pairs.

        A remote source joins what lies close together into few requests; a local one does nothing. Tensors that
        cannot say where their bytes are (some packed kinds) are read when they are read.
        """
        by_file: dict[tuple[int, str], list[Span]] = {}
        for name, index in wanted:
            for span in spans_of(self.stored[name], index):
                by_file.setdefault((id(span.source), span.file), []).append(span)
        for spans in by_file.values():
            ranges = sorted({(span.start, span.stop) for span in spans})
            spans[0].source.prefetch(spans[0].file, ranges)

    def read_file(self, name: str) -> bytes:
        """Return a whole side file, e.g. ``tokenizer.model`` or ``README.md``.

        Raises:
            NotFoundError: the checkpoint has no such file.
            CorruptCheckpointError: it is larger than any side file should be, or a git-lfs pointer.
        """
        if self.file_reader is None:
            raise NotFoundError(
                f"There is no file {name} beside these weights.",
                file=name,
                reason="The checkpoint was not opened from a place that has files.",
                next_step="Open it with filiation.checkpoint.open.",
            )
        return self.file_reader(name)


def spans_of(tensor: StoredTensor, index: Index) -> tuple[Span, ...]:
    """Return the bytes that ``tensor.read(index)`` would read, as far as the tensor can say."""
    locate = getattr(tensor, "spans", None)
    return tuple(locate(index)) if locate is not None else ()


def is_finite(values: Floats) -> bool:
    """Return whether no value is NaN or infinite."""
    # One pass and no temporary: a sum that is finite has only finite terms. A sum of finite terms can overflow
    # float32, and then the terms themselves are looked at.
    if not values.size:
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return True
    return bool(np.isfinite(values).all())
