"""The walk over the shipped models, which were really trained: verdicts, determinism, the published schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import filiation
from filiation.api import Comparison
from filiation.errors import NotFoundError, UsageError
from filiation.evidence import Relation, Status, json_schema, measured_null

MODELS = Path(__file__).parents[2] / "examples" / "models"


def compared(suspect: str, *candidates: str, **options: Any) -> Comparison:
    return filiation.compare(str(MODELS / suspect), *(str(MODELS / c) for c in candidates), **options)


def kinds(comparison: Comparison) -> set[str]:
    return {step.kind for step in comparison.verdict.derivation}


@pytest.mark.parametrize(
    ("suspect", "candidate", "relation", "derivation"),
    [
        ("fine-tuned", "base", Relation.COMMON_ORIGIN, {"fine_tuned"}),
        ("continued", "base", Relation.COMMON_ORIGIN, {"continued_pretraining"}),
        ("moe-upcycled", "base", Relation.COMMON_ORIGIN, {"moe_upcycled"}),
        ("laundered", "fine-tuned", Relation.COMMON_ORIGIN, {"permuted", "rotated"}),
        ("laundered", "continued", Relation.COMMON_ORIGIN, {"permuted", "rotated"}),
        ("renamed", "fine-tuned", Relation.IDENTICAL, {"identical", "renamed"}),
        ("same-init", "base", Relation.SHARED_INITIALISATION, set[str]()),
        ("twin", "base", Relation.NONE_FOUND, set[str]()),
        ("laundered", "twin", Relation.NONE_FOUND, set[str]()),
    ],
)
def test_verdict_on_really_trained_models(
    suspect: str, candidate: str, relation: Relation, derivation: set[str]
) -> None:
    found = compared(suspect, candidate)
    assert found.verdict.relation is relation
    assert derivation <= kinds(found)


def test_both_directions_agree_that_there_is_a_common_origin() -> None:
    """The test does not say who was first, so it must not depend on who is called the suspect."""
    assert compared("base", "continued").verdict.relation is Relation.COMMON_ORIGIN
    assert compared("base", "moe-upcycled").verdict.relation is Relation.COMMON_ORIGIN
    assert compared("fine-tuned", "laundered").verdict.relation is Relation.COMMON_ORIGIN


def test_independent_twins_show_nothing() -> None:
    verdict = compared("twin", "base").verdict
    assert verdict.log10_e is not None
    assert verdict.log10_e < 1
    assert verdict.false_positive_bound == 1.0
    assert verdict.inherited_share == 0.0


def test_equal_inputs_give_equal_bytes() -> None:
    assert compared("continued", "base").to_json() == compared("continued", "base").to_json()


def test_the_json_keeps_the_published_schema_and_its_promises() -> None:
    document = json.loads(compared("continued", "base").to_json())
    jsonschema.validate(document, json_schema())
    assert isinstance(document["bytes_read"], int)
    assert document["bytes_read"] == sum(
        m["bytes_read"] for m in [document["models"]["suspect"], *document["models"]["candidates"]]
    )
    assert document["verdict"]["relation"] == "common_origin"
    assert document["verdict"]["inherited_share"] == 1.0
    assert document["architecture"]["same"] is True
    assert document["validation"] == measured_null()
    assert {row["layer"] for row in document["inheritance"]} >= set(range(6))


def test_every_test_that_did_not_run_says_why() -> None:
    for record in compared("laundered", "fine-tuned").evidence:
        assert (record.status is Status.APPLIED) == (record.reason is None)
        assert record.log10_e is None or record.status is Status.APPLIED


def test_several_candidates_pay_for_their_number() -> None:
    one = compared("continued", "base").verdict
    two = compared("continued", "twin", "base").verdict
    assert two.candidate == 1
    assert two.relation is Relation.COMMON_ORIGIN
    assert one.log10_e is not None
    assert two.log10_e is not None
    assert two.log10_e == pytest.approx(one.log10_e - 0.30103, abs=1e-4)


def test_architecture_reuse_without_weights_is_a_finding_of_its_own() -> None:
    document = compared("twin", "base").to_dict()
    assert document["architecture"]["same"] is True
    assert document["verdict"]["relation"] == "none_found"
    changed = compared("moe-upcycled", "base").to_dict()["architecture"]
    assert "language: router" in changed["added"]
    assert any(row["what"] == "language: n_experts" for row in changed["changed"])


def test_nothing_to_compare_with() -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        filiation.compare(str(MODELS / "base"))


def test_a_missing_model_is_named() -> None:
    with pytest.raises(NotFoundError) as caught:
        compared("no-such-model", "base")
    assert "no-such-model" in str(caught.value)


def test_tables_and_html_for_notebooks() -> None:
    found = compared("continued", "base")
    frame = found.evidence.to_pandas()
    assert len(frame) == len(found.evidence) == found.evidence.to_arrow().num_rows
    assert {"id", "log10_e", "part_layer"} <= set(frame.columns)
    assert "<table>" in found._repr_html_()
