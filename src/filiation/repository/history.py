"""The history in a ``.git`` folder: commits, their times, the files each touched. No git program and no hook runs."""

from __future__ import annotations

import heapq
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

from filiation.errors import NotFoundError
from filiation.repository.gitobjects import GitError, ObjectStore
from filiation.repository.model import Commit

_MOST_COMMITS = 20_000
_MOST_TREES = 200_000
_MOST_PATHS = 20_000
_DEEPEST = 64
_SMALL = 1 << 20
_ID = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"refs/[\w./+@-]+")
_PERSON = re.compile(rb".*> (-?\d{1,12}) ([+-])(\d{2})(\d{2})", re.DOTALL)

Note = tuple[str, str]


@dataclass(frozen=True)
class History:
    """What a ``.git`` folder tells: the commits that ``HEAD`` leads to, newest first, and what could not be read."""

    commits: tuple[Commit, ...] = ()
    notes: tuple[Note, ...] = ()
    _trees: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    _store: ObjectStore | None = field(default=None, repr=False)

    def at(self, commit: str, path: str) -> bytes:
        """Return the bytes of a file as they were at a commit.

        Raises:
            NotFoundError: there is no such commit or file, or it cannot be read.
        """
        try:
            if self._store is None or commit not in self._trees:
                raise GitError("the commit is not in the history that was read")
            return _blob_at(self._store, self._trees[commit], path)
        except GitError as error:
            raise NotFoundError(
                f"{path} cannot be read as it was at {commit[:12]}.",
                file=path,
                reason=f"In the history, {error}.",
                next_step="Clone the repository with its whole history.",
            ) from error


def read_history(folder: Path) -> History:
    """Return the history below ``folder`` (a ``.git``); empty, with a note, where there is none that can be read."""
    try:
        mode = folder.lstat().st_mode
    except OSError:
        return History()
    if not stat.S_ISDIR(mode):
        return History(notes=((".git", "history_elsewhere"),))  # a worktree's or submodule's: it leads out
    notes: list[Note] = []
    if (folder / "objects/info/alternates").exists():
        notes.append((".git", "history_elsewhere"))
    if (folder / "shallow").exists():
        notes.append((".git", "history_shallow"))
    try:
        walk = _Walk(ObjectStore(folder / "objects"), _head(folder))
    except GitError:
        return History(notes=(*notes, (".git", "history_unreadable")))
    commits = tuple(walk.run())
    return History(commits, (*notes, *walk.notes), walk.trees, walk.store)


@dataclass(frozen=True, slots=True)
class _Parsed:
    tree: str
    parents: tuple[str, ...]
    authored: str
    committed: str
    seconds: int
    subject: str


class _Walk:
    """From ``HEAD`` to the first commits, the youngest of those that are open always next."""

    def __init__(self, store: ObjectStore, head: str | None) -> None:
        self.store = store
        self.notes: list[Note] = []
        self.trees: dict[str, str] = {}
        self._head = head
        self._changes = _Changes(store)

    def run(self) -> Iterator[Commit]:
        parsed: dict[str, _Parsed] = {}
        open_: list[tuple[int, str]] = []
        self._push(self._head, parsed, open_)
        while open_ and len(self.trees) < _MOST_COMMITS:
            _, number = heapq.heappop(open_)
            commit = parsed[number]
            for parent in commit.parents:
                if parent not in parsed:
                    self._push(parent, parsed, open_)
            self.trees[number] = commit.tree
            first = parsed.get(commit.parents[0]) if commit.parents else None
            paths = self._paths(None if first is None else first.tree, commit)
            yield Commit(number, commit.authored, commit.committed, commit.subject, paths)
        if open_:
            self.notes.append((".git", "history_cut"))

    def _push(self, number: str | None, parsed: dict[str, _Parsed], open_: list[tuple[int, str]]) -> None:
        if number is None:
            return
        try:
            parsed[number] = _parsed(self.store.typed(number, "commit"))
        except GitError:
            self._note("history_incomplete")
            return
        heapq.heappush(open_, (-parsed[number].seconds, number))

    def _paths(self, before: str | None, commit: _Parsed) -> tuple[str, ...]:
        if before is None and commit.parents:
            return ()  # its parent could not be read: nothing to compare with
        try:
            return self._changes.between(before, commit.tree)
        except GitError:
            self._note("history_incomplete")
            return ()

    def _note(self, key: str) -> None:
        if (".git", key) not in self.notes:
            self.notes.append((".git", key))


