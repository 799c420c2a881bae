"""Files of questions: three forms are read, and what is wrong with one is said with its number and a next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from filiation.behaviour import items
from filiation.behaviour.items import Choice, Item, read_choices, read_items
from filiation.errors import InputError, NotFoundError

LINES = '{"question": "Slip 1?", "right": ["舟", " Boat "], "wrong": "般"}\n\n{"question": "Slip 2?", "right": "Sun"}\n'
EXPECTED = (Item("Slip 1?", ("舟", "boat"), ("般",)), Item("Slip 2?", ("sun",)))


def written(folder: Path, text: str, name: str = "items.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_json_lines_a_json_list_and_csv_say_the_same(tmp_path: Path) -> None:
    as_list = "[" + ",".join(line for line in LINES.splitlines() if line) + "]"
    as_csv = "question,right,wrong\nSlip 1?,舟| Boat ,般\nSlip 2?,Sun,\n"
    assert read_items(written(tmp_path, LINES)) == EXPECTED
    assert read_items(written(tmp_path, as_list, "items.json")) == EXPECTED
    assert read_items(written(tmp_path, as_csv, "items.csv")) == EXPECTED
    assert read_items(written(tmp_path, "\ufeff" + LINES)) == EXPECTED


def test_multiple_choice(tmp_path: Path) -> None:
    path = written(tmp_path, '{"question": "Capital?", "options": ["Paris", "Rome"], "answer": "rome"}')
    assert read_choices(path) == (Choice("Capital?", ("Paris", "Rome"), 1),)
    path = written(tmp_path, "question,options,answer\nCapital?,Paris|Rome,Rome\n", "mc.csv")
    assert read_choices(path) == (Choice("Capital?", ("Paris", "Rome"), 1),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no item"),
        ("not json", "neither JSON Lines nor a JSON list"),
        ("[" * 100_000, "neither JSON Lines nor a JSON list"),
        ('{"question": "a", "right": ["b"]}\n[1]', "Item 2 is not an object"),
        ('{"right": ["b"]}', "no text under 'question'"),
        ('{"question": "a", "right": []}', "no list of texts under 'right'"),
        ('{"question": "a", "right": [3]}', "no list of texts under 'right'"),
        ('{"question": "a", "right": ["  "]}', "no list of texts under 'right'"),
        ('{"question": "a", "right": ["B"], "wrong": ["b"]}', "right and wrong"),
    ],
)
def test_a_bad_item_is_named_with_the_file_and_a_next_step(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_items(path)
    assert reason in (caught.value.reason or "")
    assert caught.value.file == str(path)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"question": "a", "options": ["x"], "answer": "x"}', "2 to 26 different options"),
        ('{"question": "a", "options": ["x", "X"], "answer": "x"}', "2 to 26 different options"),
        ('{"question": "a", "options": ["x", "y"], "answer": "z"}', "none of its options"),
    ],
)
def test_a_bad_choice_is_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        read_choices(written(tmp_path, text))
    assert reason in (caught.value.reason or "")


def test_a_field_beyond_every_bound_is_no_csv(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_items(written(tmp_path, "question,right\n" + "x" * 200_000 + ",y\n", "items.csv"))
    assert "no CSV" in (caught.value.reason or "")


def test_a_file_that_is_absent_binary_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError):
        read_items(tmp_path / "absent.jsonl")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InputError, match="cannot be used"):
        read_items(tmp_path / "binary")
    path = written(tmp_path, LINES)
    monkeypatch.setattr(items, "LARGEST", 10)
    with pytest.raises(InputError) as caught:
        read_items(path)
    assert "at most 10" in (caught.value.reason or "")
    monkeypatch.setattr(items, "LARGEST", 10_000)
    monkeypatch.setattr(items, "MOST", 1)
    with pytest.raises(InputError) as caught:
        read_items(path)
    assert "2 items" in (caught.value.reason or "")
