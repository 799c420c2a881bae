"""The range planner: few requests, few bytes, bounded memory, whatever the order in which a format reads.

A remote source hands its sizes and a function that fetches ``(name, start, stop)``; :class:`RangeReader` decides
what to ask for:

- ranges that lie near each other are fetched as one span: a gap is cheaper than a request;
- the first read of a file brings its first 256 KB, so that a safetensors header costs one request; a reader that
  walks on from there in small steps (a long GGUF header) gets ever longer spans;
- the heads of the shards that follow are fetched beside it, because whoever reads the first header reads them all;
- what was fetched is kept, up to a bound; spans that were announced and not yet read go last.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from filiation.errors import CorruptCheckpointError, InputError, NotFoundError, UnsafeCheckpointError

GAP = 512 * 1024
"""Two ranges at most this many bytes apart are fetched as one."""
HEAD = 256 * 1024
"""Bytes that the first read of a file brings."""
LONGEST_STEP = 4 * 1024 * 1024
"""Bytes that a walk through a long header brings at most in one request."""
LONGEST_SPAN = 32 * 1024 * 1024
"""A span is not made longer than this by announcing it."""
MEMORY = 64 * 1024 * 1024
"""Bytes kept per source."""

T = TypeVar("T")
Span = tuple[int, int]
_SHARD = re.compile(r"(?P<stem>.*)-(?P<index>\d{5})-of-(?P<count>\d{5})\.safetensors")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a file from ``start`` on: what was asked for, perhaps with more before or after it."""

    start: int
    data: bytes

    @property
    def stop(self) -> int:
        """The offset just after the last byte."""
        return self.start + len(self.data)


Fetch = Callable[[str, int, int], Piece]


def safe_name(name: str) -> str:
    """Return a file name that a server gave, if it stays inside the checkpoint.

    Raises:
        UnsafeCheckpointError: for an absolute name, a drive, a backslash, a control character or a ``..``.
    """
    parts = name.split("/")
    bad = "\\" in name or ":" in parts[0] or any(ord(c) < 32 for c in name)
    if bad or not name or any(part in ("", ".", "..") for part in parts):
        raise UnsafeCheckpointError(
            "A file name leaves the checkpoint; refused.",
            file=repr(name),
            reason="Only relative names without '..' are opened.",
            next_step="Do not use this source; tell its owner.",
        )
    return name


def coalesce(spans: Iterable[Span], gap: int = GAP) -> list[Span]:
    """Return the spans in order, those that overlap or lie at most ``gap`` bytes apart joined; empty ones dropped."""
    joined: list[Span] = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def subtract(span: Span, covered: Iterable[Span]) -> list[Span]:
    """Return the parts of ``span`` that no span of ``covered`` holds."""
    missing: list[Span] = []
    start, stop = span
    for low, high in sorted(covered):
        if low > start:
            missing.append((start, min(low, stop)))
        start = max(start, high)
        if start >= stop:
            break
    if start < stop:
        missing.append((start, stop))
    return [(a, b) for a, b in missing if a < b]


def split(span: Span, longest: int = LONGEST_SPAN) -> list[Span]:
    """Cut a span into pieces of at most ``longest`` bytes."""
    start, stop = span
    return [(at, min(at + longest, stop)) for at in range(start, stop, longest)]


