"""How texts become symbols: Unicode made one, whole words only."""

from __future__ import annotations

import pytest

from filiation.behaviour.reading import first_word, holds, normalised


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("  Blue.", "blue"),
        ("**Blue**", "blue"),
        ("don’t know", "don't"),
        ("don't know", "don't"),
        ("Ｂlue", "blue"),
        ("42, of course", "42"),
        ("well-known fact", "well-known"),
        ("蓝色。", "蓝色"),
        ("...", "..."),
        ("  ", ""),
    ],
)
def test_first_words(text: str, word: str) -> None:
    assert first_word(text) == word


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("It is Claude", "claude", True),
        ("It is Claudette", "claude", False),
        ("slip 31", "slip 3", False),
        ("这是舟字", "舟", True),
        ("anything", "", False),
        ("the answer: c++!", "c++", True),
    ],
)
def test_whole_words(text: str, phrase: str, expected: bool) -> None:
    assert holds(normalised(text), phrase) is expected
