"""safetensors: one file, shards with an index, or shards without one. The header is read by our own reader.

Layout: 8 bytes little-endian header length, a JSON object ``name -> {dtype, shape, data_offsets}``, then the data.
Nothing in the header is believed before it is checked against the file's size; the tensors must fill the data
exactly, without gap and without overlap.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.checkpoint.encodings import ENCODINGS
from filiation.checkpoint.formats.base import (
    Loaded,
    chosen_file,
    leading_bytes,
    top_level,
    weight_file,
)
from filiation.checkpoint.model import StoredTensor, TensorInfo
from filiation.checkpoint.ranges import RangeTensor, Run
from filiation.checkpoint.shards import (
    INDEX_ENDING,
    PART,
    DuplicateKeyError,
    ShardIndex,
    ask_for_one,
    check_index,
    in_two_files,
    numbered_sets,
    parse_json,
    read_index,
    shard_name,
)
from filiation.checkpoint.sidefiles import named_weights
from filiation.checkpoint.sources.base import Source
from filiation.checkpoint.tensor_parallel import check_numbers, joined, read_params
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError

NAME = "safetensors"
ENDING = ".safetensors"
ADAPTER = "adapter_model.safetensors"

_MAX_HEADER = 100_000_000
_FIRST_READ = 1 << 16  # holds most headers whole, so that a remote file costs one request
_PLENTY = (
    16  # first reads that a byte budget must still allow; below, a header costs not a byte more than it has
)
_MAX_TENSORS = 1_000_000
_MAX_DIMENSIONS = 16
_MAX_LENGTH = 1 << 48


@dataclass(frozen=True, slots=True)
class Header:
    """One file's header: its tensors in the order of their data, and its ``__metadata__``."""

    tensors: Mapping[str, RangeTensor]
    metadata: Mapping[str, str]


def recognises(source: Source) -> bool:
    """Tell whether the source holds safetensors weights that are not just an adapter's."""
    chosen = chosen_file(source)
    if chosen is not None and not chosen.endswith(INDEX_ENDING):
        first = leading_bytes(source, chosen, 9)
        return first[8:9] == b"{" or (chosen.lower().endswith(ENDING) and not first.startswith(b"GGUF"))
    if any(name != ADAPTER for name in top_level(source, ENDING, ENDING + INDEX_ENDING)):
        return True
    deeper = any("/" in record.name and record.name.endswith(ENDING) for record in source.files())
    return deeper and named_weights(source) is not None


def load(source: Source) -> Loaded:
    """Read the headers of all shards; see :class:`~filiation.checkpoint.formats.base.Format`."""
    choice = _choose(source)
    headers = [read_header(source, file) for file in choice.files]
    named_weights(source)  # of one file alone after its header; a name that cannot be followed is refused
    tensors: dict[str, StoredTensor] = {}
    notes = list(choice.notes)
    parts = [(file, header.tensors) for file, header in zip(choice.files, headers, strict=True)]
    if len(parts) > 1 and all(PART.fullmatch(file) for file in choice.files):
        tensors = joined(parts, read_params(source))
        notes.append(f"{len(parts)} tensor-parallel parts were put together")
        parts = []
    for file, part in parts:
        for name, tensor in part.items():
            if name in tensors:
                raise in_two_files(name, tensors[name].info.file, file)
            tensors[name] = tensor
    if choice.index is not None:
        notes += check_index(choice.index, tensors)
    metadata: dict[str, Any] = {}
    for header in headers:
        metadata.update(header.metadata)
    used = (*choice.files, *([choice.index.file] if choice.index else []))
    return Loaded(tensors, metadata, tuple(notes), used)


@dataclass(frozen=True, slots=True)
class _Choice:
    files: Sequence[str]
    index: ShardIndex | None = None
    notes: tuple[str, ...] = ()