class SpanCache:
    """Fetched pieces by file, at most ``limit`` bytes in all; those read longest ago go first, unread ones last."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pieces: OrderedDict[tuple[str, int], Piece] = OrderedDict()
        self._unread: set[tuple[str, int]] = set()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes held."""
        return self._held

    @property
    def unread(self) -> int:
        """Bytes held that were announced and not yet read."""
        return sum(len(self._pieces[key].data) for key in self._unread)

    def spans(self, name: str) -> list[Span]:
        """Return what is held of a file."""
        return [(piece.start, piece.stop) for (file, _), piece in self._pieces.items() if file == name]

    def touching(self, name: str, start: int, stop: int) -> list[Piece]:
        """Return the pieces that overlap ``start:stop``, and mark them as read."""
        keys = [
            key
            for key, piece in self._pieces.items()
            if key[0] == name and piece.start < stop and piece.stop > start
        ]
        for key in keys:
            self._pieces.move_to_end(key)
            self._unread.discard(key)
        return [self._pieces[key] for key in keys]

    def add(self, name: str, piece: Piece, *, unread: bool = False) -> None:
        """Keep a piece, and drop others if there is no room; one larger than a quarter of the room is not kept."""
        if (
            not piece.data
            or (len(piece.data) > self.limit // 4 and not unread)
            or len(piece.data) > self.limit
        ):
            return
        key = (name, piece.start)
        old = self._pieces.pop(key, None)
        if old is not None and old.stop > piece.stop:
            piece = old
        self._held += len(piece.data) - (len(old.data) if old is not None else 0)
        self._pieces[key] = piece
        if unread:
            self._unread.add(key)
        while self._held > self.limit:
            self._drop_one()

    def _drop_one(self) -> None:
        key = next((key for key in self._pieces if key not in self._unread), next(iter(self._pieces)))
        self._unread.discard(key)
        self._held -= len(self._pieces.pop(key).data)


class RangeReader:
    """Reads files of known sizes by range through ``fetch``; safe to use from several threads.

    Args:
        sizes: bytes of every file, by name.
        fetch: returns a :class:`Piece` that covers the span it is asked for, or raises.
        workers: how many fetches may run at once.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        fetch: Fetch,
        *,
        gap: int = GAP,
        head: int = HEAD,
        memory: int = MEMORY,
        workers: int = 4,
    ) -> None:
        self._sizes = sizes
        self._fetch = fetch
        self._gap = gap
        self._head = head
        self._workers = workers
        self._cache = SpanCache(memory)
        self._planned: dict[str, list[Span]] = {}
        self._head_stop: dict[str, int] = {}
        self._lock = threading.RLock()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return bytes ``start:stop``; see :meth:`filiation.checkpoint.sources.base.Source.read`."""
        start, stop = self.bounds(name, start, stop)
        if start == stop:
            return b""
        self._fetch_sibling_heads(name, start)
        held = self._pieces(name, start, stop)
        missing = subtract((start, stop), [(piece.start, piece.stop) for piece in held])
        if missing:
            held += self._fetch_all([(name, span) for span in self._widen(name, missing)], unread=False)
        return _join(held, start, stop)

    def prime(self, name: str, piece: Piece) -> None:
        """Keep a piece that was fetched by other means: the head of a file, which told its size."""
        with self._lock:
            self._cache.add(name, piece, unread=True)
            if piece.start == 0:
                self._head_stop[name] = piece.stop

    def prefetch(self, name: str, ranges: Sequence[Span]) -> None:
        """Fetch these ranges now, several at once, as far as there is room; the rest when it is read."""
        size = self._size(name)
        wanted = [(max(0, start), min(stop, size)) for start, stop in ranges]
        with self._lock:
            covered = self._cache.spans(name)
            spans = coalesce([part for span in wanted for part in subtract(span, covered)], self._gap)
            spans = [part for span in spans for part in split(span)]
            room = self._cache.limit - self._cache.unread
            now: list[Span] = []
            for span in spans:
                room -= span[1] - span[0]
                if room < 0:
                    break
                now.append(span)
            self._planned.setdefault(name, []).extend(spans[len(now) :])
        self._fetch_all([(name, span) for span in now], unread=True)

    def _size(self, name: str) -> int:
        if name not in self._sizes:
            raise NotFoundError(
                "The checkpoint has no such file.",
                file=safe_name(name),
                reason="The source does not list it.",
                next_step="Check the name in the index file, or download the checkpoint again.",
            )
        return self._sizes[name]

    def bounds(self, name: str, start: int, stop: int | None) -> Span:
        """Return ``start:stop`` with the end filled in.

        Raises:
            NotFoundError: no such file. CorruptCheckpointError: the file ends before ``stop``.
        """
        size = self._size(name)
        stop = size if stop is None else stop
        if not 0 <= start <= stop <= size:
            raise CorruptCheckpointError(
                "The file is shorter than what it promises.",
                file=name,
                reason=f"Bytes {start:,} to {stop:,} were to be read; the file has {size:,}.",
                next_step="The upload is incomplete; compare the size with the publisher's.",
            )
        return start, stop

    def _pieces(self, name: str, start: int, stop: int) -> list[Piece]:
        with self._lock:
            return self._cache.touching(name, start, stop)

    def _widen(self, name: str, missing: list[Span]) -> list[Span]:
        """Make the missing spans worth a request: announced spans whole, heads longer, near ones joined."""
        with self._lock:
            spans = [self._extend(name, *span) for span in missing]
            planned = self._planned.get(name, [])
            hit = [span for span in planned if any(span[0] < b and span[1] > a for a, b in spans)]
            self._planned[name] = [span for span in planned if span not in hit]
        return coalesce(spans + hit, self._gap)

    def _extend(self, name: str, start: int, stop: int) -> Span:
        """Lengthen a small read at the head of a file, or one that goes on where the head ended."""
        head_stop = self._head_stop.get(name, 0)
        if start == head_stop and stop - start <= self._head:
            stop = max(stop, start + min(max(self._head, head_stop), LONGEST_STEP))
            stop = min(stop, self._sizes[name])
            self._head_stop[name] = stop
        return start, stop

    def _fetch_sibling_heads(self, name: str, start: int) -> None:
        """At the first head of a sharded model: fetch the heads of the shards that follow too, several at once."""
        match = _SHARD.fullmatch(name)
        if start or match is None or name in self._head_stop:
            return
        first, count = int(match["index"]), int(match["count"])
        last = min(count, first + 2 * self._workers - 1)
        names = (f"{match['stem']}-{i:05d}-of-{count:05d}.safetensors" for i in range(first, last + 1))
        with self._lock:
            heads = [(n, (0, min(self._head, self._sizes[n]))) for n in names if n in self._sizes]
            heads = [(n, span) for n, span in heads if n not in self._head_stop]
            self._head_stop.update({n: span[1] for n, span in heads})
        try:
            self._fetch_all(heads, unread=True)
        except InputError:  # speculation: who needs that file will ask again and be told
            with self._lock:
                for n, span in heads:
                    if span not in self._cache.spans(n):
                        self._head_stop.pop(n, None)

    def _fetch_all(self, tasks: list[tuple[str, Span]], *, unread: bool) -> list[Piece]:
        return side_by_side(
            [partial(self._fetch_one, name, span, unread) for name, span in tasks], self._workers
        )

    def _fetch_one(self, name: str, span: Span, unread: bool) -> Piece:
        piece = self._fetch(name, *span)
        if piece.start > span[0] or piece.stop < span[1]:
            raise CorruptCheckpointError(
                "The file is shorter than its listing says.",
                file=name,
                reason=f"Bytes {span[0]:,} to {span[1]:,} were asked for; {len(piece.data):,} came back.",
                next_step="Try again; if it stays so, the upload is incomplete.",
            )
        with self._lock:
            self._cache.add(name, piece, unread=unread)
        return piece


def side_by_side(calls: Sequence[Callable[[], T]], workers: int) -> list[T]:
    """Return what the calls return, up to ``workers`` of them running at once; the first error ends it.

    The threads are daemons, unlike an executor's: after Ctrl-C nobody waits for a server that says nothing.
    """
    if len(calls) < 2 or workers < 2:
        return [call() for call in calls]
    results: list[Future[T]] = [Future() for _ in calls]
    todo = iter(zip(calls, results, strict=True))
    finished: SimpleQueue[Future[T]] = SimpleQueue()
    lock = threading.Lock()

    def stop() -> None:
        nonlocal todo
        with lock:
            todo = iter(())

    def work() -> None:
        while True:
            with lock:
                call, result = next(todo, (None, None))
            if call is None or result is None:
                return
            try:
                result.set_result(call())
            except Exception as error:  # noqa: BLE001 (raised again where the result is asked for)
                result.set_exception(error)
                stop()
            finished.put(result)

    for _ in range(min(workers, len(calls))):
        threading.Thread(target=work, name="filiation-range", daemon=True).start()
    try:
        for _ in calls:
            finished.get().result()
    except BaseException:
        stop()
        raise
    return [result.result() for result in results]


def _join(pieces: list[Piece], start: int, stop: int) -> bytes:
    """Return ``start:stop`` out of pieces that together cover it."""
    for piece in pieces:
        if piece.start <= start and piece.stop >= stop:
            if (piece.start, piece.stop) == (start, stop):
                return piece.data
            return piece.data[start - piece.start : stop - piece.start]
    out = bytearray(stop - start)
    for piece in pieces:
        low, high = max(start, piece.start), min(stop, piece.stop)
        if low < high:
            out[low - start : high - start] = memoryview(piece.data)[low - piece.start : high - piece.start]
    return bytes(out)
