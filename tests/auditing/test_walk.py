"""The walk: what each wing finds is in the report, nothing depends on time, and what is wrong is said."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

import filiation
from filiation.auditing import AuditReport, Request, audit_schema, examine
from filiation.auditing.records import RepositoryRecord
from filiation.errors import FiliationError, NotFoundError, ReportError, UsageError
from filiation.evidence import to_json
from filiation.report.audit.answer import answer
from filiation.report.reading import read_any
from filiation.report.wording import phrases
from tests.auditing import made
from tests.source.examples import HEAD, MODEL, renamed

KEYS = {
    "schema", "tool", "command", "models", "evidence", "verdict", "limits", "validation", "traces", "source",
    "tokenizer", "claims", "parents", "rules", "duties", "not_examined",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture(scope="module")
def report(root: Path) -> AuditReport:
    suspect, reference = made.suspect(root), made.reference(root)
    return examine(Request(str(suspect), (str(reference), str(made.corpus(root))), corpus=False)).report


def test_the_report_has_the_common_keys_and_those_of_the_issue(report: AuditReport) -> None:
    document = json.loads(to_json(report))
    assert set(document) == KEYS
    assert {"level", "matches", "rename_map"} <= set(document["source"])
    assert {"id", "status", "place", "clause"} <= set(document["rules"][0])
    assert {"kind", "place", "shows"} <= set(document["traces"][0])


def test_every_wing_has_its_say(report: AuditReport) -> None:
    assert report.source.level == "same_after_renaming"
    assert report.verdict.notices == "kept"
    assert report.verdict.attributed is True
    assert report.tokenizer.relation == "same"
    assert {t.kind for t in report.traces} >= {"same_file", "config_values", "added_tokens"}
    assert ("base_model", "example/Example-1B") in {(c.subject, c.text) for c in report.claims}
    assert {e.wing for e in report.evidence} == {"traces", "tokenizer", "source", "disclosure"}
    assert {r.id for r in report.rules} >= {"D1", "L1", "L8", "T1"}
    assert next(r for r in report.rules if r.id == "L8").status == "satisfied"


def test_code_makes_a_parent_of_its_own_and_a_claim_takes_its_repository(report: AuditReport) -> None:
    (parent,) = report.parents
    assert set(parent.basis) == {"claim", "code"}
    assert parent.licences == parent.code_licences == ("apache-2.0",)


def test_no_relation_between_weights_is_invented(report: AuditReport) -> None:
    assert not hasattr(report.verdict, "relation")
    assert not hasattr(report.verdict, "log10_e")
    assert all(e.log10_e is None for e in report.evidence)


def test_equal_inputs_give_equal_bytes(root: Path, report: AuditReport) -> None:
    called = report.command
    again = examine(Request(called["repository"], tuple(called["against"]), corpus=False)).report
    assert to_json(again) == to_json(report)


def test_the_cache_changes_nothing(root: Path, report: AuditReport, tmp_path: Path) -> None:
    request = Request(report.command["repository"], tuple(report.command["against"]), corpus=False)
    first = examine(request, cache=tmp_path).report
    assert list(tmp_path.rglob("*.npz"))
    assert to_json(first) == to_json(examine(request, cache=tmp_path).report) == to_json(report)


def test_the_report_fits_its_published_schema(report: AuditReport) -> None:
    schema = audit_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(to_json(report)))
    assert schema["$id"] == report.schema


def test_a_stored_report_is_read_back_as_it_was(report: AuditReport, tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    file.write_text(to_json(report), encoding="utf-8")
    again = read_any(file)
    assert isinstance(again, AuditReport)
    assert to_json(again) == to_json(report)


def test_a_report_with_a_wrong_type_is_refused(report: AuditReport, tmp_path: Path) -> None:
    document = json.loads(to_json(report)) | {"rules": "many"}
    file = tmp_path / "audit.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ReportError, match="not a report"):
        read_any(file)


def test_without_a_reference_it_says_so(root: Path) -> None:
    found = examine(Request(str(made.suspect(root)), corpus=False)).report
    assert found.tokenizer.relation == "cannot_tell"
    assert found.tokenizer.reference is None
    assert {"audit_no_reference", "audit_no_corpus"} <= set(found.verdict.reasons)
    assert found.source.level == "no_finding"


def test_equal_weights_make_the_reference_a_parent_by_weights(tmp_path: Path) -> None:
    weights = b"\x02\0\0\0\0\0\0\0{}" + bytes(100)
    suspect = made.suspect(tmp_path, model__safetensors=weights)
    reference = made.reference(tmp_path, model__safetensors=weights)
    found = examine(Request(str(suspect), (str(reference),), corpus=False)).report
    (parent,) = found.parents
    assert "weights" in parent.basis
    assert parent.relation == "identical"


def test_a_given_parent_is_asked_about(tmp_path: Path) -> None:
    suspect = str(made.suspect(tmp_path))
    found = examine(
        Request(suspect, parents=("meta-llama/Meta-Llama-3-8B",), corpus=False, name="Yours-1B")
    ).report
    naming = [r for r in found.rules if r.id == "L4"]
    assert [r.status for r in naming if r.licence == "llama3"] == ["missing"]
    assert found.verdict.outcome == "owed"
    assert found.duties


def test_the_day_of_derivation_decides_between_licences(tmp_path: Path) -> None:
    suspect = str(made.suspect(tmp_path, README__md="# Yours\n"))
    parents = ("openbmb/MiniCPM-2B-sft-bf16",)

    def naming(day: str) -> set[str]:
        request = Request(suspect, parents=parents, derived_on=day, corpus=False, name="Yours-1B")
        return {str(r.status) for r in examine(request).report.rules if r.id == "L4"}

    assert "missing" in naming("2024-09-01")
    assert "missing" not in naming("2025-09-01")


def test_facts_of_a_repository_tell_equal_tokenizers_by_identity() -> None:
    facts = Path(__file__).parents[1] / "traces" / "facts"
    found = filiation.audit(
        str(facts / "llama3v.json"), [str(facts / "minicpm_llama3_v25.json")], corpus=False
    )
    assert found.report.tokenizer.relation == "same"
    assert found.verdict.traces["same_file"] == 1
    names = next(t for t in found.report.traces if t.kind == "tensor_names")
    assert names.numbers["explained"] == names.numbers["names"] == 741
    assert names.numbers["renames"] == {"projection": "resampler", "vison": "vpm"}
    dangling = {r.values["file"]: str(r.status) for r in found.rules if r.id == "D4"}
    assert dangling["modeling_minicpmv.py"] == "contradicted"  # known not to be there
    assert dangling["config.py"] == "cannot_tell"  # not among the files that are known
    record = next(e for e in found.evidence if e.id == "tokenizer.identity/reference=0")
    assert record.places[0].digest == "288bd3afd90fea91887c711ea0a6554f9145aae5"


def compare_report(root: Path, suspect: Path, **change: object) -> Path:
    import hashlib

    weights = suspect / "model.safetensors"
    record = {
        "name": "model.safetensors",
        "size": 1,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    document = {
        "models": {
            "suspect": {"files": [record | change]},
            "candidates": [
                {"name": "Meta-Llama-3-8B", "locator": "meta-llama/Meta-Llama-3-8B", "revision": "a" * 40}
            ],
        },
        "verdicts": [{"relation": "common_origin", "candidate": 0, "derivation": [{"kind": "fine_tuned"}]}],
    }
    file = root / "compare.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


def test_a_comparison_given_as_evidence_says_who_the_parent_is(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path, model__safetensors=b"weights" * 20)
    file = compare_report(tmp_path, suspect)
    found = examine(Request(str(suspect), evidence=(file,), corpus=False)).report
    parent = next(p for p in found.parents if p.name == "meta-llama/Meta-Llama-3-8B")
    assert parent.basis == ("weights",)
    assert parent.relation == "finetune"
    assert next(r for r in found.rules if r.id == "D1").status == "contradicted"
    assert found.command["evidence"][0]["file"] == "compare.json"
    assert len(found.command["evidence"][0]["sha256"]) == 64


def test_a_comparison_of_another_model_is_refused(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path, model__safetensors=b"weights" * 20)
    file = compare_report(tmp_path, suspect, sha256="0" * 64)
    with pytest.raises(ReportError, match="another model"):
        examine(Request(str(suspect), evidence=(file,), corpus=False))


def test_a_comparison_that_cannot_be_tied_is_told(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path, model__safetensors=b"weights" * 20)
    file = compare_report(tmp_path, suspect, name="other.safetensors")
    found = examine(Request(str(suspect), evidence=(file,), corpus=False)).report
    assert "audit_evidence_not_tied" in found.verdict.reasons


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"parents": ("",)}, UsageError, "no name"),
        ({"derived_on": "yesterday"}, UsageError, "no day"),
        ({"derived_on": "2024-13-01"}, UsageError, "no day"),
        ({"evidence": (Path("nowhere.json"),)}, NotFoundError, "could not be read"),
        ({"against": ("nowhere/at all/this",)}, NotFoundError, "nowhere/at all/this"),
        ({"against": ("corpus.npz.xz",)}, NotFoundError, "corpus.npz.xz"),
    ],
)
def test_what_cannot_be_asked_is_said(
    change: dict[str, object], kind: type[FiliationError], words: str, tmp_path: Path
) -> None:
    request = Request(str(made.suspect(tmp_path)), corpus=False)
    with pytest.raises(kind) as told:
        examine(dataclasses.replace(request, **change))  # type: ignore[arg-type]
    assert words in str(told.value)
    assert told.value.next_step


@pytest.mark.parametrize("text", ["", "[]", "{", '{"error": {}}', '{"models": 1}', "[" * 5000])
def test_evidence_that_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ReportError):
        examine(Request(str(made.suspect(tmp_path)), evidence=(file,), corpus=False))


def test_the_python_interface_offers_short_cuts_and_a_patch(tmp_path: Path) -> None:
    suspect = made.suspect(tmp_path)
    found = filiation.audit(str(suspect), parents=["meta-llama/Meta-Llama-3-8B"], corpus=False)
    assert found.rules is found.report.rules
    assert found.verdict.outcome == "owed"
    assert len(found.evidence.rows()) == len(found.evidence)
    patch = found.fix()
    assert "+base_model" in patch.diff
    assert "Meta-Llama-3-8B" in patch.diff
    assert found.to_json() == json.dumps(found.to_dict(), sort_keys=True, ensure_ascii=False, indent=2) + "\n"


def test_filiation_audit_is_the_function_whatever_was_imported_first() -> None:
    import filiation.auditing.walk

    assert callable(filiation.audit)


@pytest.mark.parametrize("where", ["suspect", "reference"])
def test_a_digest_covers_every_file(where: str, tmp_path: Path) -> None:
    makers: dict[str, Callable[..., Path]] = {"suspect": made.suspect, "reference": made.reference}
    folder = makers[where](tmp_path)

    def record() -> RepositoryRecord:
        return examine(Request(str(folder), corpus=False)).report.models.suspect

    before = record()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    os.rename(folder / "tokenizer.json", folder / "other.json")
    after = record()
    assert before.digest != after.digest
    assert [f.path for f in after.files] == sorted(f.path for f in after.files)


def test_a_claim_of_an_own_tokenizer_and_own_code_is_set_beside_what_was_found(tmp_path: Path) -> None:
    """The card's sentence and the finding stand in one result; code that keeps its source is told, not accused."""
    text = made.CARD.replace("A model.", "We trained our own tokenizer.\n\nWritten from scratch.")
    suspect, reference = made.suspect(tmp_path, README__md=text), made.reference(tmp_path)
    against = (str(reference), str(made.corpus(tmp_path)))
    found = examine(Request(str(suspect), against, corpus=False))
    told = {r.reason: (str(r.status), r.parent) for r in found.report.rules if r.reason.startswith("origin_")}
    assert told == {
        "origin_tokenizer_same": ("contradicted", "Example-1B"),
        "origin_code_same_after_renaming": ("contradicted", "example/Example-1B"),
    }
    assert found.report.verdict.outcome == "owed"
    assert {b.head for b in found.beside} == {"tokenizer", "traces"}