class _Changes:
    """The files in which two trees differ; sub-folders of one id are not entered."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._read = 0

    def between(self, before: str | None, after: str) -> tuple[str, ...]:
        found: set[str] = set()
        pending: list[tuple[str, str | None, str | None]] = [("", before, after)]
        while pending:
            prefix, old, new = pending.pop()
            if old == new:
                continue
            left, right = self._tree(old), self._tree(new)
            for name in left.keys() | right.keys():
                (was, was_tree), (is_, is_tree) = (
                    left.get(name, (None, False)),
                    right.get(name, (None, False)),
                )
                if was == is_:
                    continue
                if (was_tree or is_tree) and prefix.count("/") < _DEEPEST:
                    pending.append((f"{prefix}{name}/", was if was_tree else None, is_ if is_tree else None))
                if (was is not None and not was_tree) or (is_ is not None and not is_tree):
                    found.add(prefix + name)
            if len(found) > _MOST_PATHS:
                raise GitError("a commit touches too many files")
        return tuple(sorted(found))

    def _tree(self, number: str | None) -> dict[str, tuple[str | None, bool]]:
        if number is None:
            return {}
        self._read += 1
        if self._read > _MOST_TREES:
            raise GitError("the history has too many trees")
        return {name: (object_id, is_tree) for name, object_id, is_tree in _entries(self._store, number)}


def _entries(store: ObjectStore, tree: str) -> Iterator[tuple[str, str, bool]]:
    data = store.typed(tree, "tree")
    at = 0
    while at < len(data):
        space, zero = data.find(b" ", at), data.find(b"\0", at)
        if not at < space < zero or zero + 21 > len(data):
            raise GitError("a tree is damaged")
        name = data[space + 1 : zero].decode("utf-8", "replace")
        yield name, data[zero + 1 : zero + 21].hex(), data[at:space] in (b"40000", b"040000")
        at = zero + 21


def _blob_at(store: ObjectStore, tree: str, path: str) -> bytes:
    parts = path.split("/")
    for depth, part in enumerate(parts):
        found = next((entry for entry in _entries(store, tree) if entry[0] == part), None)
        last = depth == len(parts) - 1
        if found is None or found[2] is last:
            raise GitError(f"there is no file {path}")
        tree = found[1]
    return store.typed(tree, "blob")


def _parsed(data: bytes) -> _Parsed:
    head, _, message = data.partition(b"\n\n")
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        fields.setdefault(key, []).append(value)
    tree = fields.get(b"tree", [b""])[0].decode("latin-1")
    parents = tuple(value.decode("latin-1") for value in fields.get(b"parent", []))
    if not all(_ID.fullmatch(number) for number in (tree, *parents)):
        raise GitError("a commit is damaged")
    authored, _ = _time(fields.get(b"author", [b""])[0])
    committed, seconds = _time(fields.get(b"committer", [b""])[0])
    subject = message.strip().split(b"\n", 1)[0].decode("utf-8", "replace")[:200]
    return _Parsed(tree, parents, authored, committed, seconds, subject)


def _time(person: bytes) -> tuple[str, int]:
    found = _PERSON.fullmatch(person[-300:])
    if found is None:
        raise GitError("a commit has no time")
    seconds = int(found[1])
    offset = timedelta(hours=int(found[3]), minutes=int(found[4])) * (1 if found[2] == b"+" else -1)
    try:
        moment = datetime.fromtimestamp(seconds, timezone(offset))
    except (ValueError, OverflowError, OSError):
        try:
            moment = datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise GitError("a commit's time is absurd") from error
    return moment.isoformat(), seconds


def _head(folder: Path) -> str | None:
    """Return the commit that ``HEAD`` leads to; None in a repository without one.

    Raises:
        GitError: it leads out of the folder, or nowhere.
    """
    text = _text(folder / "HEAD").strip()
    for _ in range(5):
        if _ID.fullmatch(text):
            return text
        name = text.removeprefix("ref:").strip()
        if not _REF.fullmatch(name) or ".." in name or "//" in name:
            raise GitError("HEAD leads nowhere")
        loose = folder / name
        if loose.is_file() and loose.resolve().is_relative_to(folder.resolve()):
            text = _text(loose).strip()
        else:
            packed = _packed(folder, name)
            if packed is None:
                return None
            text = packed
    raise GitError("HEAD leads in a circle")


def _packed(folder: Path, name: str) -> str | None:
    path = folder / "packed-refs"
    if not path.is_file():
        return None
    for line in _text(path).splitlines():
        number, _, ref = line.partition(" ")
        if ref == name and _ID.fullmatch(number):
            return number
    return None


def _text(path: Path) -> str:
    try:
        if path.is_symlink():
            raise GitError(f"{path.name} is a link")
        with path.open("rb") as file:
            return file.read(_SMALL).decode("utf-8", "replace")
    except OSError as error:
        raise GitError(f"{path.name} cannot be read") from error