def _choose(source: Source) -> _Choice:
    """Pick the files that make up the model, in the order in which transformers would look for them."""
    chosen = chosen_file(source)
    alone = chosen is not None and shard_name(chosen) is None and not PART.fullmatch(chosen)
    if chosen is not None and alone and not chosen.endswith(INDEX_ENDING):
        return _Choice([chosen])
    every = [f.name for f in source.files() if f.name.endswith((ENDING, ENDING + INDEX_ENDING))]
    is_only = len(every) == 1 and "/" not in every[0]
    named = None if is_only else named_weights(source)
    if named is not None:
        return _as_named(source, named)
    names = [name for name in top_level(source, ENDING) if name != ADAPTER]
    indices = top_level(source, ENDING + INDEX_ENDING)
    if "model.safetensors" in names:
        rest = len(names) + len(indices) - 1
        note = f"model.safetensors was read; {rest} other safetensors files of the folder were not"
        return _Choice(["model.safetensors"], notes=(note,) if rest else ())
    if indices:
        file = "model.safetensors.index.json" if "model.safetensors.index.json" in indices else indices[0]
        if file not in ("model.safetensors.index.json", chosen) and len(indices) > 1:
            raise ask_for_one(source, indices, NAME)
        index = read_index(source, file)
        others = [name for name in names if name not in index.files]
        note = f"{file} was followed; {len(others)} safetensors files that it does not name were not read"
        return _Choice(index.files, index, (note,) if others else ())
    return _without_index(source, names)


def _as_named(source: Source, named: str) -> _Choice:
    """Return the choice of a config that names its weights."""
    index = read_index(source, named) if named.endswith(INDEX_ENDING) else None
    files = [named] if index is None else index.files
    used = {named, *files}
    rest = sum(1 for name in top_level(source, ENDING, ENDING + INDEX_ENDING) if name not in used)
    what = f"config.json names {named} as the weights: that was read"
    note = f"{what}; {rest} other safetensors files of the folder were not, which other loaders may read"
    return _Choice(files, index, (note,) if rest else ())


def _without_index(source: Source, names: Sequence[str]) -> _Choice:
    sets = list(numbered_sets(names).values())
    single = [name for name in names if shard_name(name) is None]
    if len(sets) == 1 and (not single or sets[0][0].startswith("model")):
        note = f"no index file: the {len(sets[0])} shards were found by their numbers"
        return _Choice(sets[0], notes=(note,))
    if single and not sets and all(PART.fullmatch(name) for name in single):
        check_numbers(single)
        return _Choice(single)
    if len(single) == 1 and not sets:
        return _Choice(single)
    raise ask_for_one(source, [*(s[0] for s in sets), *single], NAME)


def read_header(source: Source, file: str) -> Header:
    """Read and check one file's header.

    Raises:
        CorruptCheckpointError: the header lies, or the file is truncated.
        UnsupportedFormatError: a tensor has a dtype that is not known.
    """
    size = weight_file(source, file).size
    left: int | None = getattr(source, "left", None)
    scarce = left is not None and left < _FIRST_READ * _PLENTY
    first = source.read(file, 0, min(size, 8 if scarce else _FIRST_READ))
    if len(first) < 8:
        raise _corrupt(file, f"The file holds {size} bytes, not even the header's length.")
    (length,) = struct.unpack("<Q", first[:8])
    if length > _MAX_HEADER and first[:8].isascii() and first[:8].decode().isprintable():
        reason = f"It begins with {first[:24]!a}: text, such as an error page saved in place of the weights."
        raise _corrupt(file, reason, "not safetensors")
    if length > _MAX_HEADER:
        raise _corrupt(
            file,
            f"The header claims {length} bytes; at most {_MAX_HEADER} are believed.",
            "header over 100 MB",
        )
    if length + 8 > size:
        raise _corrupt(file, f"The header claims {length} bytes, the file holds {size}: it is truncated.")
    raw = first[8 : 8 + length]
    if len(raw) < length:
        raw += source.read(file, 8 + len(raw), 8 + length)
    return _parse(source, file, raw, size)


def _parse(source: Source, file: str, raw: bytes, size: int) -> Header:
    if not raw.startswith(b"{"):
        raise _corrupt(file, "The header does not begin with '{': this is not a safetensors file.")
    entries = _json(file, raw)
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in cast(Any, metadata).values()):
        raise _corrupt(file, "__metadata__ is not a map of text to text.")
    if len(entries) > _MAX_TENSORS:
        raise _corrupt(file, f"It lists {len(entries)} tensors; at most {_MAX_TENSORS} are believed.")
    base = 8 + len(raw)
    found = [_entry(source, file, name, entry, base) for name, entry in entries.items()]
    found.sort(key=lambda t: (t.run.offset, t.run.offset + t.info.nbytes))
    _check_coverage(file, found, base, size)
    return Header({t.info.name: t for t in found}, cast(dict[str, str], metadata))


