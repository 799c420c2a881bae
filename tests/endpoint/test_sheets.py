"""Sheets: what a person is asked to ask, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from filiation.endpoint.model import Answer, Ask, Call, Failure, chat
from filiation.endpoint.sheets import AnswerSheet, QuestionSheet
from filiation.errors import BudgetError, InputError, StorageError

CALLS = [
    Call("suspect", chat(t), "identity") for t in ("Name a river.", "Who are you?\nSay it.", "Name a river.")
]


def blank(path: Path, seed: int = 0) -> Path:
    sheet = QuestionSheet("suspect", "Chat Example", seed=seed)
    assert all(isinstance(f, Failure) and f.code == "empty" for f in sheet.ask(CALLS))
    sheet.write(path)
    return path


def fill(path: Path, answers: dict[str, list[str]]) -> None:
    """Answer as a person does: by the question above the mark."""
    question: list[str] = []
    lines: list[str] = []
    for line in path.read_text("utf-8").splitlines():
        lines.append(line)
        if line.startswith("[[question"):
            question = []
        elif line.startswith("[[answer"):
            lines += answers["\n".join(question)].pop(0).splitlines()
        else:
            question.append(line)
    path.write_text("\n".join(lines), "utf-8")


def test_answers_come_back_to_their_questions(tmp_path: Path) -> None:
    path = blank(tmp_path / "sheet.txt")
    fill(path, {"Name a river.": ["The Loire.", "黄河"], "Who are you?\nSay it.": ["## I am\n\n[[a model]]"]})
    sheet = AnswerSheet("suspect", path)
    found = sheet.ask(CALLS)
    assert all(isinstance(a, Answer) and a.usage is None and a.steps is None for a in found)
    texts = [a.text for a in found if isinstance(a, Answer)]
    assert texts[1] == "## I am\n\n[[a model]]"
    assert sorted([texts[0], texts[2]]) == ["The Loire.", "黄河"]
    assert sheet.records["suspect"].model == "Chat Example"
    assert sheet.records["suspect"].capabilities.notes == ("filled_by_hand",)


def test_what_was_not_answered_is_a_failure_and_not_an_empty_answer(tmp_path: Path) -> None:
    path = blank(tmp_path / "sheet.txt")
    assert [a.code for a in AnswerSheet("suspect", path).ask(CALLS) if isinstance(a, Failure)] == [
        "empty"
    ] * 3


def test_the_order_is_drawn_from_the_seed(tmp_path: Path) -> None:
    texts = {blank(tmp_path / f"{i}", seed=i // 2).read_text("utf-8") for i in range(12)}
    assert 1 < len(texts) <= 6


def test_what_no_chat_site_can_do_is_refused_and_not_on_the_sheet(tmp_path: Path) -> None:
    sheet = QuestionSheet("suspect", "x")
    calls = [
        Call("suspect", ask, "t")
        for ask in (Ask(prompt="raw"), chat("a", system="s"), chat("a", top_logprobs=5), chat("a", n=2))
    ]
    assert [f.code for f in sheet.ask(calls)] == ["refused"] * 4
    assert sheet.entries() == ()


def test_a_person_is_asked_for_no_more_than_was_agreed(tmp_path: Path) -> None:
    sheet = QuestionSheet("suspect", "x", most=4)
    sheet.ask(CALLS)
    assert sheet.allowance().requests == 1
    with pytest.raises(BudgetError, match="at most 4"):
        sheet.ask(CALLS)
    assert len(sheet.entries()) == 3


def test_a_sheet_is_not_overwritten(tmp_path: Path) -> None:
    path = blank(tmp_path / "sheet.txt")
    with pytest.raises(StorageError, match="not overwritten"):
        blank(path)


def test_altered_questions_and_marks_are_errors(tmp_path: Path) -> None:
    path = blank(tmp_path / "sheet.txt")
    fill(path, {"Name a river.": ["a", "b"], "Who are you?\nSay it.": ["c"]})
    good = path.read_text("utf-8")
    path.write_text(good.replace("Name a river.", "Name a lake."), "utf-8")
    with pytest.raises(InputError, match="altered"):
        AnswerSheet("suspect", path).ask(CALLS)
    for bad in (good.replace("[[answer 2", "[[antwort 2"), good + good, "no sheet", ""):
        path.write_text(bad, "utf-8")
        with pytest.raises(InputError, match="marks were altered"):
            AnswerSheet("suspect", path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        AnswerSheet("suspect", path)
    with pytest.raises(InputError, match="cannot be read"):
        AnswerSheet("suspect", tmp_path / "none")


def test_editors_may_add_a_mark_of_byte_order_and_other_line_ends(tmp_path: Path) -> None:
    path = blank(tmp_path / "sheet.txt")
    fill(path, {"Name a river.": ["a", "a"], "Who are you?\nSay it.": ["c"]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    found = AnswerSheet("suspect", path).ask(CALLS)
    assert [a.text for a in found if isinstance(a, Answer)] == ["a", "c", "a"]
