"""Measuring a zoo: every comparison once, what was found beside what was expected, tables that add up."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from filiation.lab import tables
from filiation.lab.kin import Case, Category, Expected, Zoo
from filiation.lab.measure import measure, measured
from tests.lab.zoos import WRITTEN, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("measured")


def test_a_zoo_is_measured_once_and_its_tables_add_up(folder: Path, out: Path) -> None:
    zoo, said = Zoo(folder), []
    rows = measure(zoo, out, processes=1, say=said.append)
    by = {(row["suspect"], row["candidates"][0]): row for row in rows}
    assert len(rows) == len(zoo.cases()) == len((out / "rows.jsonl").read_text().splitlines())
    assert by["noisy", "twin-1"]["relation"] == "common_origin"
    # Noise on 22 matrices of 16 channels is named as fine-tuning: right about the origin, a miss of the mechanism.
    assert by["noisy", "twin-1"]["right"] is True
    assert by["noisy", "twin-1"]["missing"] == [["noise_added"]]
    assert by["permuted", "noisy"]["mechanism"] is True
    assert by["permuted", "twin-1"]["mechanism"] is False
    assert by["framed", "twin-1"]["category"] == "quiet"
    assert by["framed", "twin-1"]["right"] is True
    assert all(row["right"] for row in rows if row["category"] in ("independent", "stranger"))
    again = measure(zoo, out, processes=1, say=said.append)
    assert again == rows
    assert said[-1] == f"{len(rows)} comparisons, {len(rows)} measured before"

    found = tables.write(zoo, rows, out)
    assert found["models"] == len(WRITTEN)
    assert found["independent_called_common_origin"]["count"] == 0
    # Three strangers of the framed model, four each of the two children and the two sorted ones, ten pairs of roots.
    assert found["independent_called_common_origin"]["trials"] == 29
    assert found["fixtures_called_anything"]["trials"] == 1
    (alike,) = found["fixtures"]
    assert alike["pair"] == ["sorted-5", "sorted-4"]
    assert alike["largest_log10_e"] < 1
    assert by["noisy", "twin-1"]["by_test"]["ffn_order"] > 6 > by["twin-2", "twin-1"]["by_test"]["ffn_order"]
    order = next(law for law in found["laws"] if law["test"] == "ffn_order")
    assert order["label_sets"] == 10 * 3
    text = (out / "tables.md").read_text(encoding="utf-8")
    assert "| permuted | 1/1 | 1/1 | common_origin 1 |" in text
    assert "| sorted | sorted-5 / sorted-4 | none_found |" in text
    assert "| noise | 1/1 | 0/1 | common_origin 1 | fine_tuned 1 |" in text
    for figure in ("roc.svg", "distance.svg", "heat.svg"):
        assert ElementTree.fromstring((out / figure).read_text(encoding="utf-8")).tag.endswith("svg")
    assert "29 pairs that share nothing" in (out / "roc.svg").read_text(encoding="utf-8")
    assert "permuted, ffn_sign: " in (out / "heat.svg").read_text(encoding="utf-8")
    assert "children (4)" in (out / "distance.svg").read_text(encoding="utf-8")
    assert [miss["suspect"] for miss in found["misses"]] == ["noisy", "permuted"]
    assert json.loads((out / "validation.json").read_text())["rates"]["true_pairs_right"]["trials"] == 4


def test_a_model_that_cannot_be_read_is_an_error_in_its_row(folder: Path) -> None:
    case = Case("missing", ("twin-1",), Category.DERIVED, ("noise",), Expected(("common_origin",)))
    row = measured(folder, case)
    assert row["relation"] == "error"
    assert row["error"].startswith("not_found")
