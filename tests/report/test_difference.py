"""What refutes a stored report, and what does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from filiation.evidence import to_json
from filiation.report.difference import difference
from tests.report.samples import full_report

STORED: dict[str, Any] = json.loads(to_json(full_report()))


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(STORED)
    change(document)
    return document


def test_the_same_report_holds() -> None:
    found = difference(STORED, copy.deepcopy(STORED))
    assert found.holds
    assert not found.rounding
    assert not found.circumstances


def relocate(document: dict[str, Any]) -> None:
    document["command"]["suspect"] = "elsewhere/child"
    document["models"]["suspect"] |= {
        "locator": "elsewhere/child",
        "name": "child",
        "revision": "main",
        "bytes_read": 7,
    }
    document["bytes_read"] = 7
    document["stages"][0]["bytes_read"] = 7
    document["tool"]["version"] = "0.2.0"
    document["evidence"][0]["places"] = [{"file": "elsewhere/child/model.safetensors"}]


def test_where_the_models_lie_and_what_was_read_is_no_finding() -> None:
    found = difference(STORED, changed(relocate), moved={"suspect"})
    assert found.holds
    assert {c.field for c in found.circumstances} >= {"locator", "suspect", "version"}
    assert not found.rounding
    assert found.unchecked == ("tool.version", "validation")
    assert not difference(STORED, changed(relocate)).holds


def local(document: dict[str, Any]) -> dict[str, Any]:
    for model in (document["models"]["suspect"], *document["models"]["candidates"]):
        model["revision"] = None
    return document


def test_the_same_local_place_is_read_the_same_again() -> None:
    old, new = local(changed(lambda _: None)), local(changed(lambda d: d.update(bytes_read=7)))
    assert [c.record for c in difference(old, new).findings] == ["bytes_read"]
    assert difference(old, new, moved={"suspect"}).holds
    remote = changed(lambda d: d.update(bytes_read=7))
    assert difference(STORED, remote).holds


def test_no_record_hides_behind_another() -> None:
    def twice(document: dict[str, Any]) -> None:
        document["evidence"].insert(0, {**document["evidence"][0], "log10_e": 9999.0})

    first, second = difference(changed(twice), STORED).findings
    assert (first.record, first.field, first.old) == (STORED["evidence"][0]["id"], "log10_e", 9999.0)
    assert second.record == f"{first.record} #2"

    def posing(document: dict[str, Any]) -> None:
        document["evidence"].append({**document["verdict"], "id": "verdict"})
        document["verdict"]["relation"] = "identical"

    assert {c.field for c in difference(changed(posing), STORED).findings} == {"", "relation"}


@pytest.mark.parametrize(
    ("old", "new", "holds"),
    [
        (1e-12, 1e-9, False),
        (0.0, 1e-300, False),
        (1e-300, 1e-300, True),
        (1e-12, 1.00002e-12, True),
        (0.5, 0.4, False),
    ],
)
def test_bounds_are_compared_by_their_magnitude(old: float, new: float, holds: bool) -> None:
    stored, again = ({"verdict": {"false_positive_bound": v}} for v in (old, new))
    assert difference(stored, again).holds is holds


@pytest.mark.parametrize("number", [0, 2])
def test_a_file_that_the_report_leaves_out_is_missed(number: int) -> None:
    found = difference(changed(lambda d: d["models"]["suspect"]["files"].pop(number)), STORED)
    assert not found.holds


@pytest.mark.parametrize(
    ("change", "record", "field"),
    [
        (lambda d: d["evidence"][3].update(statistic=12.0), STORED["evidence"][3]["id"], "statistic"),
        (lambda d: d["evidence"][3].update(log10_e=None), STORED["evidence"][3]["id"], "log10_e"),
        (lambda d: d["evidence"].pop(3), STORED["evidence"][3]["id"], ""),
        (lambda d: d["evidence"].append({"id": "origin.new/x"}), "origin.new/x", ""),
        (lambda d: d["verdict"].update(relation="none_found"), "verdict", "relation"),
        (lambda d: d["verdict"]["derivation"].pop(), "verdict", "derivation"),
        (lambda d: d["layer_map"][0]["log10_e"][1].__setitem__(2, 99.0), "layer_map", "[0].log10_e[1][2]"),
        (lambda d: d.update(pairing=[]), "pairing", ""),
        (lambda d: d["limits"].append("budget_spent"), "limits", ""),
        (lambda d: d["models"]["suspect"].update(parameters=3), "models.suspect", "parameters"),
    ],
)
def test_a_finding_that_comes_out_otherwise_refutes_the_report(
    change: Callable[[dict[str, Any]], object], record: str, field: str
) -> None:
    found = difference(STORED, changed(change))
    assert not found.holds
    assert not found.inputs
    (only,) = found.findings
    assert only.record == record
    assert only.field == field


def test_the_order_of_evidence_does_not_matter() -> None:
    assert difference(STORED, changed(lambda d: d["evidence"].reverse())).holds


def test_last_digits_are_rounding_but_counts_are_not() -> None:
    found = difference(STORED, changed(lambda d: d["evidence"][0].update(log10_e=4011.50001)))
    assert found.holds
    assert len(found.rounding) == 1
    assert not difference(STORED, changed(lambda d: d["evidence"][0].update(log10_e=4011.9))).holds
    assert not difference(STORED, changed(lambda d: d["evidence"][0].update(n=4863))).holds


def set_file(document: dict[str, Any], number: int, **values: object) -> None:
    document["models"]["suspect"]["files"][number].update(values)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: set_file(d, 1, size=1), "files.model-00001-of-00002.safetensors.size"),
        (lambda d: set_file(d, 0, sha256="00" * 32), "files.config.json.sha256"),
        (lambda d: d["models"]["suspect"]["files"].pop(2), "files.model-00002-of-00002.safetensors"),
    ],
)
def test_other_models_are_told_from_a_report_that_does_not_hold(
    change: Callable[[dict[str, Any]], object], field: str
) -> None:
    found = difference(STORED, changed(change))
    assert not found.holds
    assert [c.field for c in found.inputs] == [field]
    assert not found.findings


def other_digest(document: dict[str, Any]) -> None:
    document["models"]["suspect"].update(digest="00" * 32)


@pytest.mark.parametrize("moved", [(), ("suspect",)])
def test_another_digest_is_another_model_wherever_it_lies(moved: tuple[str, ...]) -> None:
    found = difference(STORED, changed(other_digest), moved=moved)
    assert [c.field for c in found.inputs] == ["digest"]

    def forged(document: dict[str, Any]) -> None:
        other_digest(document)
        document["models"]["suspect"].update(name="org/famous", locator="org/famous")
        for file in document["models"]["suspect"]["files"]:
            file.update(sha256=None, not_hashed=None)

    assert not difference(changed(forged), STORED, moved=moved).holds


def test_only_a_file_that_was_not_hashed_for_a_reason_and_is_hashed_now_changes_a_digest() -> None:
    def hashed(document: dict[str, Any]) -> None:
        other_digest(document)
        set_file(document, 1, sha256="11" * 32, not_hashed=None)

    def reseeded(document: dict[str, Any]) -> None:
        hashed(document)
        document["seed"] = {"0": "22" * 32}

    now = changed(reseeded)
    assert not difference(STORED, now, moved={"suspect"}).inputs
    # With other digests the seeds are others: equal ones say that the stored digest was written in by hand.
    assert [c.field for c in difference(STORED, changed(hashed), moved={"suspect"}).inputs] == ["digest"]
    # Without a reason, a missing hash was taken out.
    old = changed(lambda d: set_file(d, 1, not_hashed=None))
    assert [c.field for c in difference(old, now, moved={"suspect"}).inputs] == [
        "files.model-00001-of-00002.safetensors.sha256"
    ]


def test_a_suspect_that_is_gone_is_another_input() -> None:
    assert difference(STORED, changed(lambda d: d["models"]["candidates"].clear())).inputs


def test_sizes_of_changes_may_differ_by_what_a_fitted_rotation_adds() -> None:
    stored = {"deltas": [{"tensor": "a", "relative_delta": 9.386e-4}]}
    assert difference(stored, {"deltas": [{"tensor": "a", "relative_delta": 9.3865e-4}]}).holds
    assert not difference(stored, {"deltas": [{"tensor": "a", "relative_delta": 9.5e-4}]}).holds
