from __future__ import annotations

from dataclasses import replace

from filiation.origin.maps import inheritance_table
from tests.origin.models import dissected, examined, llama


def test_a_place_that_was_not_tested_says_why() -> None:
    """Three heads can stand in six orders: even full agreement decides nothing, which is not the same as no test."""
    rows = inheritance_table(examined(llama(1), llama(2)), 0)
    reasons = {r["role"]: r["reason"] for r in rows if r["state"] == "not_tested"}
    assert reasons["heads"] == "too_few_units"
    assert all(r["reason"] is None for r in rows if r["state"] != "not_tested")
    assert all(r["reason"] for r in rows if r["state"] == "not_tested")


def test_where_a_symmetry_fails_that_is_the_reason() -> None:
    model = dissected(llama(1))
    rulings = {
        component: tuple(replace(r, holds=False, reason="positions are told by ALiBi") for r in found)
        for component, found in model.rulings.items()
    }
    without = replace(model, rulings=rulings)
    rows = inheritance_table(examined(without, without), 0)
    assert {r["state"] for r in rows} <= {"not_tested"}
    assert "too_few_units" not in {r["reason"] for r in rows}
