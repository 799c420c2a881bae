"""Wide layers are read as a stream and wide embeddings summed up: the same numbers, in a bounded part of the memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from filiation.origin import basis, layers, matching, polar, tokenrows, whole
from filiation.origin.basis import Basis
from filiation.origin.compact import CompactRows
from filiation.origin.gather import Side
from filiation.origin.pairing import TokenRows
from filiation.origin.pattern import order_is_arbitrary, stands_arbitrarily
from filiation.origin.units import Units
from tests.origin.models import FFN, VOCAB, WIDTH, changed, dissected, llama
from tests.origin.units import drawn

NARROW = 24


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def padded(name: str, rows: np.ndarray) -> np.ndarray:
    """Two dead neurons and a clone."""
    if "gate" not in name:
        return rows
    rows = rows.copy()
    rows[3] = rows[7] = 0
    rows[5] = rows[4]
    return rows


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "WIDE", 1)
    monkeypatch.setattr(whole, "_AT_ONCE", 1)


@pytest.mark.parametrize("by", ["sign", "ascent"])
@pytest.mark.parametrize("columns", [False, True])
def test_a_streamed_layer_gives_the_map_of_a_held_one(
    by: str, columns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Basis(columns=rng().permutation(WIDTH)) if columns else basis.IDENTITY
    suspect = Side(dissected(llama(1)), "language", frame)
    candidate = Side(dissected(changed(llama(1), padded)), "language", frame, is_suspect=False)
    mine = layers.contents(suspect, range(3), (8, 40), signs=by == "sign")
    held = layers.whole_map(mine, candidate, 1, by, rng())
    monkeypatch.setattr(whole, "WIDE", 1)
    monkeypatch.setattr(whole, "_AT_ONCE", 1)
    assert whole.whole_layer(candidate, 1) is not None
    found = layers.whole_map(mine, candidate, 1, by, rng())
    assert found.units == held.units > 0
    np.testing.assert_array_equal(found.log10_e, held.log10_e)
    np.testing.assert_array_equal(found.matched, held.matched)


@pytest.mark.usefixtures("streamed")
def test_a_streamed_layer_is_its_units() -> None:
    side = Side(dissected(changed(llama(2), padded)))
    pool, units = whole.whole_layer(side, 0), _units(side, 0)
    assert pool is not None
    some = np.array([9, 2, 40, 2])
    np.testing.assert_array_equal(pool.normed_at(some), units.normed[some])
    np.testing.assert_array_equal(pool.alive().position, units.alive().position)
    assert len(pool.alive()) == FFN - 4
    assert stands_arbitrarily(whole.traits(pool)) == order_is_arbitrary(units) is True


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("order", ["arbitrary", "by size", "cloned"])
def test_a_pattern_is_seen_in_a_stream_as_among_units(order: str) -> None:
    def arranged(name: str, rows: np.ndarray) -> np.ndarray:
        if "gate" not in name:
            return rows
        if order == "by size":
            return rows * np.linspace(1, 3, len(rows), dtype=np.float32)[:, None]
        return np.concatenate([rows[: len(rows) // 2]] * 2) * 1.01 if order == "cloned" else rows

    side = Side(dissected(changed(llama(4, ffn=192), arranged)))
    pool = whole.whole_layer(side, 2)
    assert pool is not None
    told = order_is_arbitrary(_units(side, 2))
    assert stands_arbitrarily(whole.traits(pool)) == told == layers.unpatterned(side, 2)
    assert told == (order != "by size")


def _units(side: Side, layer: int) -> Units:
    return layers.contents(side, [layer], None)[layer]


def test_fused_rows_are_not_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "WIDE", 1)
    side = Side(dissected(llama(1)))
    part = side.anatomy.part("gate", 0)
    assert part is not None
    fused = replace(part, view=replace(part.view, rows=np.arange(FFN)[::-1]))
    parts = tuple(fused if p is part else p for p in side.anatomy.parts)
    assert whole.whole_layer(replace(side, anatomy=replace(side.anatomy, parts=parts)), 0) is None


@pytest.mark.parametrize(("coarse", "share"), [(False, 1.5), (True, 1.0)])
def test_a_wide_layer_never_lies_in_memory_as_units(
    coarse: bool, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "_AT_ONCE", 1 << 16)
    monkeypatch.setattr(matching, "ROWS", 256)
    width, ffn = 512, 8448
    size = 4 * width * ffn

    def rounded(_: str, values: np.ndarray) -> np.ndarray:
        return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) if coarse else values

    models = (changed(llama(seed, layers=1, width=width, ffn=ffn), rounded) for seed in (1, 2))
    mine, theirs = (dissected(model) for model in models)
    assert width * ffn >= whole.WIDE
    suspect = layers.contents(Side(mine), [0], (0, 64), signs=True)
    held = _peak(lambda: layers.contents(Side(theirs), [0], None, signs=True))
    found = _peak(lambda: layers.whole_map(suspect, Side(theirs), 0, "sign", rng()))
    assert held > 2 * size
    assert found < share * size  # of two matrices: one as the file has it, and pieces of it at unit length


def _peak(action: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "bytes_each"), [("bfloat16", 2), ("float16", 2), ("float32", 4), ("bfloat16, then float32", 4)]
)
def test_compact_rows_come_back_as_they_were(kind: str, bytes_each: int) -> None:
    rows = drawn(1, 600, 10)
    if kind == "float16":
        rows = rows.astype(np.float16).astype(np.float32)
    elif kind.startswith("bfloat16"):
        coarse = (rows.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        rows = coarse if kind == "bfloat16" else np.concatenate([coarse[:400], rows[400:]])
    held = CompactRows(*rows.shape)
    for start in range(0, len(rows), 128):
        held.append(rows[start : start + 128])
    assert held.nbytes == bytes_each * rows.size
    np.testing.assert_array_equal(held.rows(slice(0, 600)), rows)
    np.testing.assert_array_equal(held.rows(np.array([599, 0, 3])), rows[[599, 0, 3]])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    ("narrower", "kind"), [(None, "signed_permutation"), ("suspect", "injection"), ("candidate", "injection")]
)
def test_summed_rows_lead_to_the_basis_of_held_ones(narrower: str | None, kind: str, signed: bool) -> None:
    theirs = (drawn(1, 400, 48) + 0.5).astype(np.float32)
    order = rng().permutation(48)
    mine = (theirs[:, order] + 0.3 * drawn(2, 400, 48)).astype(np.float32)
    mine = mine[:, :NARROW] if narrower == "suspect" else mine
    theirs = theirs[:, np.sort(order[:NARROW])] if narrower == "candidate" else theirs
    held, summed = tokenrows.HeldRows(mine, theirs), _summed(mine, theirs)
    a, b = held.signed_permutation(rng(), signed=signed), summed.signed_permutation(rng(), signed=signed)
    assert a.kind == b.kind == kind
    assert a.agreement == pytest.approx(b.agreement, rel=1e-5)
    for one, other in ((a.columns, b.columns), (a.suspect_columns, b.suspect_columns), (a.signs, b.signs)):
        assert (one is None and other is None) or np.array_equal(one, other)  # pyright: ignore[reportArgumentType]
    assert held.recovered(a, rng()) == summed.recovered(b, rng())


def test_strangers_are_assigned_alike() -> None:
    mine, theirs = drawn(1, 300, 40), drawn(2, 300, 40)
    found = [
        rows.signed_permutation(rng(), signed=True)
        for rows in (tokenrows.HeldRows(mine, theirs), _summed(mine, theirs))
    ]
    np.testing.assert_array_equal(found[0].columns, found[1].columns)


def test_a_rotation_is_fitted_on_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polar, "PRECISE", 8)
    monkeypatch.setattr(polar, "DECOMPOSED", 8)
    theirs = drawn(1, 500, 40)
    turn = np.linalg.qr(drawn(2, 40, 40))[0].astype(np.float32)
    mine = (theirs @ turn.T + 0.2 * drawn(3, 500, 40)).astype(np.float32)
    held, summed = basis.rotation(mine, theirs), _summed(mine, theirs).rotation()
    assert held.matrix is not None
    assert summed.matrix is not None
    np.testing.assert_allclose(summed.matrix, held.matrix, atol=2e-5)
    assert summed.agreement == pytest.approx(held.agreement, rel=1e-5)
    assert summed.agreement > 0.9


def test_constant_channels_correlate_with_nothing() -> None:
    mine, theirs = drawn(1, 200, 12), drawn(2, 200, 12)
    mine[:, 3] = 5.0
    found = _summed(mine, theirs).signed_permutation(rng(), signed=True)
    assert found.columns is not None
    assert sorted(found.columns.tolist()) == list(range(12))
    assert np.isfinite(found.agreement)


def _summed(mine: np.ndarray, theirs: np.ndarray) -> tokenrows.SummedRows:
    found = tokenrows.SummedRows(len(mine), mine.shape[1], theirs.shape[1])
    for start in range(0, len(mine), 96):
        found.add(mine[start : start + 96], theirs[start : start + 96])
    return found


def test_wide_rows_are_read_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = Side(dissected(llama(1))), Side(dissected(llama(2)), is_suspect=False)
    every = TokenRows(np.arange(VOCAB), np.arange(VOCAB), by_string=False)
    assert isinstance(tokenrows.read_rows(*sides, every), tokenrows.HeldRows)
    read = [side.anatomy.checkpoint.bytes_read for side in sides]
    monkeypatch.setattr(tokenrows, "WIDE", 1)
    monkeypatch.setattr(tokenrows, "_CHUNK", 50)
    summed = tokenrows.read_rows(*sides, every)
    assert isinstance(summed, tokenrows.SummedRows)
    assert len(summed) == VOCAB
    again = [side.anatomy.checkpoint.bytes_read for side in sides]
    assert [b - a for a, b in zip(read, again, strict=True)] == _embedding_bytes(sides)


def _embedding_bytes(sides: tuple[Side, Side]) -> list[int]:
    return [s.anatomy.checkpoint.tensors["model.embed_tokens.weight"].nbytes for s in sides]


@pytest.mark.parametrize("n", [5, 64, 200])
def test_the_iteration_ends_at_the_orthogonal_factor(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = drawn(4, n, n)
    left, _, right = np.linalg.svd(matrix.astype(np.float64))
    monkeypatch.setattr(polar, "PRECISE", 2)
    monkeypatch.setattr(polar, "DECOMPOSED", 2)
    found = polar.nearest_rotation(matrix.copy())
    np.testing.assert_allclose(found.T @ found, np.eye(n), atol=3e-6)
    np.testing.assert_allclose(found, left @ right, atol=2e-3)


def test_a_singular_matrix_is_decomposed(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = drawn(5, 30, 30)
    matrix[:, 4] = 0
    monkeypatch.setattr(polar, "PRECISE", 2)
    monkeypatch.setattr(polar, "DECOMPOSED", 2)
    found = polar.nearest_rotation(matrix.copy())
    np.testing.assert_allclose(found.T @ found, np.eye(30), atol=3e-6)
    assert np.trace(found.T @ matrix) == pytest.approx(np.linalg.svd(matrix)[1].sum(), rel=1e-4)
