"""A sheet and live endpoints as one asker: who is asked what, and what a refusal leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from filiation.endpoint.joined import Joined, Planned
from filiation.endpoint.model import Answer, Ask, Call, Failure, chat
from filiation.endpoint.sheets import AnswerSheet, QuestionSheet
from filiation.errors import BudgetError
from tests.behaviour.asker import Scripted, said
from tests.endpoint.test_sheets import fill

ASKS = [chat(text, max_tokens=12) for text in ("Name a river.", "Name a lake.", "Name a hill.")]


def both(ask: Ask) -> list[Call]:
    return [Call("reference", ask, "t"), Call("suspect", ask, "t")]


def answered(folder: Path) -> AnswerSheet:
    """A sheet with the first question answered, the second left open, the third not on it."""
    sheet = QuestionSheet("suspect", "Chat Example")
    planned = Planned(sheet, ["reference"])
    told = planned.ask([*both(ASKS[0]), *both(ASKS[1])])
    assert [f.code for f in told] == ["unasked", "empty"] * 2
    assert sheet.tests == {"t": 2}
    sheet.write(folder / "sheet.txt", {"seed": 7})
    fill(folder / "sheet.txt", {"Name a river.": ["The Loire."], "Name a lake.": [""]})
    return AnswerSheet("suspect", folder / "sheet.txt")


def test_each_role_is_answered_by_its_own_and_open_questions_by_nobody(tmp_path: Path) -> None:
    live = Scripted({"reference": lambda ask, rng: said(ask).upper()})
    joined = Joined(answered(tmp_path), live)
    assert list(joined.records) == ["suspect", "reference"]
    got = joined.ask([call for ask in ASKS for call in both(ask)])
    assert [a.text if isinstance(a, Answer) else a.code for a in got] == [
        "NAME A RIVER.", "The Loire.", "unasked", "empty", "NAME A HILL.", "empty",
    ]  # fmt: skip
    assert [said(call.ask) for call in live.asked] == ["Name a river.", "Name a hill."]


def test_a_budget_that_refuses_a_batch_takes_nothing_from_the_sheet(tmp_path: Path) -> None:
    sheet = answered(tmp_path)
    joined = Joined(sheet, Scripted({"reference": lambda ask, rng: "x"}, requests=0))
    assert joined.allowance().requests == 0
    with pytest.raises(BudgetError):
        joined.ask(both(ASKS[0]))
    assert sheet.answered == 0
    (alone,) = joined.ask([Call("suspect", ASKS[0], "t")])
    assert isinstance(alone, Answer)
    assert sheet.answered == 1


def test_a_sheet_keeps_what_it_was_told_to(tmp_path: Path) -> None:
    sheet = answered(tmp_path)
    assert sheet.about == {"seed": 7}
    again = AnswerSheet("suspect", Path("elsewhere.txt"), sheet.text)
    assert again.about == sheet.about
    assert isinstance(again.ask([Call("suspect", ASKS[1], "t")])[0], Failure)
