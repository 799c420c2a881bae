"""SARIF 2.1.0 for code hosts: what is owed as failures at its place, findings for review, what cannot be told as open.

Only what is missing or contradicted has a level; a finding about code or traces is for people to read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from filiation.auditing.records import AuditReport
from filiation.disclosure import RuleResult
from filiation.evidence import Place
from filiation.report.audit.code import views
from filiation.report.audit.story import command_line, left_sentence, reason_of
from filiation.report.audit.words import worded
from filiation.report.custody import Custody
from filiation.report.numbers import clean
from filiation.report.wording import Phrases

NAME = "sarif"
SUFFIX = ".sarif"
SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_ROOT = "%SRCROOT%"
_CARDS = ("README.md", "readme.md", "README", "config.json")

Json = dict[str, Any]


def render(report: AuditReport, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the log. Without a custody record it has no times, and the same report gives the same bytes."""
    results = [*_owed(report, phrases), *_code(report, phrases), *_traces(report, phrases)]
    rules = {result["ruleId"]: None for result in results}
    numbers = {name: n for n, name in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = numbers[result["ruleId"]]
    run: Json = {
        "tool": {
            "driver": {
                "name": "filiation",
                "version": clean(report.tool.get("version", "")),
                "semanticVersion": clean(report.tool.get("version", "")),
                "fullDescription": {"text": phrases.say("disclosure", "not_legal_advice")},
                "rules": [_rule(name, phrases) for name in rules],
            }
        },
        "language": phrases.language,
        "invocations": [_invocation(report, phrases, custody)],
        "originalUriBaseIds": {_ROOT: {"description": {"text": clean(report.models.suspect.locator)}}},
        "automationDetails": {"id": f"filiation/audit/{clean(report.models.suspect.name)}/"},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": {"schema": report.schema, "outcome": report.verdict.outcome},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, sort_keys=True, ensure_ascii=False, indent=2) + "\n"


def _invocation(report: AuditReport, phrases: Phrases, custody: Custody | None) -> Json:
    """How it was called, and what was not examined: a code host shows these apart from the results."""
    told: list[Json] = []
    for each in report.not_examined:
        if not each.path:
            continue
        told.append(
            {
                "level": "note",
                "descriptor": {"id": each.why},
                "message": {"text": left_sentence(each, report, phrases)},
            }
        )
        if each.reference is None and _is_here(report, each.path):
            told[-1]["locations"] = [{"physicalLocation": {"artifactLocation": _artifact(each.path)}}]
    called: Json = {"executionSuccessful": True, "commandLine": command_line(report)}
    if custody is not None:
        times = {"startTimeUtc": custody.started, "endTimeUtc": custody.finished}
        called |= {key: value.replace("+00:00", "Z") for key, value in times.items()}
        called["properties"] = {"reportSha256": custody.report_sha256, "lockSha256": custody.lock_sha256}
    return {**called, "toolExecutionNotifications": told} if told else called


def _artifact(path: str) -> Json:
    return {"uri": quote(path, safe="/"), "uriBaseId": _ROOT}


def _rule(name: str, phrases: Phrases) -> Json:
    """A rule by its id: one of the licence rules, a level of code, a kind of trace."""
    head, _, key = name.partition("/")
    if head == "source":
        title = phrases.name_at("source", "level", key)
        text = phrases.find("shows", f"source_{key}") or title
    elif head == "traces":
        title = phrases.name_at("test", key, "name")
        text = phrases.find("test", key, "question") or title
    else:
        title = text = phrases.name_at("disclosure", "rule", name)
    return {
        "id": name,
        "name": name.replace("/", "-"),
        "shortDescription": {"text": title},
        "fullDescription": {"text": text},
        "defaultConfiguration": {"level": "warning" if head == name else "none"},
        "properties": {"tags": [head if head != name else "licence"]},
    }


def _owed(report: AuditReport, phrases: Phrases) -> Iterator[Json]:
    for rule in report.rules:
        text = reason_of(rule, phrases) + (f" [{clean(rule.clause)}]" if rule.clause else "")
        properties = {"status": str(rule.status), "clause": rule.clause, "parent": rule.parent}
        if rule.owed:
            yield _result(report, rule.id, "fail", "warning", text, _at(rule), properties)
        elif rule.status == "cannot_tell":
            yield _result(report, rule.id, "open", "none", text, _at(rule), properties)


def _at(rule: RuleResult) -> Place | None:
    return rule.place


def _code(report: AuditReport, phrases: Phrases) -> Iterator[Json]:
    told = {view.file: view for view in views(report, phrases)}
    for file in report.source.files:
        view = told.get(clean(file.file))
        if view is None:
            continue
        facts = phrases.say("ui", "list_semicolon").join(
            f"{label}: {value}" for label, value in view.facts[:2]
        )
        properties = {"share": file.share, "reference": file.reference, "referenceFile": file.reference_file}
        text = f"{view.shows} {facts}"
        yield _result(
            report, f"source/{file.level}", "review", "none", text, Place(file=file.file, line=1), properties
        )


def _traces(report: AuditReport, phrases: Phrases) -> Iterator[Json]:
    for trace in report.traces:
        text = worded(phrases, trace.shows, **{"file": trace.place.file, **trace.numbers})
        named = None if trace.reference is None else report.models.references[trace.reference].locator
        yield _result(
            report, f"traces/{trace.kind}", "informational", "none", text, trace.place, {"reference": named}
        )


def _result(
    report: AuditReport, rule: str, kind: str, level: str, text: str, place: Place | None, properties: Json
) -> Json:
    where = place if place is not None and _is_here(report, place.file) else Place(file=_card(report))
    mark = hashlib.sha256(f"{rule}\0{where.file}\0{text}".encode()).hexdigest()
    result: Json = {
        "ruleId": rule,
        "kind": kind,
        "level": level,
        "message": {"text": text},
        "partialFingerprints": {"filiation/v1": mark},
        "properties": {key: value for key, value in properties.items() if value is not None},
    }
    if where.file is not None:
        location: Json = {"artifactLocation": _artifact(where.file)}
        if where.line:
            location["region"] = {"startLine": where.line}
        result["locations"] = [{"physicalLocation": location}]
    return result


def _is_here(report: AuditReport, file: str | None) -> bool:
    return any(f.path == file for f in report.models.suspect.files)


def _card(report: AuditReport) -> str | None:
    """Return the file that stands for the repository where a result has no place: code hosts drop those without."""
    paths = {f.path for f in report.models.suspect.files}
    return next((name for name in _CARDS if name in paths), min(paths, default=None))
