"""Sampled readings: what was not looked for is not told as foreign."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.derivation import Derived, derive
from filiation.lab import derive as lab
from filiation.lab import launder
from filiation.lab.layout import ffn_blocks, unit_tensors
from filiation.origin.pairing import Plan
from tests.derivation.models import LAYERS, Model, anatomy, base, examined, numbers, tokens

MOVED = [1, 3]


def permuted_in_places() -> Model:
    """The neurons of some layers in another order; the other layers hold still, so layers are paired in place."""
    tensors, config = base()
    out = dict(tensors)
    g = np.random.default_rng(3)
    for layer in MOVED:
        for block in ffn_blocks(tensors, layer):
            order = g.permutation(tensors[f"{block.up}.weight"].shape[0])
            for name, axis in unit_tensors(tensors, block):
                out[name] = np.ascontiguousarray(tensors[name].take(order, axis=axis))
    return out, config


def told(child: Model, budget: int | None) -> Derived:
    s, c = anatomy(child), anatomy(base())
    plan, rows = Plan("0" * 64, whole=False, layers=LAYERS, budget=budget), tokens(s, c)
    return derive(s, c, examined(s, c, plan, rows), plan, rows, full=False)


@pytest.fixture(autouse=True)
def every_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filiation.derivation.path.SAMPLED_LAYERS", 2 * LAYERS)


def test_units_that_are_not_in_place_are_looked_for() -> None:
    shown = numbers(told(permuted_in_places(), None), "permuted")
    assert shown["layers"] == MOVED
    assert shown["agreement"] == pytest.approx(1.0)


def test_where_they_cannot_be_looked_for_nothing_is_claimed() -> None:
    assert not told(permuted_in_places(), 10**9).kinds & {"grafted", "permuted", "cannot_tell", "fine_tuned"}


def test_units_of_another_model_are_still_found_foreign() -> None:
    grafted = lab.graft(base()[0], base(9)[0], base()[1], layers=MOVED)
    shown = numbers(told(grafted, None), "grafted")
    assert shown["foreign"] == MOVED
    assert set(shown["inherited"]) == set(range(LAYERS)) - set(MOVED)


def test_experts_that_were_left_out_do_not_make_a_layer_foreign() -> None:
    """Two of eight experts are looked at; the other six are not compared in places where nothing says they are."""
    upcycled = lab.upcycle(*base(), experts=8, active=2, noise=0.01, seed=1)
    moved = launder.permute_ffn(*upcycled, seed=2)
    found = told(moved, None)
    assert "grafted" not in found.kinds
    assert numbers(found, "moe_upcycled")["inherited"] == numbers(found, "moe_upcycled")["looked_at"] == 2


def test_heads_are_looked_for_where_that_is_cheap() -> None:
    found = told(launder.permute_heads(*base(), seed=4), None)
    assert "grafted" not in found.kinds
    assert numbers(found, "permuted", "query_heads")["moved"] > 0


def test_heads_that_cannot_be_looked_for_are_not_called_foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filiation.derivation.reading.SEARCHED", 0)
    assert "grafted" not in told(launder.permute_heads(*base(), seed=4), None).kinds
