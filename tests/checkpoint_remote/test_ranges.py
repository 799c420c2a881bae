"""The planner: what it asks for, what it keeps, and that what it returns is the file."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.checkpoint.sources.ranges import (
    HEAD,
    LONGEST_SPAN,
    LONGEST_STEP,
    Piece,
    RangeReader,
    SpanCache,
    coalesce,
    safe_name,
    side_by_side,
    split,
    subtract,
)
from filiation.errors import CorruptCheckpointError, NetworkError, NotFoundError, UnsafeCheckpointError

spans = st.tuples(st.integers(0, 300), st.integers(0, 60)).map(lambda t: (t[0], t[0] + t[1]))
MIB = 1024 * 1024


class Store:
    """Files in memory, and what was asked of them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[tuple[str, int, int]] = []

    def fetch(self, name: str, start: int, stop: int) -> Piece:
        self.asked.append((name, start, stop))
        return Piece(start, self.files[name][start:stop])

    def reader(self, **options: int) -> RangeReader:
        return RangeReader({name: len(data) for name, data in self.files.items()}, self.fetch, **options)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@given(st.lists(spans), st.integers(0, 40))
def test_coalesced_spans_hold_every_range_and_stay_apart(ranges: list[tuple[int, int]], gap: int) -> None:
    joined = coalesce(ranges, gap)
    for start, stop in ranges:
        assert start == stop or any(a <= start and stop <= b for a, b in joined)
    assert all(b - a > gap for (_, a), (b, _) in pairwise(joined))
    wanted = {at for start, stop in ranges for at in range(start, stop)}
    assert sum(b - a for a, b in joined) <= len(wanted) + gap * max(0, len(ranges) - 1)


@given(spans, st.lists(spans))
def test_subtract_leaves_what_is_not_covered(span: tuple[int, int], covered: list[tuple[int, int]]) -> None:
    held = {at for a, b in covered for at in range(a, b)}
    left = [at for a, b in subtract(span, covered) for at in range(a, b)]
    assert left == [at for at in range(*span) if at not in held]


@given(spans, st.integers(1, 50))
def test_split_cuts_without_loss(span: tuple[int, int], longest: int) -> None:
    parts = split(span, longest)
    assert [at for a, b in parts for at in range(a, b)] == list(range(*span))
    assert all(0 < b - a <= longest for a, b in parts)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("read"), spans),
        st.tuples(st.just("prefetch"), st.lists(spans, max_size=4)),
    ),
    max_size=12,
)


@given(operations, st.integers(0, 40), st.integers(1, 64), st.integers(1, 400), st.integers(1, 3))
def test_any_order_of_reads_and_hints_gives_the_bytes_of_the_file(
    steps: list[tuple[str, object]], gap: int, head: int, memory: int, workers: int
) -> None:
    data = noise(360)
    store = Store({"f": data})
    reader = store.reader(gap=gap, head=head, memory=memory, workers=workers)
    for kind, what in steps:
        if kind == "read":
            start, stop = what  # type: ignore[misc]
            assert reader.read("f", start, stop) == data[start:stop]
        else:
            reader.prefetch("f", what)  # type: ignore[arg-type]
        assert reader._cache.held <= memory


def test_a_short_header_costs_one_request() -> None:
    store = Store({"f": noise(8 * MIB)})
    reader = store.reader()
    reader.read("f", 0, 8)
    reader.read("f", 8, 40_000)
    assert store.asked == [("f", 0, HEAD)]


def test_a_walk_through_a_long_header_takes_ever_longer_steps() -> None:
    data = noise(40 * MIB)
    store = Store({"f": data})
    reader = store.reader()
    walked = b"".join(reader.read("f", at, at + 1000) for at in range(0, 20_000_000, 1000))
    assert walked == data[:20_000_000]
    sizes = [stop - start for _, start, stop in store.asked]
    assert sizes[0] == HEAD
    assert sizes == sorted(sizes)
    assert max(sizes) == LONGEST_STEP
    assert len(sizes) <= 10


def test_a_read_far_from_the_head_is_exact() -> None:
    store = Store({"f": noise(8 * MIB)})
    reader = store.reader()
    reader.read("f", 0, 8)
    reader.read("f", 5 * MIB, 5 * MIB + 100)
    assert store.asked[1:] == [("f", 5 * MIB, 5 * MIB + 100)]


def test_near_ranges_become_one_request_and_are_not_fetched_twice() -> None:
    data = noise(8 * MIB)
    store = Store({"f": data})
    reader = store.reader(gap=1000)
    ranges = [(2_000_000 + i * 1500, 2_000_000 + i * 1500 + 500) for i in range(100)] + [
        (6_000_000, 6_000_500)
    ]
    reader.prefetch("f", ranges)
    assert sorted(store.asked) == [("f", 2_000_000, 2_149_000), ("f", 6_000_000, 6_000_500)]
    for start, stop in ranges:
        assert reader.read("f", start, stop) == data[start:stop]
    reader.prefetch("f", ranges)
    assert len(store.asked) == 2


def test_what_does_not_fit_is_fetched_when_it_is_read_and_still_joined() -> None:
    data = noise(4 * MIB)
    store = Store({"f": data})
    reader = store.reader(memory=MIB, gap=0)
    spans_ = [(i * 300_000, i * 300_000 + 200_000) for i in range(12)]
    reader.prefetch("f", spans_)
    assert len(store.asked) == 5  # 5 x 200,000 bytes fill the mebibyte
    for start, stop in spans_:
        half = (start + stop) // 2
        assert reader.read("f", start, half) + reader.read("f", half, stop) == data[start:stop]
    assert len(store.asked) == 12


