"""What a report prints adds up to its headline: rows, payment, stage, on every pair of the demo and on made ones."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.model import Symmetry
from filiation.cli.demo import PAIRS
from filiation.comparison import compare_models
from filiation.evidence import Effect, Evidence, Location, Report, Scale, Wing
from filiation.lab.save import load_model, save_model
from filiation.origin import evalues, labelset
from filiation.origin.labelset import COUNTED_AS, Subject, combine, label_set
from filiation.report import html, markdown, terminal
from filiation.report.sums import Sum, SumRow, lines, sums
from filiation.report.wording import LANGUAGES, phrases
from tests.comparison.test_arranged import arranged, with_gains, with_one_layer

EN = phrases("en")
MODELS = Path(__file__).parents[2] / "examples" / "models"
#: What printing with one decimal can lose, a row.
ROUNDING = 0.05


@cache
def compared(suspect: str, candidate: str) -> Report:
    return compare_models(str(MODELS / suspect), [str(MODELS / candidate)])


def printed(figure: str) -> float:
    return float(figure.replace("−", "-").replace(",", ""))


@pytest.mark.parametrize(("suspect", "candidate"), PAIRS)
def test_the_rows_reconcile_with_the_headline(suspect: str, candidate: str) -> None:
    report = compared(suspect, candidate)
    headline = report.verdict.log10_e
    (total,) = sums(EN, report.evidence)
    assert headline is not None
    assert total.log10_e == pytest.approx(headline, abs=1e-6)
    assert -1e-6 <= total.paid <= total.most_paid + 1e-6
    if total.rests_on_mean:
        strongest = max(e.log10_e for e in report.evidence if e.log10_e is not None)
        assert headline <= total.mean + 1e-6 <= strongest + 1e-6
        assert headline >= total.mean - total.most_paid - 1e-6
        return
    together = sum(printed(row.figure) for row in total.rows)
    slack = ROUNDING * len(total.rows)
    assert headline <= together + slack
    assert headline >= together - total.most_paid - slack


@pytest.mark.parametrize(("suspect", "candidate"), PAIRS)
def test_each_stage_is_what_the_walk_found(suspect: str, candidate: str) -> None:
    report = compared(suspect, candidate)
    (total,) = sums(EN, report.evidence)
    walked = {EN.name("stage", row["name"]): row["log10_e"] for row in report.extra["stages"]}
    for name, value in total.others:
        assert value == pytest.approx(walked.pop(name), abs=1e-6)
    (value,) = walked.values()
    halves = evalues.log_mean([total.added * evalues.LOG10, total.mean * evalues.LOG10]) / evalues.LOG10
    assert halves == pytest.approx(value, abs=1e-6)


def test_the_stage_that_carries_the_verdict_is_the_one_that_is_printed() -> None:
    report = compared("laundered", "fine-tuned")
    (total,) = sums(EN, report.evidence)
    assert total.stage == "rotated"
    figures = {row.symmetry: row.log10_e for row in total.rows}
    assert figures["ffn_sign"] == pytest.approx(164.3, abs=0.1)
    assert figures["value_order"] == pytest.approx(153.8, abs=0.1)
    assert figures["value_sign"] == pytest.approx(51.9, abs=0.1)
    for text in (
        terminal.render(report, EN),
        html.render(report, EN).partition('id="evidence"')[2].partition("<details>")[0],
        markdown.render(report, EN).partition("### Residual")[0],
    ):
        flat = " ".join(text.split())
        assert "8 of 1,152" not in flat
        assert "576 of 576 neurons carry" in flat
        assert "Rotation fitted on shared tokens" in flat
        assert "Same layers, same channels −0.6" in flat


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_renderer_prints_the_sum_and_what_was_paid(language: str) -> None:
    report, said = compared("laundered", "fine-tuned"), phrases(language)
    (total,) = sums(said, report.evidence)
    (added, *_) = lines(said, total, (total,))
    assert re.findall(r"\d+\.\d|\d{3}", added) == ["369.8", "1.3", "1.3", "368"]
    squeezed = re.sub(r"\s+|\\", "", added)
    for text in (
        terminal.render(report, said),
        html.render(report, said),
        markdown.render(report, said),
    ):
        assert squeezed in re.sub(r"\s+|\\", "", text)


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One copied layer beside five whose neurons were put in order, and all gains copied."""
    folder = tmp_path_factory.mktemp("framed") / "stranger"
    accused, _ = load_model(MODELS / "base")
    stranger, config = load_model(MODELS / "twin")
    save_model(folder, with_gains(arranged(with_one_layer(stranger, accused), accused), accused), config)
    return compare_models(str(folder), [str(MODELS / "base")])


