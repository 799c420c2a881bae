"""Tensor-parallel parts, ``consolidated.00.pth`` and following, put together: Meta's own releases of Llama.

Each part holds every name and a slice of most tensors (Megatron's scheme, arXiv 1909.08053). Which axis was cut
follows from the name: the outputs of a column-parallel layer, the inputs of a row-parallel one. Embeddings were cut
along the channels in Llama 1 and 2 and along the vocabulary in Llama 3: their shape says which. Norms are repeated in
each part. Where there are fewer key-value heads than parts, neighbouring parts hold the same heads.

Nothing is copied: a read goes to the parts that hold the rows or columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from filiation.checkpoint.model import Floats, Index, RawTensor, Span, StoredTensor, TensorInfo, spans_of
from filiation.checkpoint.shards import PART, read_json
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, NotFoundError, UnsupportedFormatError

PARAMS = "params.json"

_MAX_PARAMS = 1 << 20
_AXIS: Mapping[str, int] = {
    **dict.fromkeys(("wq", "wk", "wv", "w1", "w3", "output"), 0),
    **dict.fromkeys(("wo", "w2"), 1),
}
_REPEATED = ("norm", "attention_norm", "ffn_norm", "freqs", "gate")
_EMBEDDING = "tok_embeddings"

Part = tuple[str, Mapping[str, StoredTensor]]


def read_params(source: Source) -> dict[str, Any] | None:
    """Return what Meta's ``params.json`` says, in place of a config.json; None where there is none.

    Raises:
        CorruptCheckpointError: it is not a JSON object, or absurdly large.
    """
    if not any(record.name == PARAMS for record in source.files()):
        return None
    found = read_json(source, PARAMS, _MAX_PARAMS, unique=False)
    if found.get("vocab_size") == -1:  # "ask the tokenizer"
        del found["vocab_size"]
    return found


def check_numbers(files: Sequence[str]) -> None:
    """Check that the parts are numbered from 0 without a gap.

    Raises:
        NotFoundError: one is missing.
    """
    numbers = {int(match["number"]): name for name in files if (match := PART.fullmatch(name))}
    for wanted in range(max(numbers, default=-1) + 1):
        if wanted not in numbers:
            last = numbers[max(numbers)]
            digits = len(last.split(".")[1])
            missing = last.replace(last.split(".")[1], f"{wanted:0{digits}d}", 1)
            raise NotFoundError(
                f"A tensor-parallel part is missing: {missing}.",
                file=missing,
                reason=f"There are {len(numbers)} parts, the last is {last}; each holds a slice of most tensors.",
                next_step="Download the missing file; the other parts can stay.",
            )


def joined(parts: Sequence[Part], params: Mapping[str, Any] | None) -> dict[str, StoredTensor]:
    """Return the whole tensors of tensor-parallel parts.

    Args:
        parts: the files in the order of their numbers, each with its tensors.
        params: the model's params.json, for the number of key-value heads.

    Raises:
        CorruptCheckpointError: the parts do not fit together.
        UnsupportedFormatError: along which axis a tensor was cut is not known.
    """
    names = dict.fromkeys(name for _, tensors in parts for name in tensors)
    width = _width(parts)
    whole: dict[str, StoredTensor] = {}
    for name in names:
        pieces = [tensors[name] for _, tensors in parts if name in tensors]
        if len(pieces) == 1:  # experts that lie whole in one part
            whole[name] = pieces[0]
        elif len(pieces) != len(parts):
            file = next(file for file, tensors in parts if name not in tensors)
            raise _misfit(pieces[0], f"{len(pieces)} of {len(parts)} parts hold it; {file} does not.", file)
        else:
            whole[name] = _whole(name, pieces, width, params or {})
    return whole


def _width(parts: Sequence[Part]) -> int | None:
    """The length of the residual stream: that of the final norm, which is not cut."""
    norm = parts[0][1].get("norm.weight")
    return norm.info.shape[0] if norm is not None and len(norm.info.shape) == 1 else None


def _whole(
    name: str, pieces: Sequence[StoredTensor], width: int | None, params: Mapping[str, Any]
) -> StoredTensor:
    first = pieces[0].info
    if any(p.info.shape != first.shape or p.info.dtype != first.dtype for p in pieces):
        raise _misfit(pieces[0], "Its slices are not of one shape and kind.")
    layer = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
    axis = _embedding_axis(pieces, width) if layer == _EMBEDDING else _AXIS.get(layer)
    if layer in _REPEATED or (axis == 1 and name.endswith(".bias")):
        return Repeated(first, tuple(pieces))
    if axis is None or axis >= len(first.shape):
        raise UnsupportedFormatError(
            "These tensor-parallel parts cannot be put together.",
            file=first.file,
            tensor=name,
            reason="Along which axis it was cut is known for Meta's names of Llama's layers, and this is none of them.",
            next_step="Convert the model to the Hugging Face layout and name that folder.",
        )
    if layer in ("wk", "wv"):
        pieces = pieces[:: _copies(pieces, params)]
    return Joined(_sum(pieces, axis), tuple(pieces), axis)


def _embedding_axis(pieces: Sequence[StoredTensor], width: int | None) -> int:
    shape = pieces[0].info.shape
    if len(shape) == 2 and width is not None:
        if shape[1] == width:
            return 0
        if shape[1] * len(pieces) == width:
            return 1
    reason = (
        f"{len(pieces)} slices of shape {list(shape)} do not give {width} channels; a part may be missing."
    )
    raise _misfit(pieces[0], reason)


def _copies(pieces: Sequence[StoredTensor], params: Mapping[str, Any]) -> int:
    """How many neighbouring parts hold the same key-value heads."""
    heads, kv_heads, width = (params.get(key) for key in ("n_heads", "n_kv_heads", "dim"))
    if not all(type(n) is int and n > 0 for n in (heads, kv_heads, width)):
        return 1
    rows = cast(int, kv_heads) * (cast(int, width) // cast(int, heads))
    stored = pieces[0].info.shape[0] * len(pieces)
    return stored // rows if rows and stored % rows == 0 and len(pieces) % (stored // rows) == 0 else 1


def _sum(pieces: Sequence[StoredTensor], axis: int) -> TensorInfo:
    first = pieces[0].info
    shape = tuple(n * len(pieces) if i == axis else n for i, n in enumerate(first.shape))
    return TensorInfo(first.name, shape, first.dtype, sum(p.info.nbytes for p in pieces), first.file)


@dataclass(frozen=True, slots=True)
class Joined:
    """Slices of one tensor, of equal shape, that follow one another along ``axis`` (0 or 1)."""

    info: TensorInfo
    pieces: tuple[StoredTensor, ...]
    axis: int

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32; only the slices that hold it are read."""
        return np.asarray(self._put([p.read(i) for p, i in self._shares(index)], index), np.float32)

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` in its stored kind."""
        return self._put([cast(RawTensor, p).read_raw(i) for p, i in self._shares(index)], index)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        return tuple(span for piece, own in self._shares(index) for span in spans_of(piece, own))

    def _shares(self, index: Index) -> list[tuple[StoredTensor, Index]]:
        """Return each slice that is needed, with the index of its share."""
        if self.axis == 1:  # all columns of the wanted rows; which of them are wanted is seen to afterwards
            return [(piece, _kept(index)) for piece in self.pieces]
        size = self.pieces[0].info.shape[0]
        start, stop = _window(index, self.info.shape[0])
        shares: list[tuple[StoredTensor, Index]] = []
        for number, piece in enumerate(self.pieces):
            low, high = max(start - number * size, 0), min(stop - number * size, size)
            if low < high:
                shares.append((piece, (slice(low, high),)))
        return shares or [(self.pieces[0], (slice(0, 0),))]

    def _put(self, found: Sequence[npt.NDArray[Any]], index: Index) -> npt.NDArray[Any]:
        together = np.concatenate(found, axis=self.axis)
        if self.axis == 1:
            rest = index[1:]
            if index and not isinstance(index[0], slice):
                together = together[0]
                return together[rest] if rest else together
            return together[(slice(None), *rest)]
        if not index:
            return together
        start, _ = _window(index, self.info.shape[0])
        first = index[0]
        if not isinstance(first, slice):
            return together[(0, *index[1:])]
        rows = np.arange(*first.indices(self.info.shape[0])) - start
        return together[rows][(slice(None), *index[1:])]


def _kept(index: Index) -> Index:
    """The part of an index that speaks of rows, as one that keeps the axis."""
    if not index:
        return ()
    first = index[0]
    if isinstance(first, slice):
        return (first,)
    return (slice(first, first + 1 or None),)


def _window(index: Index, length: int) -> tuple[int, int]:
    """The smallest range of rows that holds all that are wanted.

    Raises:
        IndexError: a row is out of range.
    """
    if not index:
        return 0, length
    first = index[0]
    rows = range(length)[first] if isinstance(first, slice) else range(length)[first : first + 1 or None]
    if not isinstance(first, slice) and not rows:
        raise IndexError(f"index {first} is out of range for a dimension of {length}")
    return (min(rows[0], rows[-1]), max(rows[0], rows[-1]) + 1) if rows else (0, 0)


@dataclass(frozen=True, slots=True)
class Repeated:
    """One tensor that every part holds whole; a read makes sure that they agree."""

    info: TensorInfo
    pieces: tuple[StoredTensor, ...]

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32.

        Raises:
            CorruptCheckpointError: the parts hold different values.
        """
        first, *others = (piece.read(index) for piece in self.pieces)
        for piece, other in zip(self.pieces[1:], others, strict=True):
            if not np.array_equal(first, other, equal_nan=True):
                raise _misfit(piece, f"It differs from the one in {self.info.file}, but is not cut.")
        return first

    def read_raw(self, index: Index = ()) -> npt.NDArray[Any]:
        """Return ``tensor[index]`` of the first part in its stored kind."""
        return cast(RawTensor, self.pieces[0]).read_raw(index)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        return tuple(span for piece in self.pieces for span in spans_of(piece, index))


def _misfit(tensor: StoredTensor, reason: str, file: str | None = None) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "The tensor-parallel parts do not fit together.",
        file=file or tensor.info.file,
        tensor=tensor.info.name,
        reason=reason,
        next_step="Download all parts again, from one release, with the params.json beside them.",
    )
