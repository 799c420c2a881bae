"""Lists of tensors compared: names, order, shapes, bytes, and the smallest renaming that leads from one to the other.

The renaming is anatomy's (:func:`filiation.anatomy.rename.smallest_rename`); how much of the agreement public naming
explains is :mod:`filiation.traces.surprise`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from filiation.anatomy.rename import Renaming, apply, smallest_rename
from filiation.checkpoint.formats.safetensors import read_header
from filiation.checkpoint.ggufheader import Cursor, read_entries, read_values
from filiation.checkpoint.shards import INDEX_ENDING
from filiation.errors import InputError
from filiation.evidence import Place
from filiation.repository.model import Repository
from filiation.repository.source import RepositorySource
from filiation.traces.documents import load
from filiation.traces.model import Trace
from filiation.traces.surprise import surprise

_MOST_NAMES = 200_000
_MOST_SHARDS = 64
_LEAST = 8
_LEAST_SHARE = 0.5
_MOST_SHOWN = 50
_KINDS_A_RENAME = 4
_MOST_KINDS = 1_500
_MOST_SEGMENTS = 24

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorList:
    """The tensors of a repository.

    Attributes:
        names: in the order in which the file lists them.
        file: where the list was read.
        total_bytes: as the index states it or the headers add up to; None where neither does.
        shapes: by name; empty where no header could be read.
        shards: how many weight files there are.
    """

    names: tuple[str, ...]
    file: str
    total_bytes: int | None
    shapes: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    shards: int = 0


def read_list(repository: Repository) -> TensorList | None:
    """Return the tensors that a repository's index or weight headers list, None where there is neither."""
    weights = [p for p in repository.files if "/" not in p and p.lower().endswith((".safetensors", ".bin"))]
    shards = [p for p in sorted(weights) if p.lower().endswith(".safetensors")]
    shapes, total = _headers(repository, shards)
    for path in sorted(
        (p for p in repository.files if p.endswith(INDEX_ENDING)), key=lambda p: (p.count("/"), p)
    ):
        document = load(repository, path) or {}
        listed: Any = document.get("weight_map")
        if isinstance(listed, dict) and 0 < len(cast("dict[str, Any]", listed)) <= _MOST_NAMES:
            about: Any = document.get("metadata")
            stated: Any = cast("dict[str, Any]", about).get("total_size") if isinstance(about, dict) else None
            size = int(stated) if isinstance(stated, int | float) and 0 < stated < 1 << 60 else total
            return TensorList(tuple(cast("dict[str, Any]", listed)), path, size, shapes, len(weights))
    if shapes:
        return TensorList(tuple(shapes), shards[0], total, shapes, len(shards))
    return _from_gguf(repository)


def _headers(repository: Repository, shards: Sequence[str]) -> tuple[dict[str, Shape], int | None]:
    """Return the shapes and the bytes of what the headers list; nothing where one of them cannot be read."""
    if not 0 < len(shards) <= _MOST_SHARDS or repository.part is None:
        return {}, None
    source = RepositorySource(repository)
    shapes: dict[str, Shape] = {}
    total = 0
    for path in shards:
        try:
            header = read_header(source, path)
        except InputError:
            return {}, None
        shapes |= {name: tensor.info.shape for name, tensor in header.tensors.items()}
        total += sum(tensor.info.nbytes for tensor in header.tensors.values())
    return shapes, total


def _from_gguf(repository: Repository) -> TensorList | None:
    path = min((p for p in repository.files if p.lower().endswith(".gguf")), default=None)
    if path is None or repository.part is None or (size := repository.files[path].size) is None:
        return None
    cursor = Cursor(RepositorySource(repository), path, size)
    try:
        if cursor.take(4) != b"GGUF" or cursor.number("I") not in (2, 3):
            return None
        tensors, pairs = cursor.number("Q"), cursor.number("Q")
        read_values(cursor, pairs)
        entries = read_entries(cursor, tensors)
    except InputError:
        return None
    shapes = {entry.name: entry.shape for entry in entries}
    return TensorList(tuple(shapes), path, None, shapes, 1) if shapes else None


