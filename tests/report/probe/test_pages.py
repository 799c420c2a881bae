"""The report of a probe in every form and both languages."""

from __future__ import annotations

import html
import json
from dataclasses import replace

import jsonschema
import pytest

from filiation.evidence import PROBE_SCHEMA, Effect, Outcome, ProbeRelation, ProbeVerdict, to_json
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


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_another_model_the_answer_says_so_and_names_the_tokenizer(language: str) -> None:
    report = verdict_of(ProbeVerdict(ProbeRelation.NONE_FOUND, reasons=("tokenizer_alone",)))
    tests = tuple(
        replace(t, figures={**t.figures, "named": "harbour"}) if t.name == "tokenizer" else t
        for t in report.tests
    )
    text = drawn(replace(report, tests=tests), "markdown", language)
    said = phrases(language)
    assert said.say("probe", "relation", "none_against") in text
    assert said.say("probe", "reason", "tokenizer_named", tokenizer="harbour")[1:] in text
    assert said.say("probe", "relation", "none_found") not in text


@pytest.mark.parametrize("name", ["html", "terminal", "markdown"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_made_up_counts_are_shown_as_a_finding_of_their_own(name: str, language: str) -> None:
    report = full_report()
    main = next(e for e in report.evidence if e.id == "behaviour.tokenizer")
    gate = replace(
        main, id="behaviour.usage", test="behaviour_usage", shows="usage_fabricated", reason="usage_constant"
    )
    at = report.evidence.index(main) + 1
    with_gate = replace(report, evidence=(*report.evidence[:at], gate, *report.evidence[at:]))
    text = drawn(with_gate, name, language)
    seen = " ".join(read(text).all("main")[0].text.split() if name == "html" else text.split())
    words = phrases(language).say("behaviour", "usage_constant")[1:]
    assert words.replace(" ", "") in seen.replace(" ", "")


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_test_cannot_show_is_headed_as_that(language: str) -> None:
    report = full_report()
    evidence = tuple(replace(e, cannot_show=("model_of_tokenizer",)) for e in report.evidence)
    said = phrases(language)
    for name in ("html", "terminal", "markdown"):
        text = html.unescape(drawn(replace(report, evidence=evidence), name, language))
        assert f"{said.say('ui', 'cannot_show')}:" in text


def test_a_control_is_called_by_its_model_in_every_number() -> None:
    report = full_report()
    control = replace(report.models.others[0], role="control-1", model="<lynx>")
    tests = tuple(
        replace(t, effect=(Effect("agreement_control-1", 0.4, 0.3, 0.5),)) if t.name == "derived" else t
        for t in report.tests
    )
    models = replace(report.models, others=(*report.models.others, control))
    text = drawn(replace(report, tests=tests, models=models), "terminal")
    assert "agreement with <lynx>" in " ".join(text.split())
    assert "control-1" not in text.split("Who was asked")[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_difference_is_measured_by_what_was_asked(language: str) -> None:
    report = verdict_of(ProbeVerdict(ProbeRelation.DIFFERENT, ("same_model",), "harbour"))
    said = phrases(language)
    names = {"suspect": "nova-1", "other": "harbour-135m"}
    alone = said.say("probe", "says", "different_itself", **names)[1:]
    twice = said.say("probe", "says", "different", **names)[1:]
    assert alone in drawn(report, "markdown", language)
    second = replace(report.models.others[0], role="second")
    models = replace(report.models, others=(*report.models.others, second))
    text = drawn(replace(report, models=models), "markdown", language)
    assert twice in text
    assert alone not in text
    assert said.say("probe", "role", "second") in text
