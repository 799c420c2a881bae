"""What a measured zoo leaves in the package: written from the measurement, nothing by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs._generate import lab, null, pages
from filiation.lab.backgrounds import document, strata
from filiation.lab.kin import Case, Category, Expected, Zoo
from filiation.lab.measure import judged
from tests.lab.zoos import models, write_record


def row(suspect: str, candidate: str, value: float, **more: Any) -> dict[str, Any]:
    found = {"suspect": suspect, "candidates": [candidate], "likeness": {"sigma_curve": value}}
    return {**found, "category": "independent", "same_shape": True, **more}


def test_backgrounds_are_of_independent_pairs_alone_and_counted_by_family(tmp_path: Path) -> None:
    gpt = {"family": "gpt2", "width": 8}
    chosen = {**models(), "gpt2": {**models()["twin-2"], "settings": {"shape": gpt, "seed": 9}}}
    zoo = Zoo(write_record(tmp_path, chosen))
    rows = [
        row("twin-2", "twin-1", 0.5),
        row("twin-3", "twin-1", 0.7),
        row("gpt2", "twin-1", 0.2, same_shape=False),
        row("noisy", "twin-1", 1.0, category="derived"),
    ]
    found = strata(zoo, rows)["sigma_curve"]
    assert found["one_shape"] == {"llama / llama": {"pairs": 2, "least": 0.5, "median": 0.6, "largest": 0.7}}
    assert found["other_shape"] == {"gpt2 / llama": {"pairs": 1, "least": 0.2, "median": 0.2, "largest": 0.2}}
    assert document(zoo, rows, "9")["zoo_sha256"] == zoo.digest()


def test_reports_carry_what_was_measured_and_keep_what_else_they_carried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (lab, null):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    place = tmp_path / null.DATA
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"null": {"pairs": 3}}), encoding="utf-8")
    folder = tmp_path / lab.BACKGROUNDS
    folder.mkdir(parents=True)
    (folder / "lab-2025-01-01.json").write_text("{}", encoding="utf-8")
    rate = {"count": 1, "trials": 2, "share": 0.5, "low": 0.01, "high": 0.99}
    brief = {"recipe": "tiny", "zoo_sha256": "ab", "made_with": {}, "models": 4, "comparisons": 9}
    brief |= {"filiation": "0.1", "rates": {"true_pairs_right": rate}}
    families = {"a / a": {"pairs": 2, "least": 0.1, "median": 0.2, "largest": 0.3}}
    families["b / b"] = {"pairs": 1, "least": -0.5, "median": -0.5, "largest": -0.5}
    likeness = {
        "version": "0.1",
        "statistics": {"cka": {"one_shape": families}, "sigma_curve": {"other_shape": {}}},
    }
    for name, content in (("validation", brief), ("backgrounds", likeness)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    lab.write_data(tmp_path, "2026-01-02")

    carried = json.loads(place.read_text(encoding="utf-8"))
    assert carried["null"] == {"pairs": 3}
    assert carried["lab"]["measured"] == "2026-01-02"
    assert carried["lab"]["rates"]["true_pairs_right"] == rate
    assert carried["lab"]["likeness"] == {"cka": {"low": -0.5, "high": 0.3, "pairs": 3, "families": 2}}
    (kept,) = folder.iterdir()
    assert kept.name == "lab-2026-01-02.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == {"measured": "2026-01-02", **likeness}


def test_the_page_takes_its_tables_from_the_measurement(tmp_path: Path) -> None:
    text = "4 models.\n\n## Rates\n\n| r |\n\n## Each kind of child\n\n| k |\n\n## Misses\n\n| m |\n"
    (tmp_path / "tables.md").write_text(text, encoding="utf-8")
    assert lab.tables(tmp_path) == {
        "lab-rates": "4 models.\n\n| r |",
        "lab-tables": "### Each kind of child\n\n| k |\n\n### Misses\n\n| m |\n",
    }
    (tmp_path / "real.md").write_text("| real |\n", encoding="utf-8")
    assert lab.tables(tmp_path)["lab-real"] == "| real |\n"


@pytest.mark.parametrize(
    ("undecided", "left_open", "among_right"),
    [
        (["continued_pretraining", "fine_tuned"], True, True),
        (["noise_added", "fine_tuned"], True, False),
        (["noise_added"], False, False),
        ([], False, False),
    ],
)
def test_what_is_left_open_is_told_apart_by_whether_all_of_it_is_right(
    undecided: list[str], left_open: bool, among_right: bool
) -> None:
    expected = Expected(("common_origin",), (("continued_pretraining", "fine_tuned"),))
    case = Case("s", ("c",), Category.DERIVED, ("continued_heavy",), expected)
    found = {"relation": "common_origin", "derivation": ["cannot_tell"], "undecided": undecided}
    outcome = judged({**found, "suspect": "s", "candidates": ["c"]}, case)
    assert outcome["mechanism"] is False
    assert (outcome["left_open"], outcome["open_right"]) == (left_open, among_right)


def test_the_figures_are_of_what_reports_carry() -> None:
    rates = json.loads((pages.ROOT / null.DATA).read_text(encoding="utf-8"))["lab"]["rates"]
    page = (pages.ROOT / lab.PAGE).read_text(encoding="utf-8")
    assert all(f"(lab-{name}.svg)" in page for name in lab.FIGURES)
    roc = (pages.ROOT / lab.PAGE).with_name("lab-roc.svg").read_text(encoding="utf-8")
    assert f"of {rates['independent_called_common_origin']['trials']:,} pairs that share nothing" in roc
    assert f"true of {rates['true_pairs_right']['trials']:,}" in roc
