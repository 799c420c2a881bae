"""GGUF: llama.cpp's format, one file or split into numbered parts.

The header (key-value data and the tensor list) is read by our own bounded parser through byte ranges, so that a
remote file need not be downloaded; dimensions, stored innermost first, are turned round to numpy's order. Key-value
data are all kept: numbers and text as they are, arrays of numbers as numpy arrays, arrays of text as tuples of
``str`` (``bytes`` where an item is not UTF-8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from filiation.checkpoint.formats.base import (
    Loaded,
    chosen_file,
    leading_bytes,
    top_level,
    weight_file,
)
from filiation.checkpoint.ggml import ggml_encoding
from filiation.checkpoint.ggufheader import Cursor, TensorEntry, read_entries, read_values
from filiation.checkpoint.model import StoredTensor, TensorInfo
from filiation.checkpoint.ranges import RangeTensor, Run
from filiation.checkpoint.shards import ask_for_one, in_two_files, numbered_sets, shard_name
from filiation.checkpoint.sources.base import Source
from filiation.errors import CorruptCheckpointError, NotFoundError, UnsupportedFormatError

NAME = "gguf"
ENDING = ".gguf"
MAGIC = b"GGUF"

_ALIGNMENT = 32


def recognises(source: Source) -> bool:
    """Tell whether the source holds GGUF files."""
    chosen = chosen_file(source)
    if chosen is not None:
        return chosen.lower().endswith(ENDING) or leading_bytes(source, chosen, 4) == MAGIC
    return bool(top_level(source, ENDING))


def load(source: Source) -> Loaded:
    """Read the headers of all parts; see :class:`~filiation.checkpoint.formats.base.Format`."""
    files, notes = _choose(source)
    tensors: dict[str, StoredTensor] = {}
    metadata: Mapping[str, Any] = {}
    for number, file in enumerate(files):
        part = read_part(source, file)
        if number == 0:
            metadata = part.metadata
        _check_split(part, number, len(files))
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise in_two_files(name, tensors[name].info.file, part.file)
            tensors[name] = tensor
    return Loaded(tensors, metadata, notes, tuple(files))


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its tensors in stored order and its key-value data."""

    file: str
    tensors: Mapping[str, RangeTensor]
    metadata: Mapping[str, Any]


def _choose(source: Source) -> tuple[Sequence[str], tuple[str, ...]]:
    chosen = chosen_file(source)
    if chosen is not None and shard_name(chosen) is None:
        return [chosen], ()
    names = top_level(source, ENDING)
    sets = list(numbered_sets(names).values())
    models = [*([n] for n in names if shard_name(n) is None), *sets]
    # A vision projector (mmproj) accompanies a model; it is a model of its own only when it is alone.
    main = [files for files in models if not files[0].lower().startswith("mmproj")] or models
    if len(main) != 1:
        raise ask_for_one(source, [files[0] for files in main], "GGUF")
    left = len(models) - len(main)
    note = f"{left} mmproj file(s) beside {main[0][0]} were not read; name the file to open one"
    return main[0], (note,) if left else ()


def read_part(source: Source, file: str) -> Part:
    """Read and check one file's header.

    Raises:
        CorruptCheckpointError: the header lies, or the file is truncated.
        UnsupportedFormatError: an old version, big-endian, or a number kind that is not known.
    """
    size = weight_file(source, file).size
    cursor = Cursor(source, file, size)
    n_tensors, n_values = _preamble(cursor)
    metadata = read_values(cursor, n_values)
    entries = read_entries(cursor, n_tensors)
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment > 1 << 20 or alignment & (alignment - 1):
        raise _corrupt(file, f"general.alignment is {alignment!r}; it must be a power of two.")
    base = -(-cursor.position // alignment) * alignment
    tensors = [_tensor(source, file, entry, base, alignment) for entry in entries]
    tensors.sort(key=lambda t: (t.run.offset, t.info.nbytes))
    _check_coverage(file, tensors, base, alignment, size)
    return Part(file, {t.info.name: t for t in tensors}, metadata)


def _preamble(cursor: Cursor) -> tuple[int, int]:
    if cursor.take(4) != MAGIC:
        raise _corrupt(cursor.file, "It does not begin with 'GGUF'.")
    version = cursor.number("I")
    if version & 0xFFFF == 0:
        raise _unsupported(cursor.file, "It is a big-endian GGUF file.", "gguf-convert-endian MODEL little")
    if version not in (2, 3):
        raise _unsupported(cursor.file, f"It is of GGUF version {version}; versions 2 and 3 are read.", None)
    return cursor.number("Q"), cursor.number("Q")


def _tensor(source: Source, file: str, entry: TensorEntry, base: int, alignment: int) -> RangeTensor:
    encoding = ggml_encoding(entry.kind)
    if encoding is None:
        raise _unsupported(file, f"Its number kind {entry.kind} is not known.", None, entry.name)
    row = entry.shape[-1] if entry.shape else 1
    nbytes = encoding.nbytes(math.prod(entry.shape))
    if nbytes is None or row % encoding.block:
        reason = f"Its rows of {row} values do not fill blocks of {encoding.block} ({encoding.name})."
        raise _corrupt(file, reason, entry.name)
    if entry.offset % alignment:
        raise _corrupt(file, f"Its offset {entry.offset} is not a multiple of {alignment}.", entry.name)
    info = TensorInfo(entry.name, entry.shape, encoding.name, nbytes, file)
    return RangeTensor(info, Run(source, file, base + entry.offset, encoding, entry.name))


def _check_coverage(file: str, tensors: Sequence[RangeTensor], base: int, alignment: int, size: int) -> None:
    """Check that each tensor begins where the one before it ends, padding aside, and that all are in the file."""
    end = base
    for tensor in tensors:
        start, name = tensor.run.offset, tensor.info.name
        if start < end:
            raise _corrupt(file, "Its bytes overlap those of the tensor before it (overlapping).", name)
        if start - end >= alignment:
            raise _corrupt(file, f"{start - end} bytes before it belong to no tensor (gap).", name)
        end = start + tensor.info.nbytes
        if end > size:
            reason = f"Its bytes end at {end}, the file at {size}: the file is truncated or the offsets lie."
            raise _corrupt(file, reason, name)


def _check_split(part: Part, number: int, count: int) -> None:
    """Check a part against what its own key-value data say of the split."""
    claimed, place = part.metadata.get("split.count", 0), part.metadata.get("split.no", number)
    if not isinstance(claimed, int) or claimed <= 1:
        claimed = 1
    if claimed != count:
        raise NotFoundError(
            "The parts of a split GGUF are not all there.",
            file=part.file,
            reason=f"It says it is one of {claimed} parts; {count} were found.",
            next_step="Put all parts, under their own names (-00001-of-...), into one folder.",
        )
    if count > 1 and place != number:
        raise _corrupt(part.file, f"It says it is part {place}, its name says part {number} (from 0).")


def _unsupported(
    file: str, reason: str, tool: str | None, tensor: str | None = None
) -> UnsupportedFormatError:
    return UnsupportedFormatError(
        "This GGUF file cannot be read.",
        file=file,
        tensor=tensor,
        reason=reason,
        next_step=f"Convert it first: {tool}." if tool else "Convert it again with a current llama.cpp.",
    )


def _corrupt(file: str, reason: str, tensor: str | None = None) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        "The GGUF file is damaged.",
        file=file,
        tensor=tensor,
        reason=reason,
        next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
    )
