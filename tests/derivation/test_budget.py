"""The byte budget holds for the derivation too: to the byte, whatever there is to align."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filiation.derivation import Derived, derive, same_within
from filiation.lab import launder
from filiation.origin.pairing import Plan
from tests.derivation.models import Model, anatomy, base, examined, tokens, tuned

CHILDREN = {
    "fine-tuned": lambda: tuned(*base(), level=0.03),
    "permuted": lambda: launder.permute_ffn(*base(), seed=1),
    "rotated": lambda: launder.launder(*base(), seed=1),
}


def told(child: Model, more: int, *, full: bool, whole: bool) -> tuple[Derived, int]:
    """Derive with ``more`` bytes than the tests read; return what was told, and by how much that was overdrawn."""
    s, c = anatomy(child), anatomy(base())
    plan, rows = Plan("0" * 64, whole=whole), tokens(s, c)
    examination = examined(s, c, plan, rows)
    budget = max(m.checkpoint.bytes_read for m in (s, c)) + more
    found = derive(s, c, examination, replace(plan, budget=budget), rows, full=full)
    return found, max(m.checkpoint.bytes_read for m in (s, c)) - budget


@pytest.mark.parametrize("full", [False, True], ids=["sampled", "full"])
@pytest.mark.parametrize("more", [0, 1, 5_000, 60_000, 500_000])
@pytest.mark.parametrize("name", CHILDREN)
def test_no_byte_is_read_beyond_the_budget(name: str, more: int, full: bool) -> None:
    found, overdrawn = told(CHILDREN[name](), more, full=full, whole=False)
    assert overdrawn <= 0
    assert ("budget_spent" in found.notes) or more >= 60_000, "what was left out is said"


def test_whole_models_are_held_to_it_as_well() -> None:
    found, overdrawn = told(CHILDREN["permuted"](), 100_000, full=False, whole=True)
    assert overdrawn <= 0
    assert "budget_spent" in found.notes


def test_what_was_read_before_the_end_is_told() -> None:
    found, overdrawn = told(CHILDREN["fine-tuned"](), 400_000, full=True, whole=False)
    assert overdrawn <= 0
    assert "budget_spent" in found.notes
    assert found.deltas
    assert found.step("identical") is None
    step = found.step("fine_tuned")
    assert step is not None
    assert step.numbers["complete"] is False, "what was left out was not measured"


def test_a_budget_that_suffices_changes_nothing() -> None:
    found, _ = told(CHILDREN["fine-tuned"](), 10**9, full=True, whole=False)
    assert "budget_spent" not in found.notes
    step = found.step("fine_tuned")
    assert step is not None
    assert found.kinds == {"fine_tuned"}
    assert step.numbers["complete"] is True


def test_equality_that_cannot_be_afforded_is_not_claimed() -> None:
    s, c = anatomy(base()), anatomy(base())
    assert same_within(s, c, 10_000) is None
    assert max(m.checkpoint.bytes_read for m in (s, c)) <= 10_000
    same = same_within(anatomy(base()), anatomy(base()), None)
    assert same is not None
    assert same.equal
