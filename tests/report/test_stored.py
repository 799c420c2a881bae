"""Canonical JSON, custody beside it, whole files or none, and reading back."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from filiation.errors import NotFoundError, ReportError, StorageError
from filiation.evidence import Relation, Report, json_schema, to_json
from filiation.report import RENDERERS, renderer
from filiation.report.custody import custody, custody_path, now
from filiation.report.reading import read_report
from filiation.report.wording import phrases
from filiation.report.writing import check_writable, write
from tests.report.samples import full_report, hostile_report, verdict_report

REPORTS = [full_report(), hostile_report(), *(verdict_report(r) for r in Relation)]


@pytest.mark.parametrize("report", REPORTS)
def test_json_is_canonical_and_keeps_to_the_schema(report: Report) -> None:
    text = renderer("json").render(report, phrases("zh-CN"))
    assert text == to_json(report)
    document = json.loads(text)
    assert text == json.dumps(document, sort_keys=True, ensure_ascii=False, indent=2) + "\n"
    jsonschema.Draft202012Validator(json_schema()).validate(document)


@pytest.mark.parametrize("report", REPORTS)
def test_a_stored_report_reads_back_as_it_was(report: Report, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write(file, to_json(report))
    again = read_report(file)
    assert to_json(again) == to_json(report)
    for name in RENDERERS:
        assert renderer(name).render(again, phrases("en")) == renderer(name).render(report, phrases("en"))


def test_custody_names_the_report_and_no_person_or_machine() -> None:
    text = to_json(full_report())
    started = now()
    kept = custody(text, started, started + timedelta(seconds=2.5))
    assert kept.report_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert kept.seconds == 2.5
    document = json.loads(kept.to_json())
    assert set(document["host_class"]) == {"system", "machine", "python", "implementation", "cpus"}
    assert {"filiation", "numpy"} <= set(document["versions"])
    assert len(document["lock_sha256"]) == 64
    import getpass
    import platform

    for secret in {platform.node(), getpass.getuser()} - {""}:
        assert secret not in [document["host_class"][key] for key in document["host_class"]]
    assert custody_path(Path("a/report.json")) == Path("a/report.custody.json")
    assert custody_path(Path("a/report")) == Path("a/report.custody.json")


def test_unknown_renderer() -> None:
    with pytest.raises(ValueError, match="terminal, json, html, markdown"):
        renderer("pdf")


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write(file, "old")
    write(file, "new ≥")
    assert file.read_bytes() == "new ≥".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupted_write_leaves_what_was_there(
    failure: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.json"
    write(file, "old")

    def fail(_: int) -> None:
        raise failure

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises((KeyboardInterrupt, StorageError)) as caught:
        write(file, "new")
    if isinstance(failure, OSError):
        assert "Free some space" in str(caught.value)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="It is a folder"):
        check_writable(tmp_path)
    with pytest.raises(StorageError, match="does not exist"):
        check_writable(tmp_path / "nowhere" / "report.json")
    check_writable(tmp_path / "report.json")
    with pytest.raises(StorageError):
        write(tmp_path / "nowhere" / "report.json", "text")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "schema"),
        (b'{"error": {"code": "input"}}', "a comparison that failed"),
        (b'{"schema": "https://filiation.org/schema/report/99"}', "report/99"),
        (b'{"schema": "https://filiation.org/schema/report/1"}', "tool: Field required"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_report_is_refused_with_a_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(ReportError, match=reason):
        read_report(file)


def test_a_missing_report_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="No such file"):
        read_report(tmp_path / "report.json")
