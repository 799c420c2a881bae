"""What was measured on strangers is carried, told with its limits, and never said to be more than it is."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import pytest

from filiation.evidence import measured_null
from filiation.report import renderer
from filiation.report.measured import measured, strangers
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import full_report

EN = phrases("en")
RATE = {"count": 0, "trials": 300, "share": 0.0, "low": 0.0, "high": 0.0122}
LAB = {
    "version": "0.1.0",
    "measured": "2026-11-22",
    "recipe": "standard",
    "zoo_sha256": "0123456789abcdef" * 4,
    "models": 215,
    "comparisons": 1234,
    "rates": {
        "true_pairs_right": {"count": 90, "trials": 100, "share": 0.9, "low": 0.824, "high": 0.951},
        "mechanism_right": {**RATE, "count": 80, "trials": 99},
        "mechanism_left_open": {**RATE, "count": 7, "trials": 99},
        "independent_called_common_origin": RATE,
        "quiet_called_common_origin": {**RATE, "trials": 6},
        "initialisation_called_common_origin": {**RATE, "trials": 11},
    },
    "likeness": {"sigma_curve": {"low": 0.5, "high": 0.9, "pairs": 84, "families": 7}},
}
KNOWN = {
    "null": {
        "version": "0.1.0",
        "pairs": 21,
        "comparisons": 42,
        "none_found": 41,
        "label_sets": 3704,
        "reached": {"1": 7, "2": 1, "3": 0},
        "allowed": {"1": 370, "2": 37, "3": 3},
    },
    "likeness": {"sigma_curve": {"low": -0.001, "high": 0.7691, "pairs": 21}},
}


def test_the_packaged_counts_add_up() -> None:
    known = measured_null()
    assert known == json.loads((files("filiation") / "validation.json").read_text(encoding="utf-8"))
    assert known is not None
    null = known["null"]
    assert null["comparisons"] == 2 * null["pairs"]
    assert 0 < null["none_found"] <= null["comparisons"]
    assert null["allowed"] == {k: null["label_sets"] // 10 ** int(k) for k in ("1", "2", "3")}
    assert all(null["reached"][k] <= null["allowed"][k] for k in ("1", "2", "3"))
    assert all(row["low"] <= row["high"] for row in known["likeness"].values())


def test_one_passage_says_what_was_measured_and_what_was_not() -> None:
    text = measured(EN, KNOWN)
    assert text is not None
    for words in ("21 pairs", "41 of 42 comparisons", "3,704 single e-values, 7, 1, 0", "about 370, 37, 3"):
        assert words in text
    assert "Nothing was measured on large models" in text


@pytest.mark.parametrize(
    "validation", [{}, {"null": 3}, {"null": {**KNOWN["null"], "pairs": "many"}}, {"x": []}]
)
def test_figures_that_are_not_known_are_not_worded(validation: dict[str, object]) -> None:
    assert measured(EN, validation) == EN.say("validation", "other")
    assert strangers(EN, validation, "sigma_curve") is None


def test_rates_on_bred_lineages_follow_with_their_intervals() -> None:
    text = measured(EN, {**KNOWN, "lab": LAB})
    assert text is not None
    assert text.startswith(str(measured(EN, KNOWN)))
    for words in (
        "215 small models",
        "zoo 0123456789ab, 1,234 comparisons on 2026-11-22",
        "Of 100 pairs",
        "90 ended with a relation that counts as right (exact 95 % interval: 82.4\u00a0% to 95.1\u00a0%)",
        "of 99 asked how it was made, 80 named it, and 7 left it open",
        "0 of 300 pairs that share nothing (at most 1.2\u00a0%)",
        "0 of 6 pairs that were distilled or dressed up",
        "0 of 11 pairs of one draw",
    ):
        assert words in text
    assert "{" not in str(measured(phrases("zh-CN"), {**KNOWN, "lab": LAB}))
    here = strangers(EN, {**KNOWN, "lab": LAB}, "sigma_curve")
    assert (
        here
        == "independent small models of one shape, measured with this tool: 0.50 to 0.90 (84 pairs of 7 families)"
    )


@pytest.mark.parametrize("lab", [{}, {"rates": 3}, {**LAB, "rates": {}}, {**LAB, "models": True}])
def test_rates_that_are_not_known_leave_the_rest_as_it_is(lab: dict[str, object]) -> None:
    assert measured(EN, {**KNOWN, "lab": lab}) == measured(EN, KNOWN)


def test_the_packaged_rates_are_of_a_zoo_and_add_up() -> None:
    known = measured_null()
    assert known is not None
    lab = known["lab"]
    assert lab["recipe"] == "standard"
    assert len(lab["zoo_sha256"]) == 64
    for rate in lab["rates"].values():
        assert 0 <= rate["low"] <= (rate["share"] or 0.0) <= rate["high"] <= 1
        assert rate["trials"] == 0 or rate["share"] == pytest.approx(rate["count"] / rate["trials"])
    assert lab["rates"]["independent_called_common_origin"]["count"] == 0
    assert all(row["low"] <= row["high"] and row["families"] for row in lab["likeness"].values())


def test_nothing_measured_is_said() -> None:
    assert measured(EN, None) is None
    for name in ("terminal", "markdown", "html"):
        assert EN.say("ui", "not_validated") in " ".join(renderer(name).render(full_report(), EN).split())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_every_renderer_tells_it_beside_the_statistic_and_once_in_full(name: str, language: str) -> None:
    said = phrases(language)
    text = renderer(name).render(replace(full_report(), validation=KNOWN), said)
    flat = "".join(text.split())
    assert said.say("ui", "not_validated") not in text
    assert "3,704" in flat
    here = strangers(said, KNOWN, "sigma_curve")
    assert here is not None
    assert "0.00" in here  # no minus before a zero
    assert "−0.00" not in here
    assert "".join(here.split()) in flat.replace("│", "") or name == "terminal"
