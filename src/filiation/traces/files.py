"""Files that are the same bytes in two repositories: by git's object id, SHA-256, or git-lfs's pointer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from filiation.checkpoint.shards import INDEX_ENDING, WEIGHT_ENDINGS
from filiation.evidence import Place
from filiation.repository.identity import Pointer, pointer_id, same_bytes
from filiation.repository.model import Repository, RepositoryFile
from filiation.traces.model import Trace

_MOST = 100
_TINY = 64
_COMMON = re.compile(
    r"(\.git(attributes|ignore|modules)|\.gitkeep|__init__\.py|py\.typed|requirements[\w-]*\.txt"
    r"|(licen[cs]e|copying|notice|code_of_conduct|security|use_policy|contributing)([._-][\w.-]*)?"
    r"|[\w-]*(licen[cs]e|use_policy)[\w-]*(\.(md|txt|pdf))?)",
    re.IGNORECASE,
)

Pair = tuple[RepositoryFile, RepositoryFile]


def traces(suspect: Repository, reference: Repository, number: int) -> Iterator[Trace]:
    """Yield the files of the suspect whose bytes the reference holds as well.

    Licence texts, empty files and what the hub puts into every repository are counted together: everyone has them.
    """
    common: list[RepositoryFile] = []
    single = 0
    for mine, theirs in pairs(suspect, reference):
        weights = mine.path.lower().endswith(WEIGHT_ENDINGS) and not mine.path.endswith(INDEX_ENDING)
        if not weights and _is_common(mine):
            common.append(mine)
        elif weights or single < _MOST:
            single += not weights
            yield _trace(mine, theirs, "same_weights" if weights else "same_file", number)
    if common:
        yield Trace(
            "same_common_files",
            Place(file=common[0].path, digest=_digest(common[0])),
            "shows.same_common_files",
            {"files": [file.path for file in common[:_MOST]], "count": len(common)},
            number,
            ("cannot_show.common_files",),
        )


def pairs(suspect: Repository, reference: Repository) -> Iterator[Pair]:
    """Yield each file of the suspect with one of the reference that is the same bytes, of the same path if it can."""
    by_id = _index(reference.files)
    for path, mine in sorted(suspect.files.items()):
        twin = reference.files.get(path)
        if twin is None or same_bytes(mine, twin) is not True:
            twin = next((by_id[key] for key in _keys(mine) if key in by_id), None)
        if twin is not None:
            yield mine, twin


def _index(files: Mapping[str, RepositoryFile]) -> dict[str, RepositoryFile]:
    found: dict[str, RepositoryFile] = {}
    for path in sorted(files, reverse=True):  # of several copies, the first by path
        for key in _keys(files[path]):
            found[key] = files[path]
    return found


def _keys(file: RepositoryFile) -> list[str]:
    keys = [key for key in (file.sha256, file.git_id) if key is not None]
    if file.sha256 is not None and file.size is not None and file.not_read != "pointer":
        keys.append(pointer_id(Pointer(file.sha256, file.size)))
    return keys


def _is_common(file: RepositoryFile) -> bool:
    name = file.path.rpartition("/")[2]
    return (file.size is not None and file.size < _TINY) or _COMMON.fullmatch(name) is not None


def _trace(mine: RepositoryFile, theirs: RepositoryFile, kind: str, number: int) -> Trace:
    known = {"size": mine.size or theirs.size, "git_id": mine.git_id or theirs.git_id}
    numbers = {**known, "sha256": mine.sha256 or theirs.sha256, "reference_path": theirs.path}
    return Trace(
        kind,
        Place(file=mine.path, digest=_digest(mine)),
        f"shows.{kind}",
        {key: value for key, value in numbers.items() if value is not None},
        number,
        ("cannot_show.common_source", "cannot_show.trace_direction"),
    )


def _digest(file: RepositoryFile) -> str | None:
    return file.sha256 or file.git_id
