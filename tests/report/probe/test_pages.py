"""The report of a probe in every form and both languages."""

from __future__ import annotations

import html
import json

import jsonschema
import pytest

from filiation.evidence import PROBE_SCHEMA, Outcome, ProbeRelation, ProbeVerdict, to_json
from filiation.probing.records import ProbeReport, probe_schema
from filiation.report import RENDERERS, renderer
from filiation.report.reading import as_probe, read_any
from filiation.report.wording import LANGUAGES, phrases
from tests.report.pages import read
from tests.report.probe.samples import full_report, hostile_report, verdict_of

ACCUSING = ("stolen", "theft", "steal", "guilty", "plagiar", "fraud", "窃", "抄袭", "欺诈")


def drawn(report: ProbeReport, name: str, language: str = "en") -> str:
    return renderer(name, PROBE_SCHEMA).render(report, phrases(language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [name for name in RENDERERS if name != "json"])
@pytest.mark.parametrize("relation", list(ProbeRelation))
def test_every_relation_is_worded_everywhere_and_accuses_nobody(
    relation: ProbeRelation, name: str, language: str
) -> None:
    text = drawn(
        verdict_of(ProbeVerdict(relation, ("derived",), "harbour", 0.001, 3.0, ("one_signal",))),
        name,
        language,
    )
    assert phrases(language).say("probe", "relation", relation.value) in html.unescape(text)
    assert not [word for word in ACCUSING if word in text.lower()]
    seen = read(text).all("main")[0].text if name == "html" else text
    assert not [
        key for key in ("_", "{") if key in seen.split("--replay")[0]
    ]  # no raw key, no open placeholder


def test_the_canonical_json_follows_the_published_schema_and_is_read_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    report = full_report()
    document = json.loads(to_json(report))
    jsonschema.validate(document, probe_schema())
    assert as_probe(document, tmp_path) == report
    file = tmp_path / "probe.json"
    file.write_text(to_json(report), encoding="utf-8")
    assert to_json(read_any(file)) == to_json(report)


def test_outcomes_are_counted_and_never_mixed() -> None:
    text = drawn(full_report(), "terminal")
    assert "supported 3, undecided 1, not measured 1" in " ".join(text.split())
    for outcome in Outcome:
        if outcome is not Outcome.CONTRADICTED:
            assert (
                f": {phrases('en').say('probe', 'outcome', outcome.value)}" in text
                or outcome is Outcome.NOT_MEASURED
            )


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_draws_every_measured_test(language: str) -> None:
    page = read(drawn(full_report(), "html", language))
    labels = {e.attributes["aria-label"] for e in page.all("svg")}
    said = phrases(language)
    assert labels == {
        said.say("probe", "ui", f"aria_{k}") for k in ("wealth", "counts", "residual", "agreement")
    }


def test_what_an_endpoint_calls_itself_breaks_out_of_nothing() -> None:
    page, text, mark = (drawn(hostile_report(), name) for name in ("html", "terminal", "markdown"))
    assert "<script>alert" not in page
    assert "\x1b" not in page + text + mark
    assert "\u202e" not in text + mark
    assert "`x`" not in mark.replace("\\`", "")
    assert max(len(line) for line in text.splitlines() if "--replay" not in line) <= 80


def test_the_answer_names_the_model_by_what_it_is_called_not_by_its_digest() -> None:
    assert "harbour-135m" in drawn(full_report(), "terminal").split("Tests")[0]
