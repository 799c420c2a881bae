"""Licence texts: recognised whatever their form; what is added, cut or strange is never read as permissive."""

from __future__ import annotations

import textwrap
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.disclosure import fingerprint, licences, recognise
from filiation.disclosure.registry import pack, unpack
from filiation.disclosure.text import line_key, runs, words
from tests.disclosure.made import HOUSE_TEXT

APACHE = (Path(__file__).resolve().parents[2] / "LICENSE").read_text(encoding="utf-8")
EXTRA = (
    "Notwithstanding the above, nobody may use this model for commercial purposes of any kind, nor offer it as a "
    "hosted service, without a written agreement that names the purpose and the persons who may use it."
)


def installed_text(package: str) -> str:
    files = metadata.files(package) or []
    (path,) = [f for f in files if f.name.upper().startswith(("LICENSE", "LICENCE"))][:1]
    return Path(str(path.locate())).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "licence"),
    [
        ("rich", "mit"),
        ("pydantic", "mit"),
        ("click", "bsd-3-clause"),
        ("jinja2", "bsd-3-clause"),
        ("huggingface-hub", "apache-2.0"),
        ("hypothesis", "mpl-2.0"),
    ],
)
def test_licence_files_of_installed_packages(package: str, licence: str) -> None:
    try:
        found = recognise(installed_text(package))
    except ValueError:
        pytest.skip(f"{package} is installed without its licence file")
    assert licence in {found.licence, *found.also} or found.basis == "mention"


def test_our_own_licence() -> None:
    found = recognise(APACHE)
    assert (found.licence, found.basis, found.modified) == ("apache-2.0", "text", False)
    assert found.margin is not None
    assert found.margin >= 0.1


@settings(max_examples=25, deadline=None)
@given(st.integers(30, 160), st.sampled_from(["", "# ", "> "]), st.booleans())
def test_form_does_not_matter(width: int, mark: str, upper: bool) -> None:
    wrapped = "\n\n".join(textwrap.fill(p, width, break_long_words=False) for p in APACHE.split("\n\n"))
    text = mark + wrapped.replace('"', "”") if not upper else wrapped.upper()
    found = recognise(f"Copyright (c) 2031 Some Body. All rights reserved.\n\n{text}")
    assert (found.licence, found.modified) == ("apache-2.0", False)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40))
def test_an_added_condition_is_noticed_wherever_it_stands(where: int) -> None:
    paragraphs = APACHE.split("\n\n")
    paragraphs.insert(where % len(paragraphs), EXTRA)
    found = recognise("\n\n".join(paragraphs))
    assert found.licence == "apache-2.0"
    assert found.modified


def test_an_appendix_may_be_missing_but_not_half_of_the_text() -> None:
    assert not recognise(APACHE[: APACHE.index("APPENDIX")]).modified
    half = recognise(APACHE[: len(APACHE) * 6 // 10])
    assert half.licence is None or half.modified


def test_two_licences_in_one_file(house: str) -> None:
    found = recognise(f"{APACHE}\n\n-----\n\n{HOUSE_TEXT}")
    assert set(found.ids) == {"apache-2.0", house}
    assert not found.modified


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("Licensed under the Apache License, Version 2.0.", "apache-2.0"),
        ("The model is under the Llama 3.1 Community License.", "llama3.1"),
        ("See https://www.llama.com/llama3_2/license for the terms.", "llama3.2"),
        ("MIT License", "mit"),
    ],
)
def test_a_mention_is_not_a_copy(text: str, licence: str) -> None:
    found = recognise(text)
    assert (found.licence, found.basis) == (licence, "mention")


@given(st.text(max_size=400))
@settings(max_examples=60, deadline=None)
def test_strange_text_is_unknown(text: str) -> None:
    found = recognise(text)
    assert found.basis in {"none", "mention"}


def test_a_version_line_of_a_sibling_without_text() -> None:
    yi = licences()["yi-2.1"]
    assert not yi.fingerprints, "the day its text is known this test has to use it"
    assert recognise("Yi Series Models Community License Agreement\nVersion: 2.1").licence == "yi-2.1"


@given(st.lists(st.sampled_from(["one", "two", "three", "3.1", "模型", "licence"]), max_size=400))
@settings(deadline=None)
def test_a_fingerprint_survives_its_packing(stream: list[str]) -> None:
    made = fingerprint(" ".join(stream))
    assert unpack(made.modulus, pack(made)) == made
    assert all(h % made.modulus == 0 for h in made.hashes)
    assert made.hashes <= set(runs(words(" ".join(stream))))


@given(st.sampled_from(["1999", "2023", "2019-2024", "2001, 2003"]))
def test_a_notice_line_does_not_depend_on_its_year(year: str) -> None:
    line = "Copyright © {} Meta Platforms, Inc. All Rights Reserved."
    assert line_key(line.format(year)) == line_key("Copyright (c) Meta Platforms, Inc. all rights reserved")


def test_a_huge_text_is_cut_not_hung() -> None:
    assert recognise("licence " * 400_000).licence is None
    assert recognise("[" * 300_000 + "](" * 1000).licence is None
