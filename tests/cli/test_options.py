"""Sizes, and ``--json`` with or without a file."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.cli.options import Bytes, with_json_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("500MB", 500_000_000),
        ("500 mb", 500_000_000),
        ("1.5GiB", 1_610_612_736),
        ("2k", 2000),
        ("7GB", 7 * 10**9),
    ],
)
def test_sizes(text: str, value: int) -> None:
    assert Bytes().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1.2.3MB", "5XB", "0.1", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="500MB"):
        Bytes().convert(text, None, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--json", "S", "C"], ["--json=-", "S", "C"]),
        (["S", "C", "--json"], ["S", "C", "--json=-"]),
        (["S", "C", "--json", "r.json"], ["S", "C", "--json=r.json"]),
        (["--json", "m.index.json", "C"], ["--json=-", "m.index.json", "C"]),
        (["--json=out", "S"], ["--json=out", "S"]),
        (["--json", "--full", "S"], ["--json=-", "--full", "S"]),
        (["--", "--json", "r.json"], ["--", "--json", "r.json"]),
    ],
)
def test_json_takes_a_file_only_where_one_is_meant(words: list[str], expected: list[str]) -> None:
    assert with_json_value(words) == expected


@given(st.lists(st.sampled_from(["--json", "S", "r.json", "--full", "--", "--lang", "en"])))
def test_no_other_word_is_lost_or_moved(words: list[str]) -> None:
    found = with_json_value(words)
    flat = [part for word in found for part in (word.split("=", 1) if word.startswith("--json=") else [word])]
    assert [w for w in flat if w != "-"] == words
