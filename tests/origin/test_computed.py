"""What layers compute is worked out once: what a model wrote for its own tokens is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from filiation.lab import launder
from filiation.lab.save import load_model
from filiation.origin import computed as room
from filiation.origin.basis import Basis
from filiation.origin.gather import Side
from filiation.origin.network import written_by
from filiation.origin.pairing import Pairing, Plan
from filiation.origin.stream import SAMPLES, Passed, passed_attending, passed_by_tokens, passed_through
from tests.comparison.test_without_effect import LAYERS, MODELS, WIDTH, accused
from tests.derivation.models import Model, anatomy

WHOLE = Plan("0" * 64, whole=True)


def pairing(suspect: Model, candidate: Model, basis: Basis | None = None) -> Pairing:
    mine = Side(anatomy(suspect)) if basis is None else Side(anatomy(suspect), basis=basis)
    theirs = replace(mine, anatomy=anatomy(candidate), is_suspect=False)
    return Pairing(mine, theirs, tuple((i, i) for i in range(LAYERS)), "direct")


def asked_again(side: Side, plan: Plan) -> Mapping[int, Passed] | None:
    found = passed_through(side, plan)
    return None if found is None else {i: replace(x, written=None) for i, x in found.items()}


@pytest.mark.parametrize("rotated", [False, True])
def test_what_was_written_before_is_what_would_be_written(
    rotated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    child, basis = load_model(MODELS / "continued"), None
    if rotated:
        # In a basis of its own nothing may be taken over: rows stand in other channels there.
        turn = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0]
        basis = Basis("rotation", matrix=turn.astype(np.float32))
    pair = pairing(child, accused(), basis)
    once = [room.computed_alike(pair, layer, WHOLE) for layer in pair.layers]
    monkeypatch.setattr(room, "passed_through", asked_again)
    twice = [room.computed_alike(pair, layer, WHOLE) for layer in pair.layers]
    assert None not in once
    assert np.allclose(np.array(once, float), np.array(twice, float), atol=1e-5)


def test_a_network_is_asked_for_its_own_tokens_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = pairing(load_model(MODELS / "continued"), accused())
    for side in (pair.suspect, pair.candidate):
        passed_through(side, WHOLE)
        passed_attending(side, WHOLE)
    rows: list[int] = []

    def counted(side: Side, layer: int, inputs: np.ndarray) -> np.ndarray | None:
        rows.append(len(inputs))
        return written_by(side, layer, inputs)

    monkeypatch.setattr(room, "written_by", counted)
    room.computed_alike(pair, (0, 0), WHOLE)
    assert rows == [3 * room.INPUTS + 2 * SAMPLES] * 2


@pytest.mark.parametrize("change", [launder.permute_ffn, launder.permute_heads])
def test_the_same_network_computes_the_same_in_whatever_order(change: Callable[..., Model]) -> None:
    model = change(*accused(), seed=3)
    pair = pairing(model, accused())
    for layer in pair.layers:
        found = room.computed_alike(pair, layer, WHOLE)
        assert found is not None
        assert found > 0.999


def test_rows_that_are_no_numbers_and_loud_ones_do_not_decide() -> None:
    """Of a 24th of the rows each; the figure is that of the others."""
    rng = np.random.default_rng(0)
    mine = rng.standard_normal((SAMPLES, WIDTH)).astype(np.float32)
    theirs = mine + rng.standard_normal(mine.shape).astype(np.float32)
    plain = room.correlation(room.evened(mine), room.evened(theirs))
    for bad in (np.inf, np.nan, 1e6):
        spoilt = theirs.copy()
        spoilt[::24] = bad
        assert abs(room.correlation(room.evened(mine), room.evened(spoilt)) - plain) < 0.1


def test_what_tokens_pass_through_is_what_the_layers_write() -> None:
    side = Side(anatomy(accused()))
    ids = np.array([3, 900, 17, 18, 500])
    for layer, passed in passed_by_tokens(side, WHOLE, ids).items():
        assert passed.given.shape == (5, WIDTH)
        written = written_by(side, layer, passed.given)
        assert written is not None
        assert passed.written is not None
        assert np.array_equal(passed.written, written)