def test_a_long_announced_span_is_cut() -> None:
    store = Store({"f": bytes(LONGEST_SPAN + 10)})
    store.reader(memory=1000).prefetch("f", [(0, LONGEST_SPAN + 10)])
    assert store.asked == []
    store.reader(memory=4 * LONGEST_SPAN).prefetch("f", [(0, LONGEST_SPAN + 10)])
    assert sorted(store.asked) == [("f", 0, LONGEST_SPAN), ("f", LONGEST_SPAN, LONGEST_SPAN + 10)]


def test_the_cache_drops_what_was_read_longest_ago_and_unread_pieces_last() -> None:
    cache = SpanCache(100)
    cache.add("f", Piece(0, bytes(20)), unread=True)
    for i in range(1, 6):
        cache.add("f", Piece(i * 100, bytes(20)))
    assert cache.held == 100
    assert cache.spans("f") == [(0, 20), (200, 220), (300, 320), (400, 420), (500, 520)]
    assert cache.unread == 20
    cache.touching("f", 200, 201)
    cache.touching("f", 0, 1)
    assert cache.unread == 0
    cache.add("f", Piece(600, bytes(20)))
    assert (300, 320) not in cache.spans("f")
    assert (200, 220) in cache.spans("f")


def test_a_large_piece_is_handed_through_and_not_kept() -> None:
    store = Store({"f": noise(2 * MIB)})
    reader = store.reader(memory=MIB, head=1)
    assert reader.read("f") == store.files["f"]
    assert reader._cache.held == 0


def test_the_first_header_of_a_sharded_model_brings_the_others() -> None:
    names = [f"model-{i:05d}-of-00011.safetensors" for i in range(1, 12)]
    store = Store(
        {name: noise(MIB, i) for i, name in enumerate(names)} | {"other-00001-of-00011.safetensors": b"x"}
    )
    reader = store.reader(workers=4)
    reader.read(names[0], 0, 8)
    assert sorted(store.asked) == [(name, 0, HEAD) for name in names[:8]]
    for name in names:
        assert reader.read(name, 0, 100) == store.files[name][:100]
    assert sorted(store.asked) == [(name, 0, HEAD) for name in names]


def test_a_sibling_that_fails_does_not_harm_the_one_that_was_asked_for() -> None:
    names = [f"model-{i:05d}-of-00002.safetensors" for i in (1, 2)]
    store = Store({name: noise(MIB) for name in names})
    down = True

    def fetch(name: str, start: int, stop: int) -> Piece:
        if down and name == names[1]:
            raise NetworkError("down")
        return store.fetch(name, start, stop)

    reader = RangeReader(dict.fromkeys(names, MIB), fetch)
    assert reader.read(names[0], 0, 8) == store.files[names[0]][:8]
    with pytest.raises(NetworkError):
        reader.read(names[1], 0, 8)
    down = False
    assert reader.read(names[1], 0, 8) == store.files[names[1]][:8]


def test_many_threads_read_one_file() -> None:
    data = noise(4 * MIB)
    reader = Store({"f": data}).reader(memory=MIB)
    starts = [random.Random(7).randrange(4 * MIB - 70_000) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(lambda at: reader.read("f", at, at + 65_000), starts)
        assert all(part == data[at : at + 65_000] for at, part in zip(starts, got, strict=True))


def test_calls_side_by_side_return_in_order_and_the_first_error_stops_the_rest() -> None:
    assert side_by_side([partial(pow, i, 2) for i in range(50)], 4) == [i * i for i in range(50)]
    assert side_by_side([], 4) == []
    started: list[int] = []
    over = threading.Event()

    def call(i: int) -> int:
        started.append(i)
        if i == 3:
            raise ValueError("three")
        if i > 3:
            over.wait(10)
        return i

    with pytest.raises(ValueError, match="three"):
        side_by_side([partial(call, i) for i in range(10)], 1)
    assert started == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="three"):
        side_by_side([partial(call, i) for i in range(100)], 3)
    over.set()
    assert set(started[4:]) <= {0, 1, 2, 3, 4, 5}


def test_reading_past_the_end_or_an_unknown_file_is_an_error() -> None:
    reader = Store({"f": bytes(10)}).reader()
    with pytest.raises(CorruptCheckpointError, match="the file has 10"):
        reader.read("f", 5, 11)
    with pytest.raises(NotFoundError, match="no such file"):
        reader.read("g")
    with pytest.raises(NotFoundError):
        reader.prefetch("g", [(0, 1)])
    assert reader.read("f", 10) == b""


def test_a_fetch_that_brings_too_little_is_an_error() -> None:
    reader = RangeReader({"f": 100}, lambda name, start, stop: Piece(start, bytes(stop - start - 1)))
    with pytest.raises(CorruptCheckpointError, match="99 came back"):
        reader.read("f")


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "C:/x", "", ".", "a/./b", "a\nb"]
)
def test_a_name_that_leaves_the_checkpoint_is_refused(name: str) -> None:
    with pytest.raises(UnsafeCheckpointError):
        safe_name(name)


@pytest.mark.parametrize("name", ["model.safetensors", "onnx/model.onnx", "a b/ü.bin", "..x/y.."])
def test_an_ordinary_name_passes(name: str) -> None:
    assert safe_name(name) == name
