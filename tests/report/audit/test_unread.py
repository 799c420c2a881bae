"""What could not be read is told in every output; of a licence that is not decided no bill of materials says more."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from filiation.auditing import AuditReport, Request, examine
from filiation.report.audit import cyclonedx, html, markdown, sarif, spdx, terminal
from filiation.report.audit.licences import concluded, declared
from filiation.report.wording import LANGUAGES, phrases
from tests.auditing import made

Json = dict[str, Any]

UNREAD: dict[str, tuple[str, str | bytes, str]] = {
    "README.md": ("utf-16", "---\nlicense: mit\n---\n".encode("utf-16"), "wide"),
    "LICENSE": ("latin", "Droits réservés".encode("latin-1"), "latin"),
    "config.json": ("broken", '{"a": [1, 2,', "json_broken"),
    "tokenizer.json": ("deep", "[" * 100_000, "json_too_deep"),
    "model_card.md": ("alias", "---\na: &a [x]\nlicense: *a\n---\n", "yaml_alias"),
    "mergekit_config.yml": ("yaml", "models: [a\nb: }", "yaml_broken"),
    "NOTICE": ("large", "x" * (3 << 20), "paper_too_large"),
}


@pytest.fixture(scope="module")
def unread(tmp_path_factory: pytest.TempPathFactory) -> AuditReport:
    folder = made.write(
        tmp_path_factory.mktemp("unread") / "M", {n: text for n, (_, text, _) in UNREAD.items()}
    )
    return examine(Request(str(folder), corpus=False)).report


def test_each_file_stands_in_the_report_with_its_reason(unread: AuditReport) -> None:
    told = {each.path: each.why for each in unread.not_examined}
    assert told == {name: f"audit.unread.{why}" for name, (_, _, why) in UNREAD.items()}


def test_a_file_of_a_reference_is_told_with_its_reference(tmp_path: Path) -> None:
    suspect, reference = made.suspect(tmp_path), made.reference(tmp_path, params__json="{")
    report = examine(Request(str(suspect), (str(reference),), corpus=False)).report
    assert ("params.json", 0) in {(n.path, n.reference) for n in report.not_examined}
    assert "Example-1B: params.json" in terminal.render(report, phrases("en"), width=200)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_output_tells_them(unread: AuditReport, language: str) -> None:
    said = phrases(language)
    pages = {
        "terminal": terminal.render(unread, said, width=400),
        "html": html.render(unread, said),
        "markdown": markdown.render(unread, said).replace("\\", ""),
        "sarif": sarif.render(unread, said),
        "cyclonedx": cyclonedx.render(unread, said),
    }
    pytest.importorskip("spdx_python_model", reason="needs the extra bom")
    pages["spdx"] = json.dumps(json.loads(spdx.render(unread, said)), ensure_ascii=False)
    for name, (_, _, why) in UNREAD.items():
        reason = said.say("audit", "unread", why)
        for output, text in pages.items():
            assert name in text, (output, name)
            # in a terminal's table the sentence goes on in the next row
            assert (reason[:9] if output == "terminal" else reason) in text, (output, reason)


def test_sarif_points_at_the_file(unread: AuditReport) -> None:
    (run,) = json.loads(sarif.render(unread, phrases("en")))["runs"]
    told = run["invocations"][0]["toolExecutionNotifications"]
    places = {n["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for n in told}
    assert places == set(UNREAD)


# What a bill of materials concludes


def report_on(tmp_path: Path, card: str, **more: str) -> AuditReport:
    files = {"README.md": card, "config.json": made.config()} | {
        n.replace("__", "."): t for n, t in more.items()
    }
    return examine(Request(str(made.write(tmp_path / "Mine-1B", files)), corpus=False)).report


APACHE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
TAG = "---\nlicense: {}\n---\n# Mine\n"


def licences_of(report: AuditReport) -> dict[str, list[str]]:
    """The licences of the CycloneDX document by how they are acknowledged."""
    component = json.loads(cyclonedx.render(report, phrases("en")))["metadata"]["component"]
    found: dict[str, list[str]] = {"declared": [], "concluded": []}
    for entry in component["licenses"]:
        licence = entry["license"]
        found[licence["acknowledgement"]].append(licence.get("id") or licence["name"])
    return found


def test_a_text_that_agrees_is_concluded(tmp_path: Path) -> None:
    report = report_on(tmp_path, TAG.format("apache-2.0"), LICENSE=APACHE)
    assert licences_of(report) == {"declared": ["Apache-2.0"], "concluded": ["Apache-2.0"]}


@pytest.mark.parametrize(
    ("card", "more"),
    [
        (TAG.format("mit"), {"LICENSE": APACHE}),
        (TAG.format("apache-2.0") + "Licensed under MIT.\n", {"LICENSE": APACHE}),
        (
            TAG.format("apache-2.0").replace("# Mine", ""),
            {"LICENSE": APACHE.replace("\n\n", "\n\nNobody may.\n\n")},
        ),
        (
            TAG.format("apache-2.0"),
            {"LICENSE": "All of it is ours, and nobody may ask why or how this came about."},
        ),
        ("---\nlicense: apache-2.0\nbase_model: google/gemma-2b\n---\n", {"LICENSE": APACHE}),
        ("---\nlicense: apache-2.0\nbase_model: nobody/knows-1b\n---\n", {"LICENSE": APACHE}),
        (TAG.format("gpl"), {}),
    ],
    ids=[
        "tag and text",
        "prose",
        "changed text",
        "unknown text",
        "version open",
        "parent unknown",
        "no version",
    ],
)
def test_nothing_is_concluded_where_files_contradict_or_nobody_knows(
    tmp_path: Path, card: str, more: dict[str, str]
) -> None:
    report = report_on(tmp_path, card, **more)
    assert concluded(report) == ()
    assert licences_of(report)["concluded"] == ["NOASSERTION"]
    pytest.importorskip("spdx_python_model", reason="needs the extra bom")
    assert "NoAssertionLicense" in spdx.render(report, phrases("en"))


def test_a_name_without_its_version_is_written_as_it_stands(tmp_path: Path) -> None:
    (named,) = declared(report_on(tmp_path, TAG.format("gpl")))
    assert (named.spdx, named.reference) == (None, "LicenseRef-filiation-gpl")


def test_what_the_prose_says_is_declared(tmp_path: Path) -> None:
    report = report_on(tmp_path, "# Mine\n\nReleased under the Apache 2.0 licence.\n")
    assert [n.spdx for n in declared(report)] == ["Apache-2.0"]


# The tokenizer, where no reference is given


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_public_tokenizer_is_told_in_every_page(unread: AuditReport, language: str) -> None:
    record = dataclasses.replace(unread.tokenizer, recognised=("Public-50k",))
    report, said = dataclasses.replace(unread, tokenizer=record), phrases(language)
    for text in (terminal.render(report, said), html.render(report, said), markdown.render(report, said)):
        assert text.count("Public-50k") >= 2
