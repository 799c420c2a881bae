"""Recognition on the texts themselves: ScanCode's data from its pinned wheel, published texts where at hand.

The published texts are not the project's to pass on: their folder is named by ``FILIATION_LICENCE_TEXTS``, or lies as
``shared/licences`` beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import licences as bench
from filiation.disclosure import recognise

pytestmark = pytest.mark.real

FOLDER = Path(os.environ.get("FILIATION_LICENCE_TEXTS", bench.ROOT.parent / "shared" / "licences"))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    try:
        return dict(bench.scancode_texts(bench.wheel()))
    except SystemExit as error:
        pytest.skip(str(error))


def test_every_known_text_of_scancode(texts: dict[str, str]) -> None:
    wrong = {
        key: recognise(texts[key]).licence
        for key, want in bench.SCANCODE.items()
        if recognise(texts[key]).licence != want
    }
    assert not wrong


def test_strangers_are_unknown_or_modified(texts: dict[str, str]) -> None:
    """A text of another licence is read as a known one without a warning in eight cases of 2,562, all but equal."""
    others = {key: recognise(text) for key, text in texts.items() if key not in bench.SCANCODE}
    plain = {k for k, f in others.items() if f.licence and f.basis == "text" and not f.modified}
    same_text = {"gpl-2.0-plus", "gpl-3.0-plus", "agpl-3.0-plus", "lgpl-2.1-plus"}
    assert plain == same_text | {"bsd-new-nomod", "odc-1.0", "x11-acer", "x11-r75"}


def test_edited_copies(texts: dict[str, str]) -> None:
    for number, (key, want) in enumerate(bench.SCANCODE.items()):
        copies = bench.edited(texts[key], number)
        copies.pop("a tenth cut")
        assert {recognise(copy).licence for copy in copies.values()} == {want}, key


@pytest.mark.parametrize("name", bench.OWN)
def test_published_texts(name: str) -> None:
    if not (FOLDER / name).is_file():
        pytest.skip(f"{name} is not at hand: set FILIATION_LICENCE_TEXTS to a folder of published texts")
    found = recognise((FOLDER / name).read_text(encoding="utf-8"))
    assert (found.licence, found.modified) == (bench.OWN[name], False)