def traces(
    suspect: Repository, reference: Repository, number: int, skipped: list[tuple[str, str]]
) -> Iterator[Trace]:
    """Yield how the two lists of tensors agree: in names, in shapes, in bytes."""
    mine, theirs = read_list(suspect), read_list(reference)
    if mine is None or theirs is None:
        return
    place = Place(file=mine.file, digest=suspect.files[mine.file].sha256)
    if _is_bounded(mine.names) and _is_bounded(theirs.names):
        renaming = smallest_rename(mine.names, theirs.names)
        enough = renaming.explained >= max(_LEAST, _LEAST_SHARE * renaming.total)
        if enough and is_short(renaming, mine.names):
            yield _names(mine, theirs, renaming, place, number, _family(reference))
            yield from _shapes(mine, theirs, renaming, place, number)
    else:
        skipped.append((mine.file, "names_not_compared"))
    if mine.total_bytes is not None and mine.total_bytes == theirs.total_bytes:
        yield Trace(
            "total_bytes",
            place,
            "shows.total_bytes",
            {"total_bytes": mine.total_bytes, "shards": mine.shards, "reference_shards": theirs.shards},
            number,
            ("cannot_show.same_geometry",),
        )


def _names(
    mine: TensorList, theirs: TensorList, renaming: Renaming, place: Place, number: int, family: str | None
) -> Trace:
    renamed = [apply(renaming.mapping, name) for name in mine.names]
    both = set(renamed) & set(theirs.names)
    kept = [name for name in renamed if name in both] == [name for name in theirs.names if name in both]
    sorted_lists = list(mine.names) == sorted(mine.names) and list(theirs.names) == sorted(theirs.names)
    found = surprise(mine.names, theirs.names, renaming.mapping, family)
    numbers: dict[str, Any] = {
        "names": renaming.total,
        "reference_names": len(theirs.names),
        "explained": renaming.explained,
        "renames": dict(renaming.mapping),
        "order_equal": kept,
        "lists_are_sorted": sorted_lists,
        "left": list(renaming.left[:_MOST_SHOWN]),
        "right": list(renaming.right[:_MOST_SHOWN]),
        "rare_segments": list(found.rare),
        "log10_surprise": found.log10,
    }
    shows = "shows.tensor_names_renamed" if renaming.mapping else "shows.tensor_names"
    return Trace("tensor_names", place, shows, numbers, number, ("cannot_show.public_names",))


def _shapes(
    mine: TensorList, theirs: TensorList, renaming: Renaming, place: Place, number: int
) -> Iterator[Trace]:
    renamed = {name: apply(renaming.mapping, name) for name in mine.shapes}
    pairs = [(name, other) for name, other in renamed.items() if other in theirs.shapes]
    equal = sum(mine.shapes[name] == theirs.shapes[other] for name, other in pairs)
    if pairs and equal:
        numbers = {"compared": len(pairs), "equal": equal}
        yield Trace(
            "tensor_shapes", place, "shows.tensor_shapes", numbers, number, ("cannot_show.same_geometry",)
        )


def is_short(renaming: Renaming, names: Sequence[str]) -> bool:
    """Whether the map is much shorter than the list of kinds it explains; a long one fits anything."""
    return len(renaming.mapping) * _KINDS_A_RENAME <= len(_kinds(names))


def _is_bounded(names: Sequence[str]) -> bool:
    """Whether the search for a renaming ends soon: real models have some dozens of kinds, ten deep."""
    deep = max((name.count(".") for name in names), default=0) >= _MOST_SEGMENTS
    return not deep and len(_kinds(names)) <= _MOST_KINDS


def _kinds(names: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple("#" if part.isdecimal() else part for part in name.split(".")) for name in names}


def _family(repository: Repository) -> str | None:
    named: Any = (load(repository, "config.json") or {}).get("model_type")
    return named if isinstance(named, str) else None
