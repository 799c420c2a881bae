"""Measuring a zoo: every comparison once, what was found beside what was expected, tables that add up."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from filiation.errors import CorruptCheckpointError, ReportError
from filiation.lab import figures, tables
from filiation.lab.breed import digests
from filiation.lab.kin import Case, Category, Expected, Zoo
from filiation.lab.measure import judged, measure, measured
from filiation.lab.summary import summarise
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


def test_what_failed_or_was_cut_off_is_measured_again(folder: Path, tmp_path: Path) -> None:
    zoo, said = Zoo(folder), list[str]()
    first = measure(zoo, tmp_path, processes=1, only=["quiet", "fixture"], say=said.append)
    store = tmp_path / "rows.jsonl"
    one, other = store.read_text(encoding="utf-8").splitlines()
    failed = {**json.loads(one), "relation": "error", "error": "input: no memory"}
    # A row of a failure, and one that a full disk or a killed process left behind half-written.
    store.write_text(json.dumps(failed) + "\n" + other[: len(other) // 2], encoding="utf-8")
    again = measure(zoo, tmp_path, processes=1, only=["quiet", "fixture"], say=said.append)
    assert "2 comparisons, 0 measured before" in said
    assert [row["relation"] for row in again] == [row["relation"] for row in first]
    assert len([json.loads(line) for line in store.read_text(encoding="utf-8").splitlines()]) == 3
    store.write_text("{]\n" + other + "\n", encoding="utf-8")
    with pytest.raises(ReportError) as caught:
        measure(zoo, tmp_path, processes=1, only=["quiet"], say=said.append)
    assert caught.value.file == str(store)
    assert (caught.value.reason or "").startswith("Line 1:")


def test_a_failure_counts_neither_for_nor_against_kinship(folder: Path) -> None:
    zoo = Zoo(folder)
    case = next(case for case in zoo.cases() if case.category is Category.INDEPENDENT)
    row = {"suspect": case.suspect, "candidates": list(case.candidates), "relation": "error"}
    row |= {"error": "input: no memory", "derivation": [], "undecided": []}
    found = summarise(zoo, [judged(row, case)])
    assert found["independent_called_anything"]["count"] == 0
    assert [miss["relation"] for miss in found["misses"]] == ["error"]


@pytest.mark.parametrize("damage", ["gone", "shorter", "another"])
def test_a_model_that_is_not_as_it_was_bred_is_refused(tmp_path: Path, damage: str) -> None:
    place = written(tmp_path / "zoo")
    record = json.loads((place / "zoo.json").read_text(encoding="utf-8"))
    record["models"]["noisy"]["sha256"] = digests(place / "noisy")["sha256"]
    (place / "zoo.json").write_text(json.dumps(record), encoding="utf-8")
    Zoo(place).check()
    weights = place / "noisy" / "model.safetensors"
    if damage == "gone":
        weights.unlink()
    else:
        data = weights.read_bytes()
        weights.write_bytes(data[:-2] if damage == "shorter" else data[:-2] + b"xy")
    with pytest.raises(CorruptCheckpointError, match="noisy is not as it was bred") as caught:
        measure(Zoo(place), tmp_path / "out", processes=1, say=print)
    assert caught.value.file == str(weights)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"models"', '"modes"'),
        lambda text: text.replace('"parents": ["noisy"]', '"parents": ["nobody"]'),
        lambda text: text.replace('"digest"', '"digits"', 1),
        lambda text: "[]",
    ],
)
def test_a_record_that_cannot_be_read_says_where_and_what_to_do(tmp_path: Path, change: Any) -> None:
    place = written(tmp_path) / "zoo.json"
    text = place.read_text(encoding="utf-8")
    assert change(text) != text
    place.write_text(change(text), encoding="utf-8")
    with pytest.raises(ReportError, match="record of the zoo") as caught:
        Zoo(tmp_path)
    assert caught.value.file == str(place)
    assert "Breed again" in (caught.value.next_step or "")


@pytest.mark.parametrize(
    ("top", "names"), [(5063.0, ["0", "2,000", "4,000"]), (1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"])]
)
def test_ticks_are_round_numbers(top: float, names: list[str]) -> None:
    assert [name for _, name in figures.ticks(top)] == names
