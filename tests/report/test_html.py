"""The HTML page: complete, in order, escaped, self-contained, accessible."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest

from filiation.evidence import Relation, to_json
from filiation.report import renderer
from filiation.report.custody import custody, now
from filiation.report.wording import LANGUAGES, phrases
from tests.report.pages import read
from tests.report.samples import full_report, hostile_report, verdict_report

ORDER = [
    "answer",
    "models",
    "evidence",
    "map",
    "inheritance",
    "curves",
    "happened",
    "untested",
    "limits",
    "reproduce",
]


def page(report=None, language: str = "en", kept=None) -> str:
    return renderer("html").render(report or full_report(), phrases(language), kept)


@pytest.mark.parametrize("language", LANGUAGES)
def test_sections_stand_in_the_order_of_the_questions(language: str) -> None:
    found = read(page(language=language))
    assert [e.attributes["id"] for e in found.all("section")] == ORDER
    assert found.all("html")[0].attributes["lang"] == language


def test_the_answer_is_one_sentence_with_its_meaning_beside_it() -> None:
    answer = read(page()).by_id("answer").text
    assert "consistent with common origin" in answer
    assert "10−9423" in answer
    assert "not the probability that the finding is wrong" in answer


def test_evidence_is_told_in_plain_language() -> None:
    text = read(page()).by_id("evidence").text
    assert "4,850 of 4,864 neurons of layer 0 sit in the same place; one would by chance" in text
    assert "neurons of layer 12 (layer 16 of the candidate) sit in the same place" in text
    assert "Over 20 layers, 96,810 of 97,280 neurons sit in the same place; 20 would by chance" in text
    assert "0.873" in text
    assert "no published background" in text


def test_models_files_and_custody_are_shown() -> None:
    report = full_report()
    kept = custody(to_json(report), now(), now() + timedelta(seconds=2))
    found = read(page(report, kept=kept))
    models, reproduce = found.by_id("models").text, found.by_id("reproduce").text
    assert "a7" * 32 in models
    assert "3f" * 32 in models
    assert "9c1d6f2e" in models
    assert "4,877,660,776" in models
    assert "not hashed: only parts of it were read" in models
    assert "layers 24 → 20" in models
    assert kept.report_sha256 in reproduce
    assert kept.lock_sha256 in reproduce
    assert "filiation compare models/Aster-1B-chat models/Meridian-1.2B" in reproduce
    assert "37,748,736" in reproduce


def test_what_was_not_tested_is_said_with_its_reason_even_an_unknown_one() -> None:
    text = read(page()).by_id("untested").text
    assert "A norm follows the attention output" in text
    assert "layers 0–19" in text
    assert "a reason that no phrase file knows yet" in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("relation", list(Relation))
def test_every_relation_has_a_page(relation: Relation, language: str) -> None:
    text = read(page(verdict_report(relation), language)).by_id("answer").text
    assert phrases(language).name("relation", str(relation)) in text
    assert "{" not in text


def test_a_number_that_does_not_exist_says_why() -> None:
    text = read(page(verdict_report(Relation.CANNOT_TEST))).by_id("answer").text
    assert "No units with arbitrary labels could be tested." in text
    assert "10−" not in text


@pytest.mark.parametrize("report", [full_report(), hostile_report()], ids=["full", "hostile"])
def test_the_page_loads_nothing_and_runs_nothing(report) -> None:
    html = page(report)
    found = read(html)
    assert not [e for e in found.elements if {"src", "onerror", "onload", "onclick"} & set(e.attributes)]
    assert not found.all("link") + found.all("img") + found.all("iframe")
    (script,) = found.all("script")
    assert script.attributes["type"] == "application/json"
    assert all(str(e.attributes["href"]).startswith("#") for e in found.all("a"))
    style = found.all("style")[0].text
    assert not re.search(r"url\(|@import|https?:", style)
    (policy,) = [e for e in found.all("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in str(policy.attributes["content"])


def test_names_from_the_models_are_text_never_markup() -> None:
    found = read(page(hostile_report()))
    text = found.by_id("answer").text + found.by_id("models").text
    assert "<img src=" in text
    assert "</script><script>alert(2)</script>" in text
    assert "\x1b" not in page(hostile_report())
    assert "\u202e" not in found.by_id("models").text


def test_the_page_holds_its_own_data() -> None:
    for report in (full_report(), hostile_report()):
        data = read(page(report)).by_id("filiation-report").text
        assert json.loads(data) == json.loads(to_json(report))
        assert "<" not in data


def test_equal_reports_make_equal_pages() -> None:
    assert page(full_report()) == page(full_report())


def test_tables_have_headers_and_drawings_have_labels() -> None:
    found = read(page())
    headers = found.all("th")
    assert all(e.attributes.get("scope") in ("col", "row") for e in headers)
    assert len(found.all("table")) > 8
    assert all(e.attributes.get("aria-label") and e.attributes.get("role") == "img" for e in found.all("svg"))
    named = {str(e.attributes["id"]) for e in found.all("h2")}
    assert all(e.attributes["aria-labelledby"] in named for e in found.all("section"))
    scrolled = [e for e in found.all("div") if e.attributes.get("role") == "region"]
    assert all(e.attributes.get("tabindex") == "0" and e.attributes.get("aria-label") for e in scrolled)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(scheme: int) -> None:
    style = read(page()).all("style")[0].text
    block = re.findall(r":root \{(.*?)\}", style, re.S)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [("ink", "paper"), ("ink", "page"), ("muted", "paper"), ("muted", "page"), ("muted", "soft")]
    pairs += [("accent", "paper"), ("accent", "accent-soft"), ("warm", "warm-soft"), ("ink", "soft")]
    pairs += [(f"b{n}-ink", f"b{n}") for n in range(6)]
    poor = {
        p: contrast(colours[p[0]], colours[p[1]])
        for p in pairs
        if contrast(colours[p[0]], colours[p[1]]) < 4.5
    }
    assert not poor
    drawn = [("b4", "paper"), ("pair", "paper"), ("accent", "paper"), ("muted", "paper")]
    assert all(contrast(colours[a], colours[b]) >= 3 for a, b in drawn)


def test_several_candidates_are_told_apart() -> None:
    from dataclasses import replace

    from filiation.evidence import plain
    from tests.report.samples import model

    report = full_report(6, 2)
    other = replace(report.verdict, relation=Relation.NONE_FOUND, log10_e=-0.2, candidate=1, derivation=())
    report = replace(
        report,
        models={**report.models, "candidates": [*report.models["candidates"], model("Third-1B", 6, "1c")]},
        evidence=(*report.evidence, replace(report.evidence[0], candidate=1)),
        extra={**report.extra, "verdicts": [plain(report.verdict), plain(other)]},
    )
    found = read(page(report))
    assert "No evidence of common origin of Aster-1B-chat and Third-1B" in found.by_id("answer").text
    assert found.by_id("answer").text.count("Meridian-1.2B") >= 1
    assert "Candidate 2" in found.by_id("models").text
    assert "Feed-forward neurons · Third-1B" in found.by_id("evidence").text
