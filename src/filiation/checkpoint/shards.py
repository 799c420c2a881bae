"""Which weight files of a folder belong together: numbered shards, with or without an index file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from filiation.checkpoint.model import StoredTensor
from filiation.checkpoint.sources.base import Source
from filiation.errors import (
    CorruptCheckpointError,
    NotFoundError,
    UnsafeCheckpointError,
    UsageError,
)

WEIGHT_ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx")
INDEX_ENDING = ".index.json"
POINTER_START = b"version https://git-lfs"
PART = re.compile(r"consolidated\.(?P<number>[0-9]{2,4})\.(pth|pt|safetensors)")
"""The name of a tensor-parallel part, as Meta and Mistral write it."""

_MAX_INDEX = 100 << 20
_MAX_SHARDS = 10_000
_NUMBERED = re.compile(
    r"(?P<stem>.+?)[-_.](?P<number>[0-9]{1,6})-of-(?P<total>[0-9]{1,6})(?P<ending>\.[A-Za-z0-9.]+)"
)


@dataclass(frozen=True, slots=True)
class ShardName:
    """The parts of ``model-00001-of-00003.safetensors``; ``family`` is what all shards of a set share."""

    family: tuple[str, int, str]
    number: int


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What an index file says: which tensor lies in which file."""

    file: str
    tensors: Mapping[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """The shards, in the order of their names."""
        return tuple(sorted(set(self.tensors.values())))


def is_weight_name(name: str) -> bool:
    """Tell whether a file's name is one that weights (or an index of them) have."""
    return name.lower().endswith((*WEIGHT_ENDINGS, INDEX_ENDING))


def shard_name(name: str) -> ShardName | None:
    """Take a numbered shard's name apart, or return None for any other name."""
    match = _NUMBERED.fullmatch(name)
    if match is None:
        return None
    family = (match["stem"], int(match["total"]), match["ending"])
    return ShardName(family, int(match["number"]))


def companions(chosen: str, names: Iterable[str]) -> set[str]:
    """Return the weight files that must be opened with ``chosen``: the other shards of its set and their index."""
    if chosen.endswith(INDEX_ENDING):
        return {chosen, *(n for n in names if n.endswith(WEIGHT_ENDINGS))}
    mine = shard_name(chosen)
    if PART.fullmatch(chosen):
        return {n for n in names if PART.fullmatch(n) and n.rpartition(".")[2] == chosen.rpartition(".")[2]}
    if mine is None:
        return {chosen}
    stem, _, ending = mine.family
    index = stem + ending + INDEX_ENDING
    keep = {chosen, index}
    return keep | {n for n in names if (other := shard_name(n)) is not None and other.family == mine.family}


def numbered_sets(names: Sequence[str]) -> dict[tuple[str, int, str], list[str]]:
    """Group numbered shards by the set they belong to, each set in the order of its numbers.

    Raises:
        NotFoundError: a set has a gap.
    """
    sets: dict[tuple[str, int, str], dict[int, str]] = {}
    for name in names:
        if (parts := shard_name(name)) is not None:
            sets.setdefault(parts.family, {})[parts.number] = name
    return {family: _complete(family, found) for family, found in sets.items()}


def _complete(family: tuple[str, int, str], found: Mapping[int, str]) -> list[str]:
    stem, total, ending = family
    if total > _MAX_SHARDS:
        raise CorruptCheckpointError(
            "A shard's name claims an absurd number of shards.",
            file=found[min(found)],
            reason=f"{total} shards are promised; at most {_MAX_SHARDS} are believed.",
            next_step="Rename the file, or download the checkpoint again.",
        )
    # Most writers count from 1, some from 0.
    first = 0 if 0 in found else 1
    for number in range(first, first + total):
        if number not in found:
            missing = f"{stem}-{number:05d}-of-{total:05d}{ending}"
            raise NotFoundError(
                f"A shard is missing: {missing}.",
                file=missing,
                reason=f"{len(found)} of {total} shards are there.",
                next_step="Download the missing file; the other shards can stay.",
            )
    return [found[number] for number in sorted(found) if number < first + total]


def read_index(source: Source, name: str) -> ShardIndex:
    """Read and check a ``*.index.json`` file.

    Raises:
        CorruptCheckpointError: it is not a weight map. UnsafeCheckpointError: it names a file outside the folder.
    """
    raw = read_json(source, name, _MAX_INDEX)
    weight_map = raw.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _bad_json(name, "It has no weight_map.")
    tensors: dict[str, str] = {}
    for tensor, file in cast(dict[str, Any], weight_map).items():
        if not isinstance(file, str):
            raise _bad_json(name, f"The entry of {tensor} is not a file name.")
        _check_name(name, tensor, file)
        tensors[tensor] = file
    return ShardIndex(name, tensors)


def _check_name(index: str, tensor: str, file: str) -> None:
    parts = file.replace("\\", "/").split("/")
    if ".." in parts or "" in parts or ":" in parts[0] or "\0" in file:
        raise UnsafeCheckpointError(
            "An index names a file outside the checkpoint's folder; refused.",
            file=index,
            tensor=tensor,
            reason=f"Its entry says {file!r}.",
            next_step="Do not use this checkpoint, or correct its index file.",
        )


def read_json(source: Source, name: str, limit: int, *, unique: bool = True) -> dict[str, Any]:
    """Read a JSON object of at most ``limit`` bytes.

    Args:
        unique: whether a key that stands there twice is an error; the last one counts otherwise.

    Raises:
        CorruptCheckpointError: it is larger, not JSON, not an object, or names one key twice.
    """
    size = next((f.size for f in source.files() if f.name == name), None)
    if size is not None and size > limit:
        raise _bad_json(name, f"It is {size} bytes long; at most {limit} are read.")
    data = source.read(name)
    if data.startswith(POINTER_START):
        raise _bad_json(name, "In its place stands a git-lfs pointer.", "Run `git lfs pull` in the folder.")
    if not data.strip(b"\0 \t\r\n"):
        raise _bad_json(name, f"It is empty: {len(data)} bytes that say nothing.", "Download the file again.")
    return parse_json(data, name, unique=unique)


def parse_json(data: bytes, name: str, *, unique: bool = True) -> dict[str, Any]:
    """Parse a JSON object; see :func:`read_json`."""
    try:
        value = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique if unique else None)
    except UnicodeDecodeError as error:
        raise _bad_json(name, "It is not UTF-8 text.") from error
    except RecursionError as error:
        raise _bad_json(name, "It is nested too deeply.") from error
    except DuplicateKeyError as error:
        raise _bad_json(name, f"It names {error.args[0]!r} twice.") from error
    except ValueError as error:
        raise _bad_json(name, f"It is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise _bad_json(name, "It does not hold a JSON object.")
    return cast(dict[str, Any], value)


class DuplicateKeyError(ValueError):
    """A JSON object names the key ``args[0]`` twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKeyError(key)
            seen.add(key)
    return result


def _bad_json(name: str, reason: str, next_step: str | None = None) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{name} cannot be used.",
        file=name,
        reason=reason,
        next_step=next_step or "Download the file again, or repair it by hand; it is plain text.",
    )


def ask_for_one(source: Source, names: Sequence[str], kind: str) -> UsageError:
    """Return the error for a folder in which several models of one format lie side by side."""
    listed = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    return UsageError(
        f"{source.locator} holds several {kind} models.",
        file=names[0],
        reason=f"These do not belong to one model: {listed}.",
        next_step="Name the file that is meant.",
    )


def check_index(index: ShardIndex, tensors: Mapping[str, StoredTensor]) -> list[str]:
    """Check an index against the shards; return a note when the shards hold more than it names.

    Raises:
        CorruptCheckpointError: the index names a tensor that its shard does not hold.
    """
    for name, file in index.tensors.items():
        stored = tensors.get(name)
        if stored is None or stored.info.file != file:
            where = "no shard holds it" if stored is None else f"{stored.info.file} holds it"
            raise CorruptCheckpointError(
                "The index contradicts the shards.",
                file=index.file,
                tensor=name,
                reason=f"The index says the tensor is in {file}; {where}.",
                next_step="Download index and shards again, from one revision.",
            )
    extra = [name for name in tensors if name not in index.tensors]
    if not extra:
        return []
    return [f"{len(extra)} tensors are in the shards but not in {index.file}, e.g. {extra[0]}"]


def in_two_files(name: str, first: str, second: str, advice: str | None = None) -> CorruptCheckpointError:
    """Return the error for a tensor that two files of one model hold."""
    return CorruptCheckpointError(
        "A tensor is in two shards.",
        file=second,
        tensor=name,
        reason=f"{first} and {second} both hold it, so it is not known which one counts.",
        next_step=advice or "Remove the shard that does not belong to this model, or name one file.",
    )