def _json(file: str, raw: bytes) -> dict[str, Any]:
    try:
        return parse_json(raw, file)
    except CorruptCheckpointError as error:
        cause, tensor = error.__cause__, None
        if isinstance(cause, DuplicateKeyError) and cause.args[0] not in ("dtype", "shape", "data_offsets"):
            name = str(cause.args[0])  # a hostile one must not reach the terminal as it is
            tensor = name if name.isprintable() else ascii(name)
        raise _corrupt(file, error.reason or "It cannot be parsed.", "header", tensor) from error


def _entry(source: Source, file: str, name: str, entry: Any, base: int) -> RangeTensor:
    if not name.isprintable() or not entry or not isinstance(entry, dict):
        raise _corrupt(file, "The tensor's entry is not readable.", tensor=ascii(name))
    fields = cast(dict[str, Any], entry)
    encoding = _encoding(file, name, fields.get("dtype"))
    shape = _numbers(fields.get("shape"))
    offsets = _numbers(fields.get("data_offsets"))
    if shape is None or len(shape) > _MAX_DIMENSIONS or math.prod(n or 1 for n in shape) > _MAX_LENGTH:
        raise _corrupt(file, f"Its shape is not believable: {_short(fields.get('shape'))}.", tensor=name)
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _corrupt(
            file, f"Its offsets are not a range: {_short(fields.get('data_offsets'))}.", tensor=name
        )
    start, stop = offsets
    needed = encoding.nbytes(math.prod(shape))
    if needed != stop - start:
        claim = "no whole number of" if needed is None else str(needed)
        reason = (
            f"{encoding.name} of shape {list(shape)} needs {claim} bytes; its range holds {stop - start}."
        )
        raise _corrupt(file, reason, tensor=name)
    info = TensorInfo(name, shape, encoding.name, stop - start, file)
    return RangeTensor(info, Run(source, file, base + start, encoding, name))


def _encoding(file: str, name: str, dtype: Any) -> Any:
    if isinstance(dtype, str) and dtype in ENCODINGS:
        return ENCODINGS[dtype]
    raise UnsupportedFormatError(
        f"A tensor has a dtype that is not known: {_short(dtype)}.",
        file=file,
        tensor=name,
        reason=f"Known are {', '.join(ENCODINGS)}.",
        next_step="Convert the checkpoint to bf16 safetensors with the tool that made it.",
    )


def _numbers(value: Any) -> tuple[int, ...] | None:
    """Return a list of non-negative whole numbers as a tuple, or None for anything else."""
    if not isinstance(value, list):
        return None
    items = cast(list[Any], value)
    if any(type(item) is not int or item < 0 for item in items):
        return None
    return tuple(items)


def _check_coverage(file: str, tensors: Sequence[RangeTensor], base: int, size: int) -> None:
    """Check that the tensors fill the file's data exactly: no overlap, no gap, nothing outside."""
    end = base
    for tensor in tensors:
        start, name = tensor.run.offset, tensor.info.name
        if start < end:
            raise _corrupt(file, "Its bytes overlap those of the tensor before it.", "overlapping", name)
        if start > size:
            reason = f"Its bytes begin at {start}, the file ends at {size}."
            raise _corrupt(file, reason, "out of range", name)
        if start > end:
            raise _corrupt(file, f"{start - end} bytes before it belong to no tensor.", "gap", name)
        end = start + tensor.info.nbytes
        if end > size:
            reason = f"Its bytes end at {end}, the file at {size}: the file is truncated or the offsets lie."
            raise _corrupt(file, reason, "out of range", name)
    if end != size:
        raise _corrupt(
            file, f"The tensors end at byte {end}, the file at {size}: bytes that belong to no tensor."
        )


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _corrupt(
    file: str, reason: str, what: str | None = None, tensor: str | None = None
) -> CorruptCheckpointError:
    label = f"The safetensors file is damaged ({what})." if what else "The safetensors file is damaged."
    return CorruptCheckpointError(
        label,
        file=file,
        tensor=tensor,
        reason=reason,
        next_step="Download the file again and compare its size and SHA-256 with the publisher's.",
    )