def test_a_card_without_such_claims_gets_no_such_results(report: AuditReport) -> None:
    assert not [r for r in report.rules if r.reason.startswith("origin_")]


LATER = f"# Copyright 2025 Later Inc. All rights reserved.\n{HEAD}"


def turned(root: Path, **files: str) -> tuple[Path, Path]:
    """A repository, and one that was made from it: its lines are kept there and a later one is added."""
    config = {"config.json": '{"model_type": "example"}'}
    mine = made.write(root / "mine", {**config, "modeling_example.py": HEAD + MODEL})
    text = LATER + renamed(MODEL, Example_="Later")
    return mine, made.write(root / "theirs", {**config, "modeling_later.py": text, **files})


def test_who_was_built_upon_owes_nothing_to_who_built_upon_it(tmp_path: Path) -> None:
    """An audit of the original against its derivative must not ask the original for the derivative's notices."""
    mine, theirs = turned(tmp_path, LICENSE="Apache License\nVersion 2.0, January 2004\n")
    found = examine(Request(str(mine), (str(theirs),), corpus=False)).report
    assert found.source.level == "same_after_renaming"
    assert found.source.headers[0].later_there
    assert found.parents == ()
    assert "audit_direction_open" in found.verdict.reasons
    assert found.verdict.outcome != "owed"
    said = answer(found, phrases("en")).sentence
    assert "whose copyright lines hold all of those here, and later ones" in said


def test_who_built_upon_another_is_asked_and_so_is_who_names_the_source(tmp_path: Path) -> None:
    mine, theirs = turned(tmp_path)
    back = examine(Request(str(theirs), (str(mine),), corpus=False)).report
    assert [p.name for p in back.parents] == ["mine"]
    assert not back.source.headers[0].later_there
    named = examine(Request(str(mine), (str(theirs),), ("theirs",), corpus=False)).report
    assert [p.name for p in named.parents] == ["theirs"]
    assert "audit_direction_open" not in named.verdict.reasons