def test_rows_add_up_to_the_headline_where_contents_deny_layers(framed: Report) -> None:
    (total,) = sums(EN, framed.evidence)
    headline = framed.verdict.log10_e
    assert headline is not None
    assert total.log10_e == pytest.approx(headline, abs=1e-6)
    together = sum(printed(row.figure) for row in total.rows)
    assert headline == pytest.approx(together - total.paid, abs=ROUNDING * len(total.rows))
    walked = {EN.name("stage", row["name"]): row["log10_e"] for row in framed.extra["stages"]}
    for name, value in total.others:
        assert value == pytest.approx(walked.pop(name), abs=1e-6)
    aside = {(row.symmetry, row.shows): row for row in total.aside}
    denied = aside["ffn_order", EN.find("shows", "labels_without_contents")]
    assert {e.part.layer for e in denied.evidence} == {1, 2, 3, 4, 5}
    assert denied.log10_e > 1000
    (order,) = (row for row in total.rows if row.symmetry == "ffn_order")
    assert {e.part.layer for e in order.evidence} == {0}
    assert ("residual_order", EN.find("shows", "gains_can_be_copied")) in aside


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_renderer_shows_what_is_not_counted_outside_of_the_sum(framed: Report, language: str) -> None:
    said = phrases(language)
    (total,) = sums(said, framed.evidence)
    for text in (
        terminal.render(framed, said),
        html.render(framed, said),
        markdown.render(framed, said),
    ):
        flat = re.sub(r"\s+|\\", "", text)
        heading = re.sub(r"\s+", "", said.say("ui", "aside"))
        (added, *_) = lines(said, total, (total,))
        assert flat.index(re.sub(r"\s+", "", added)) < flat.index(heading)
        assert said.name("relation", "shared_parts").replace(" ", "") in flat
        below = flat.partition(heading)[2]
        for row in total.aside:
            assert row.figure in below
            # Cells of the terminal's table stand between the words; the first of them say enough.
            assert re.sub(r"\s+", "", row.shows or "")[:12] in below


def test_views_that_do_not_count_are_no_part_of_their_label_set() -> None:
    gains, embedding = (
        replace(
            record(0, bans, test="residual_order"),
            id=f"origin.residual_order/residual_order/language/{detail}/stage=direct",
            label_set="channels",
        )
        for detail, bans in (("gains", 500.0), ("embedding", 40.0))
    )
    none = replace(gains, effect=(Effect(COUNTED_AS, 0.0),), shows="shows.gains_can_be_copied")
    (total,) = sums(EN, [none, embedding])
    assert total.rows[0].log10_e == pytest.approx(40.0 - 2 * math.log10(2))
    assert [row.log10_e for row in total.aside] == [500.0]
    (total,) = sums(EN, [none, record(1, 9.0)])
    assert total.added == pytest.approx(9.0 - math.log10(2))


def test_a_single_label_set_is_not_said_to_be_few_of_many() -> None:
    (total,) = sums(EN, [record(0, 826.2)])
    assert not total.rests_on_mean
    assert 0 <= total.paid <= total.most_paid
    assert lines(EN, total, (total,))[0].startswith("The rows add up to 825.9.")


def test_a_figure_that_rests_on_likeness_and_not_on_counts_says_so() -> None:
    counted = replace(record(0, -0.2), statistic=2.0, n=384)
    liked = replace(record(0, 86.0, test="ffn_order_diagonal"), statistic=21.4, statistic_name="z")
    (total,) = sums(EN, [counted, liked])
    (text,) = total.rows[0].found
    assert text.startswith("2 of 384 neurons of layer 0 sit in the same place; one would by chance; ")
    assert text.endswith("21.4 standard deviations from chance")
    (total,) = sums(EN, [replace(counted, log10_e=30.0), liked])
    assert "standard deviations" not in total.rows[0].found[0]


def test_weak_labels_of_parts_that_are_not_named_stay_in_their_row_and_add_nothing() -> None:
    weak = replace(record(1, 2.5), effect=(Effect(COUNTED_AS, 0.0),), shows="shows.part_not_named")
    (total,) = sums(EN, [record(0, 30.0), weak])
    assert total.aside == ()
    assert len(total.rows[0].evidence) == 2
    assert total.rows[0].log10_e == pytest.approx(30.0 - math.log10(2))


