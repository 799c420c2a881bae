"""The page on licence and disclosure names every rule, every status and every subject that there is."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from filiation.disclosure import RuleStatus, licences
from filiation.disclosure.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "audit" / "disclosure.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z0-9_]+)`", PAGE))


def subjects() -> set[str]:
    """Every subject of a claim has a name in the phrases; a report would show the bare key otherwise."""
    text = (files("filiation.report") / "phrases" / "en" / "audit.toml").read_text(encoding="utf-8")
    return set(tomllib.loads(text)["audit"]["claim"])


def test_every_rule_is_in_the_table() -> None:
    assert re.findall(r"^\| ([DLT]\d+) \|", PAGE, re.M) == list(RULES)


def test_every_subject_of_a_claim_is_named() -> None:
    assert subjects() <= NAMED


def test_every_subject_in_the_code_has_a_name() -> None:
    room = Path(str(files("filiation.disclosure")))
    code = "".join((room / f"{name}.py").read_text(encoding="utf-8") for name in ("claims", "configs"))
    written = set(re.findall(r'Claim\(\s*"(\w+)"', code)) | set(re.findall(r'": "(\w+)"', code))
    assert len(written) > 20
    assert written <= subjects()


@pytest.mark.parametrize("status", list(RuleStatus))
def test_every_status_is_named(status: RuleStatus) -> None:
    assert str(status) in NAMED


def test_the_number_of_licences_is_that_of_the_registry() -> None:
    assert f"{len(licences())} files" in PAGE
    printed = sum(bool(licence.fingerprints) for licence in licences().values())
    assert f"({printed} of the {len(licences())})" in PAGE
