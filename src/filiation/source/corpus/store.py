"""The file of one or more releases: arrays of hashes and numbers, with paths, names of definitions and copyright lines.

What is written once: every distinct statement (hash and size), every distinct run of statements that a definition
consists of, every distinct name (as a 40-bit hash), every distinct subtree (hash and size). A definition is a number of
a run and its names; a file is its definitions and its subtrees. Releases of one package share these tables, so each
costs little more than what changed since the one before it. The arrays stand in an ``.npz`` without pickles, compressed
with LZMA; equal input gives equal bytes.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.errors import CorruptCheckpointError
from filiation.source.corpus.release import Entry, Release, release
from filiation.source.features import Features, gathered
from filiation.source.headers import Header
from filiation.source.model import Notice
from filiation.source.prints import Definition, Print, Statements

FORMAT = 3
_MOST = 200 * 2**20  # bytes of a corpus file when unpacked
_RECENT = 64  # fingerprints of a release that stay in memory
_KINDS = ("module", "class", "function", "method")
Array = npt.NDArray[Any]


class _Table:
    """Distinct rows in the order of their first appearance."""

    def __init__(self) -> None:
        self.rows: dict[Any, int] = {}

    def add(self, row: Any) -> int:
        return self.rows.setdefault(row, len(self.rows))


def dump(*releases: Release) -> bytes:
    """Return the file of releases, which share what they have in common."""
    statements, runs, names, subtrees = _Table(), _Table(), _Table(), _Table()
    columns: dict[str, list[int]] = {
        key: [] for key in ("definitions", "line", "length", "kind", "run", "subtrees")
    }
    own: list[int] = []
    features: list[int] = []
    titles: list[str] = []
    plain: list[int] = []
    for each in (r.print_of(number) for r in releases for number in range(len(r.entries))):
        plain.append(each.plain)
        columns["definitions"].append(len(each.definitions))
        last = 0
        for definition in each.definitions:
            run, spelled = _run(each, definition, statements, names)
            columns["line"].append(definition.line - last)
            columns["length"].append(definition.end - definition.line)
            columns["kind"].append(_KINDS.index(definition.kind))
            columns["run"].append(runs.add(run))
            titles.append(definition.name)
            own += spelled
            last = definition.line
        ids = sorted(subtrees.add((int(h), int(w))) for h, w in zip(each.features, each.weights, strict=True))
        columns["subtrees"].append(len(ids))
        features += [b - a for a, b in zip([0, *ids], ids, strict=False)]
    arrays = _arrays(columns, own, features, plain, statements, runs, names, subtrees)
    arrays["facts"] = np.frombuffer(_facts(releases, titles), np.uint8)
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return lzma.compress(out.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _run(
    source: Print, definition: Definition, statements: _Table, names: _Table
) -> tuple[tuple[tuple[int, tuple[int, ...]], ...], list[int]]:
    """Return a definition's statements with their names by order of appearance, and those names."""
    s = source.statements
    order: dict[int, int] = {}
    run: list[tuple[int, tuple[int, ...]]] = []
    for at in range(definition.start, definition.stop):
        here = s.names[s.first[at] : s.first[at + 1]].tolist()
        pattern = tuple(order.setdefault(name, len(order)) for name in here)
        run.append((statements.add((int(s.digests[at]), int(s.sizes[at]))), pattern))
    return tuple(run), [names.add(name) for name in order]


def _arrays(
    columns: dict[str, list[int]],
    own: list[int],
    features: list[int],
    plain: list[int],
    statements: _Table,
    runs: _Table,
    names: _Table,
    subtrees: _Table,
) -> dict[str, Array]:
    pieces = [piece for run in runs.rows for piece in run]
    return {
        "format": np.array([FORMAT], np.uint8),
        "plain": np.array(plain, np.uint64),
        **{key: _small(values) for key, values in columns.items()},
        "own": _small(own),
        "features": _small(features),
        "statement_digests": np.array([d for d, _ in statements.rows], np.uint64),
        "statement_sizes": _small([n for _, n in statements.rows]),
        "run_lengths": _small([len(run) for run in runs.rows]),
        "run_statements": _small([statement for statement, _ in pieces]),
        "run_counts": _small([len(pattern) for _, pattern in pieces]),
        "run_patterns": _small([at for _, pattern in pieces for at in pattern]),
        "names": np.array(list(names.rows), np.uint64).view(np.uint8).reshape(-1, 8)[:, :5].copy(),
        "subtree_digests": np.array([d for d, _ in subtrees.rows], np.uint64),
        "subtree_sizes": _small([n for _, n in subtrees.rows]),
    }


