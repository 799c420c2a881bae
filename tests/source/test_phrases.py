"""Both languages have the same keys, and every key that the wing's records use."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from filiation.report import wording
from filiation.report.audit import code
from filiation.report.numbers import MISSING
from filiation.source import CopyStatus, HeaderState, Level, Library, examine
from tests.source.examples import MODEL, OTHER, YOURS, corpus, renamed, repository


def phrases(language: str) -> dict[str, Any]:
    return tomllib.loads(
        (files("filiation.report") / "phrases" / language / "source.toml").read_text("utf-8")
    )


def paths(tree: dict[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in tree.items():
        found |= paths(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return found


def test_same_keys_and_placeholders() -> None:
    en, zh = paths(phrases("en")), paths(phrases("zh-CN"))
    assert set(en) == set(zh)
    for key, text in en.items():
        assert re.findall(r"\{\w+\}", text) == re.findall(r"\{\w+\}", zh[key])


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_value_of_the_records_has_a_phrase(language: str) -> None:
    known = paths(phrases(language))
    for enum, section in (
        (Level, "source.level"),
        (CopyStatus, "source.copied"),
        (HeaderState, "source.header"),
    ):
        assert {f"{section}.{value}" for value in enum} <= set(known)
    assert {f"shows.source_{v}" for v in Level} | {f"shows.source_copied_{v}" for v in CopyStatus} <= set(
        known
    )


def test_every_key_of_the_evidence_has_a_phrase() -> None:
    known = set(paths(phrases("en")))
    text = "# Copied from transformers.models.kin.modeling_kin.X\n" + YOURS
    given = repository("r", {"m.py": MODEL})
    found = examine(
        repository("s", {"a.py": text, "b.py": OTHER, "c.ipynb": b""}), [given], Library([corpus()])
    )
    used: set[str | None] = set()
    for each in found.evidence:
        used |= {each.question, each.shows, each.reason, *each.cannot_show}
        used |= {each.background.description} if each.background else set()
        assert f"test.{each.test}.name" in known
    assert used - {None} <= known


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_a_name_known_by_its_hash_is_said_in_words(language: str) -> None:
    """No dash stands in the map; the sentence says how many names cannot be spelled and that they count."""
    said = wording.phrases(language)
    odd = renamed(MODEL, head_width="quillspan", variance_epsilon="ember_of_norm")
    library = Library([corpus(example=odd)])
    taken = renamed(odd, Example_="Yours", quillspan="wq", ember_of_norm="eon")
    found = examine(repository("s", {"m.py": taken}), (), library)
    unknown = {r.suspect for r in found.rename_map.names if r.reference is None}
    assert unknown == {"wq", "eon"}
    names = code._names(found.rename_map, said)  # pyright: ignore[reportPrivateUsage] - no whole audit needed
    assert names is not None
    assert said.say("audit", "ui", "renames_hashed", count="2") in names.text
    words = {row[0]: row[1] for row in names.rows}
    assert words["wq"] == words["eon"] == said.say("audit", "ui", "name_hashed")
    assert MISSING not in {row[1] for row in names.rows}


def test_denied_sources_have_a_row_of_their_own() -> None:
    said = wording.phrases("en")
    text = "# The code is not based on Llama.\n" + YOURS
    found = examine(repository("s", {"m.py": text}), (), Library([corpus(example=MODEL)]))
    rows = dict(code._head_facts(found.headers[0], said))  # pyright: ignore[reportPrivateUsage] - as above
    assert rows["denied"] == "1: The code is not based on Llama."
    assert "attributions" not in rows
