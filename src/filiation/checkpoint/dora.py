"""DoRA (arXiv 2402.09353): the length of each row of a merged matrix is an entry of a magnitude vector of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from filiation.checkpoint.model import Floats, Index, Span, StoredTensor, TensorInfo, spans_of
from filiation.errors import CorruptCheckpointError


def scaled(merged: StoredTensor, magnitude: StoredTensor | None, file: str) -> StoredTensor:
    """Return ``m * V / |V|`` row by row, for the merged matrix ``V = W + scaling * B A``, ``(out, in)``.

    Args:
        magnitude: ``(out,)``, or ``(1, out)`` and the like.
        file: the adapter's weight file.

    Raises:
        CorruptCheckpointError: there is no magnitude, or not one for each row.
    """
    name, rows = merged.info.name, merged.info.shape[0]
    if magnitude is not None and [n for n in magnitude.info.shape if n != 1] == [rows]:
        return DoraTensor(merged.info, merged, magnitude)
    found = "none" if magnitude is None else f"one of shape {list(magnitude.info.shape)}"
    raise CorruptCheckpointError(
        "The PEFT adapter does not fit.",
        file=file,
        tensor=name if magnitude is None else magnitude.info.name,
        reason=f"It is a DoRA adapter: {name} needs a magnitude for each of its {rows} rows, and there is {found}.",
        next_step="Check that --base names the model the adapter was trained on, and download the adapter again.",
    )


@dataclass(frozen=True, slots=True)
class DoraTensor:
    """A merged matrix whose rows have the lengths of the magnitude vector."""

    info: TensorInfo
    merged: StoredTensor
    magnitude: StoredTensor

    def read(self, index: Index = ()) -> Floats:
        """Return ``tensor[index]`` as float32; whole rows are read, for their lengths."""
        rows, rest = index[:1] or (slice(None),), index[1:]
        whole = self.merged.read(rows)
        lengths = np.sqrt(np.einsum("...j,...j->...", whole, whole, dtype=np.float64))
        wanted = self.magnitude.read(()).reshape(-1)[rows]
        factor = wanted / np.where(lengths > 0, lengths, 1.0)
        values = whole * np.asarray(factor)[..., None]
        columns = rest if isinstance(rows[0], int) else (slice(None), *rest)
        return np.asarray(values[columns], np.float32)

    def spans(self, index: Index = ()) -> Sequence[Span]:
        """Return the bytes that :meth:`read` would read."""
        return (*spans_of(self.merged, index[:1]), *spans_of(self.magnitude, ()))