def _small(values: list[int]) -> Array:
    """Return numbers in the narrowest type that holds them."""
    array = np.array(values, np.int64)
    low, high = (int(array.min()), int(array.max())) if len(array) else (0, 0)
    kinds = (np.uint8, np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
    kind = next(k for k in (*kinds, np.int64) if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
    return array.astype(kind)


def _facts(releases: Sequence[Release], titles: list[str]) -> bytes:
    record = {
        "releases": [
            {
                "package": source.package,
                "version": source.version,
                "released": source.released,
                "wheel_sha256": source.wheel_sha256,
                "files": [
                    [
                        e.path,
                        [[n.holder, n.years] for n in e.header.notices],
                        e.header.licence,
                        list(e.sources),
                        e.generated,
                    ]
                    for e in source.entries
                ],
            }
            for source in releases
        ],
        "definitions": titles,
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def load_file(path: Path) -> tuple[Release, ...]:
    """Return the releases in a file that :func:`dump` wrote.

    Raises:
        CorruptCheckpointError: it is no such file.
    """
    return load(path.read_bytes(), str(path))


def load(data: bytes, name: str) -> tuple[Release, ...]:
    """Return the releases in the bytes of such a file; ``name`` is told when it is none.

    Raises:
        CorruptCheckpointError: it is no such file.
    """
    try:
        unpacker = lzma.LZMADecompressor()
        raw = unpacker.decompress(data, max_length=_MOST)
        if not unpacker.eof:
            raise ValueError(f"more than {_MOST} bytes when unpacked, or cut off")
        with np.load(io.BytesIO(raw), allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        if int(arrays["format"][0]) != FORMAT:
            raise ValueError(f"format {int(arrays['format'][0])}, this version reads {FORMAT}")
        return _releases(arrays)
    except (lzma.LZMAError, ValueError, KeyError, IndexError, OSError, EOFError, TypeError) as error:
        raise CorruptCheckpointError(
            f"{name} is not a reference corpus.",
            file=name,
            reason=str(error),
            next_step="Build it again: filiation corpus build.",
        ) from error


def shipped() -> Iterable[tuple[str, bytes]]:
    """Yield names and bytes of the files that come with the package."""
    folder = files("filiation.source.corpus") / "data"
    for each in sorted(folder.iterdir(), key=lambda f: f.name):
        if each.name.endswith(".xz"):
            yield each.name, each.read_bytes()


def _starts(lengths: Array) -> Array:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _releases(arrays: dict[str, Array]) -> tuple[Release, ...]:
    facts = json.loads(arrays["facts"].tobytes())
    paths = [file[0] for each in facts["releases"] for file in each["files"]]
    reader = _Reader(arrays, facts["definitions"], paths)
    found: list[Release] = []
    first = 0
    for each in facts["releases"]:
        entries = [
            Entry(
                path,
                Header(tuple(Notice(h, y, 0) for h, y in notices), licence, ()),
                tuple(sources),
                generated,
            )
            for path, notices, licence, sources, generated in each["files"]
        ]
        about = (each["package"], each["version"], each["released"], each["wheel_sha256"])
        found.append(release(*about, entries, *_reading(reader, first)))
        first += len(entries)
    return tuple(found)


def _reading(reader: _Reader, first: int) -> tuple[Callable[[int], Print], Callable[[int], Features]]:
    """Return what reads a release's file by its number, and what it is ranked by.

    One file is asked for again and again, then no more.
    """

    @lru_cache(maxsize=_RECENT)
    def print_of(number: int) -> Print:
        return reader.print_of(first + number)

    return print_of, lambda number: reader.features_of(first + number)


class _Reader:
    """Makes fingerprints from the arrays when they are asked for."""

    def __init__(self, arrays: dict[str, Array], titles: list[str], paths: list[str]) -> None:
        self.arrays, self.titles, self.paths = arrays, titles, paths
        self.names = np.zeros((len(arrays["names"]), 8), np.uint8)
        self.names[:, :5] = arrays["names"]
        self.names = self.names.view(np.uint64).ravel()
        self.files = _starts(arrays["definitions"])
        self.runs = _starts(arrays["run_lengths"])
        self.patterns = _starts(arrays["run_counts"])
        highest = self._most_names()
        self.own = _starts(highest[arrays["run"]])
        self.features = _starts(arrays["subtrees"])

    def _most_names(self) -> Array:
        """Return the number of distinct names of each run: one more than the highest position in its patterns."""
        values = np.concatenate([self.arrays["run_patterns"].astype(np.int64) + 1, [0]])
        bounds = self.patterns[self.runs]
        highest = np.maximum.reduceat(values, np.minimum(bounds[:-1], len(values) - 1))
        return np.where(bounds[1:] > bounds[:-1], highest, 0)

    def features_of(self, number: int) -> Features:
        """Return what file ``number`` is ranked by: a part of its fingerprint that is quickly read."""
        a = self.arrays
        runs = a["run"][int(self.files[number]) : int(self.files[number + 1])]
        lengths = self.runs[runs.astype(np.int64) + 1] - self.runs[runs]
        begin = np.repeat(self.runs[runs] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        ids = a["run_statements"][begin + np.arange(len(begin))]
        steps = a["features"][int(self.features[number]) : int(self.features[number + 1])]
        subtrees = np.cumsum(steps, dtype=np.int64)
        return gathered(
            a["subtree_digests"][subtrees],
            a["subtree_sizes"][subtrees].astype(np.int32),
            a["statement_digests"][ids],
            a["statement_sizes"][ids].astype(np.int32),
            lengths,
        )

    def print_of(self, number: int) -> Print:
        """Return the fingerprint of file ``number``."""
        a = self.arrays
        first, last = int(self.files[number]), int(self.files[number + 1])
        definitions: list[Definition] = []
        pieces: list[Array] = []
        names: list[Array] = []
        line = start = 0
        lines: list[int] = []
        for at in range(first, last):
            run = int(a["run"][at])
            begin, end = int(self.runs[run]), int(self.runs[run + 1])
            own = self.names[a["own"][int(self.own[at]) : int(self.own[at + 1])]]
            names.append(own[a["run_patterns"][int(self.patterns[begin]) : int(self.patterns[end])]])
            pieces.append(np.arange(begin, end))
            line += int(a["line"][at])
            stop = start + end - begin
            kind, length = _KINDS[int(a["kind"][at])], int(a["length"][at])
            definitions.append(Definition(self.titles[at], kind, line, line + length, start, stop))
            lines += [line] * (end - begin)
            start = stop
        return self._print(number, definitions, pieces, names, lines)

    def _print(
        self,
        number: int,
        definitions: list[Definition],
        pieces: list[Array],
        names: list[Array],
        lines: list[int],
    ) -> Print:
        a = self.arrays
        every = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
        ids = a["run_statements"][every]
        statements = Statements(
            a["statement_digests"][ids],
            a["statement_sizes"][ids].astype(np.int32),
            np.array(lines, np.int32),
            _starts(a["run_counts"][every]).astype(np.int32),
            np.concatenate(names) if names else np.zeros(0, np.uint64),
        )
        steps = a["features"][int(self.features[number]) : int(self.features[number + 1])]
        subtrees = np.cumsum(steps, dtype=np.int64)
        order = np.argsort(a["subtree_digests"][subtrees])
        digests = a["subtree_digests"][subtrees][order]
        sizes = a["subtree_sizes"][subtrees][order].astype(np.int32)
        spelling = _spelling(definitions)
        plain = int(a["plain"][number])
        last = max((d.end for d in definitions), default=0)
        return Print(
            self.paths[number], "", plain, tuple(definitions), statements, digests, sizes, spelling, (), last
        )


def _spelling(definitions: list[Definition]) -> dict[int, str]:
    """Return the names of the definitions by their hashes."""
    from filiation.source.hashing import SHARED, name_hash

    words = {part for d in definitions for part in d.name.split(".") if part}
    return {name_hash(SHARED, word): word for word in sorted(words)}