def record(
    n: int, log10_e: float, *, test: str = "ffn_order", stage: str = "direct", share: float = 1.0
) -> Evidence:
    return Evidence(
        id=f"origin.{test}/{subject(n, stage).identity}",
        wing=Wing.ORIGIN,
        question="question.ffn_order",
        part=Location("language", n),
        scale=Scale.EXACT,
        test=test,
        statistic=1.0,
        expected=1.0,
        n=64,
        log10_e=log10_e,
        label_set=label_set(subject(n, stage)),
        symmetry="ffn_order",
        effect=(Effect(COUNTED_AS, share),) if share != 1.0 else (),
    )


def subject(n: int, stage: str = "direct") -> Subject:
    return Subject(Symmetry.FFN_ORDER, Location("language", n), stage)


LAYER = st.tuples(st.floats(-5, 300), st.floats(-5, 300), st.sampled_from([1.0, 0.5, 0.25]))


@given(st.lists(LAYER, min_size=1, max_size=12))
def test_the_records_add_up_as_the_walk_adds_up(layers: list[tuple[float, float, float]]) -> None:
    records: list[Evidence] = []
    tested: list[labelset.Tested] = []
    for n, (first, second, share) in enumerate(layers):
        pair = (record(n, first, share=share), record(n, second, test="ffn_order_diagonal", share=share))
        records += pair
        log_e = evalues.log_mean([first * evalues.LOG10, second * evalues.LOG10])
        tested.append(labelset.Tested(subject(n), log_e, pair, applied=True, share=share))
    (total,) = sums(EN, records)
    at_stage = combine(tested) / evalues.LOG10
    assert total.log10_e == pytest.approx(at_stage - 0.30103, abs=1e-4)  # the stage weighs a half
    assert -1e-9 <= total.paid <= total.most_paid + 1e-9


def test_one_layer_among_many_counts_by_the_mean_and_is_told_so() -> None:
    (total,) = sums(EN, [record(0, 20.0), *(record(n, -4.0) for n in range(1, 90))])
    assert total.rests_on_mean
    assert total.added < 0 < total.log10_e < 20.0
    (text,) = lines(EN, total, (total,))
    assert text.startswith(
        "Few labels agree here, or none do, so that the mean over the 90 label sets counts"
    )


def test_the_rows_are_of_the_stage_whose_weighted_figure_is_largest() -> None:
    rows = [record(0, 10.0), record(0, 10.2, stage="rotated")]
    (total,) = sums(EN, rows)
    assert (total.stage, len(total.rows)) == ("direct", 1)
    (total,) = sums(EN, [record(0, 10.0), record(0, 40.0, stage="rotated")])
    assert total.stage == "rotated"
    assert total.most_paid == pytest.approx(1.30103, abs=1e-5)


@given(
    st.lists(
        st.tuples(st.floats(-3, 3), st.sampled_from(["direct", "aligned", "rotated", "basis_free"])),
        min_size=1,
    )
)
def test_the_payment_is_never_negative_and_never_more_than_stated(found: list[tuple[float, str]]) -> None:
    total: Sum
    for total in sums(EN, [record(n, value, stage=stage) for n, (value, stage) in enumerate(found)]):
        assert -1e-9 <= total.paid <= total.most_paid + 1e-9


def test_components_are_told_apart_and_said_to_be_averaged() -> None:
    mine = record(0, 30.0)
    other = replace(
        mine, id=mine.id.replace("language", "vision"), part=Location("vision", 0), label_set="vision"
    )
    found = sums(EN, [other, mine])
    assert [total.component for total in found] == ["language", "vision"]
    assert lines(EN, found[0], found)[-1] == (
        "The figures of several components are averaged, not added; one that a finding does not name counts as zero."
    )


def test_where_every_unit_agrees_too_few_are_no_sign_of_strangers() -> None:
    def row(units: int, log10_e: float) -> SumRow:
        agreeing = replace(TWO_GROUPS, statistic=float(units), log10_e=log10_e)
        (total,) = sums(phrases("en"), [agreeing])
        (only,) = total.rows
        return only

    assert row(2, 0.1).strength == "undecided"
    assert row(1, -0.2).strength == "none"
    assert row(2, 7.0).strength == "strong"


TWO_GROUPS = Evidence(
    id="origin.kv_group_order/kv_group_order/language/layer=0/stage=direct",
    wing=Wing.ORIGIN,
    test="kv_group_order",
    question="",
    part=Location(component="language", layer=0, candidate_layer=0, role="heads"),
    scale=Scale.EXACT,
    statistic=2.0,
    statistic_name="units_in_place",
    n=2,
    expected=1.0,
    log10_e=0.1,
    symmetry="kv_group_order",
    label_set="kv/0",
)
