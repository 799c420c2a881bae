"""A CycloneDX 1.7 ML-BOM: the model with its files, its ancestors in the pedigree, declared and concluded licences.

The specification's way to name parents is ``pedigree.ancestors``. A confidence is given where one was measured: 1 for
equal bytes, the share of equal syntax for code; for what is only said or told none is made up.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from filiation.auditing.records import AuditReport, ParentRecord, RepositoryRecord
from filiation.disclosure.names import same
from filiation.errors import FiliationError
from filiation.evidence import to_json
from filiation.report.audit.licences import NO_ASSERTION, Named, concluded, declared, of_parent
from filiation.report.audit.story import reason_of, unexamined
from filiation.report.custody import Custody
from filiation.report.numbers import clean
from filiation.report.wording import Phrases

NAME = "cyclonedx"
SUFFIX = ".cdx.json"
_MOST_FILES = 2_000

Json = dict[str, Any]


def render(report: AuditReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the document. With a custody record it has a time; without one equal reports give equal bytes."""
    serial = uuid.uuid5(uuid.NAMESPACE_URL, to_json(report))
    metadata: Json = {
        "tools": {"components": [{"type": "application", **{k: clean(v) for k, v in report.tool.items()}}]},
        "component": _model(report, phrases),
        "properties": [
            _property("not_legal_advice", phrases.say("disclosure", "not_legal_advice")),
            _property("outcome", report.verdict.outcome),
        ],
    }
    if custody is not None:
        metadata["timestamp"] = custody.finished
        metadata["properties"] += [
            _property("report_sha256", custody.report_sha256),
            _property("lock_sha256", custody.lock_sha256),
        ]
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": metadata,
    }
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, indent=2) + "\n"
    _check(text)
    return text


def _check(text: str) -> None:
    """Hold the document against the published schema, where the extra ``bom`` brings it.

    Raises:
        FiliationError: it does not fit; that would be a mistake of ours.
    """
    try:
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError:
        return
    try:
        fault = JsonStrictValidator(SchemaVersion.V1_7).validate_str(text)
    except ImportError:  # the validator's own extra is not there
        return
    if fault is not None:
        raise FiliationError("The CycloneDX document does not fit its schema.", reason=clean(fault)[:500])


def _model(report: AuditReport, phrases: Phrases) -> Json:
    suspect = report.models.suspect
    component: Json = {
        "bom-ref": "model",
        "type": "machine-learning-model",
        "name": clean(suspect.name),
        **_version(suspect),
        "modelCard": _card(report),
        "components": list(_files(suspect)),
        "properties": [
            _property("locator", suspect.locator),
            _property("digest", suspect.digest),
            *_rules(report, phrases),
            *(_property("not_examined", text) for text in unexamined(report, phrases)),
        ],
    }
    found = concluded(report) or (Named(NO_ASSERTION, NO_ASSERTION),)
    component["licenses"] = [*_licences(declared(report), "declared"), *_licences(found, "concluded")]
    if ancestors := [_ancestor(p, report) for p in report.parents]:
        component["pedigree"] = {"ancestors": ancestors, "notes": phrases.say("limit", "audit_direction")}
    if evidence := _evidence(report):
        component["evidence"] = evidence
    return component


def _version(found: RepositoryRecord) -> Json:
    return {"version": clean(found.revision)} if found.revision else {}


def _property(name: str, value: object) -> Json:
    return {"name": f"filiation:{name}", "value": clean(value)}


def _card(report: AuditReport) -> Json:
    """The model card as far as files say it: family, architecture, datasets."""

    def said(subject: str) -> list[str]:
        return list(dict.fromkeys(clean(c.text) for c in report.claims if c.subject == subject))

    parameters: Json = {}
    if family := said("config_model_type"):
        parameters["architectureFamily"] = family[0]
    if architecture := said("config_architecture"):
        parameters["modelArchitecture"] = architecture[0]
    if datasets := [*said("datasets"), *said("gguf_dataset")]:
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in datasets]
    return {"modelParameters": parameters}


def _files(found: RepositoryRecord) -> Iterator[Json]:
    for file in found.files[:_MOST_FILES]:
        if file.sha256:
            entry: Json = {"type": "file", "name": clean(file.path)}
            entry["hashes"] = [{"alg": "SHA-256", "content": file.sha256}]
            if file.git_id:
                entry["properties"] = [_property("git_id", file.git_id)]
            yield entry


def _licences(found: Iterable[Named], acknowledgement: str | None) -> Iterator[Json]:
    for named in found:
        licence: Json = {"id": named.spdx} if named.spdx else {"name": clean(named.name)}
        if named.link:
            licence["url"] = named.link
        if acknowledgement is not None:
            licence["acknowledgement"] = acknowledgement
        yield {"license": licence}


def _ancestor(parent: ParentRecord, report: AuditReport) -> Json:
    code_only = set(parent.basis) == {"code"}
    component: Json = {
        "type": "library" if code_only else "machine-learning-model",
        "name": clean(parent.name),
        "properties": [_property("basis", b) for b in parent.basis],
    }
    if parent.relation:
        component["properties"].append(_property("relation", parent.relation))
    component["properties"] += [_property("open_licence", x) for x in parent.open]
    licences = list(_licences(of_parent((*parent.licences, *parent.code_licences)), "declared"))
    if licences:
        component["licenses"] = licences
    if identity := _identity(parent, report):
        component["evidence"] = {"identity": identity}
    return component


def _identity(parent: ParentRecord, report: AuditReport) -> Sequence[Json]:
    """What was measured that points at this parent: equal bytes, equal syntax."""
    names = {r.locator: r.name for r in report.models.references}
    found: list[Json] = []
    if "weights" in parent.basis and parent.relation == "identical":
        files = [t.place.file for t in report.traces if t.kind == "same_weights"]
        if files:
            method = {
                "technique": "hash-comparison",
                "confidence": 1,
                "value": clean(", ".join(map(str, files))),
            }
            found.append({"field": "hash", "confidence": 1, "methods": [method]})
    matched = [
        f for f in report.source.files if f.level != "no_finding" and _means(parent.name, f.reference, names)
    ]
    methods = [
        {"technique": "ast-fingerprint", "confidence": f.share, "value": clean(f"{f.file} ({f.level})")}
        for f in matched
    ]
    if "code" in parent.basis and methods:
        best = max(f.share for f in matched)
        found.append({"field": "name", "confidence": best, "methods": methods})
    return found


def _means(parent: str, reference: str | None, names: dict[str, str]) -> bool:
    """Whether a matched reference is this parent: by the locator, or by the model's name."""
    return reference is not None and (parent == reference or same(parent, names.get(reference, reference)))


def _evidence(report: AuditReport) -> Json:
    """Licence texts and copyright lines that were found in the files."""
    found: Json = {}
    texts = [c.text for c in report.claims if c.subject == "licence_text" and c.text != "unknown"]
    if licences := list(_licences(of_parent(dict.fromkeys(texts)), None)):
        found["licenses"] = licences
    lines = dict.fromkeys(clean(c.text) for c in report.claims if c.subject == "header_holder")
    if lines:
        found["copyright"] = [{"text": line} for line in list(lines)[:200]]
    return found


def _rules(report: AuditReport, phrases: Phrases) -> Iterator[Json]:
    for rule in report.rules:
        if rule.status != "not_applicable":
            yield _property(f"rule:{rule.id}:{rule.status}", reason_of(rule, phrases))
