"""Evidence sorted for a reader: nothing lost, stages apart, unknown tests shown under their own name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.evidence import Effect, Evidence, Location, Scale, Status, Wing
from filiation.report.beside import likeness, quantiles
from filiation.report.groups import groups, strength, together, untested
from filiation.report.sentences import (
    canonical,
    form_of,
    is_likeness,
    kind_of,
    limit_text,
    name_of_test,
    plain_text,
    reason_text,
    role_name,
)
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import SIGMA_BACKGROUND, ffn, full_report

EN = phrases("en")
TEXT = st.text(max_size=12)
COUNT = st.one_of(st.none(), st.floats(-1e9, 1e9))


@pytest.mark.parametrize(
    ("test", "kind", "form"),
    [
        ("ffn_order", "ffn", "units_in_place"),
        ("ffn_order_diagonal", "ffn", "z"),
        ("ffn_order_subsequence", "ffn", "longest_increasing_subsequence"),
        ("value_sign_in_place", "value", "equal_signs"),
        ("kv_group_order", "kv_group", "units_in_place"),
        ("basis_free_order", "ffn", "units_in_place"),
        ("gain_history", "history", None),
        ("a_strangers_test", "other", None),
    ],
)
def test_a_tests_name_says_what_it_reads(test: str, kind: str, form: str | None) -> None:
    assert (kind_of(test), form_of(test)) == (kind, form)


def test_long_names_of_tests_share_their_phrases() -> None:
    assert canonical("ffn_order_diagonal") == "ffn_diagonal"
    assert name_of_test(EN, "ffn_order_diagonal") == name_of_test(EN, "ffn_diagonal")
    assert name_of_test(EN, "a_strangers_test") == "a strangers test"


def test_every_applied_row_is_shown_once() -> None:
    report = full_report()
    shown = [row.evidence.id for g in groups(EN, report.evidence) for t in g.tests for row in t.rows]
    applied = [e for e in report.evidence if e.status is Status.APPLIED and e.wing is not Wing.DERIVATION]
    assert sorted(shown) == sorted(e.id for e in applied if not is_likeness(e))
    assert len(likeness(EN, report.evidence)) == sum(is_likeness(e) for e in applied)


def test_stages_are_not_added_up() -> None:
    (found,) = [g for g in groups(EN, full_report().evidence) if g.kind == "ffn"]
    orders = {t.view: t.plain for t in found.tests if t.test == "ffn_order"}
    assert len(orders) == 2
    assert "96,810 of 97,280" in orders[EN.name("stage", "aligned")]
    assert "7 of 38,912" in orders[EN.name("stage", "direct")]


def test_the_same_layer_and_another_layer_are_worded_apart() -> None:
    assert plain_text(EN, ffn(7, 7, "ffn_order", 4850.0, 4864, 1.0, 9.0, "direct")) == (
        "4,850 of 4,864 neurons of layer 7 sit in the same place; one would by chance"
    )
    moved = plain_text(EN, ffn(7, 9, "ffn_order", 4850.0, 4864, 2.0, 9.0, "direct"))
    assert "of layer 7 (layer 9 of the candidate)" in moved
    expert = ffn(7, 7, "ffn_order", 4850.0, 4864, 1.0, 9.0, "direct")
    expert = replace(expert, part=replace(expert.part, expert=3))
    assert "of layer 7, expert 3 sit" in plain_text(EN, expert)
    assert plain_text(phrases("zh-CN"), ffn(7, 7, "ffn_order", 4850.0, 4864, 1.0, 9.0, "direct")) == (
        "第 7 层的4,864 个神经元中有 4,850 个位置相同；偶然情况下预计 1 个"
    )


@pytest.mark.parametrize(
    ("value", "name"), [(None, "untested"), (1.99, "none"), (2.0, "suggestive"), (6.0, "strong")]
)
def test_strength_follows_the_lines_of_the_contract(value: float | None, name: str) -> None:
    assert strength(value) == name


def test_untested_rows_are_joined_by_reason() -> None:
    found = {(u.test, u.where): u.reason for u in untested(EN, full_report().evidence)}
    assert found["value_sign", "layers 0–19"].startswith("A norm follows")
    assert found["residual_sign", "layer 0"] == "a reason that no phrase file knows yet"


@given(
    TEXT,
    TEXT,
    COUNT,
    COUNT,
    st.one_of(st.none(), st.integers(0, 10**6)),
    COUNT,
    st.sampled_from(list(Status)),
)
def test_no_record_is_too_strange_to_be_worded(
    test: str,
    reason: str,
    x: float | None,
    expected: float | None,
    n: int | None,
    log10_e: float | None,
    status: Status,
) -> None:
    e = Evidence(
        id=f"origin.{test}",
        wing=Wing.ORIGIN,
        question=reason,
        part=Location("language", 1, test),
        status=status,
        reason=reason,
        scale=Scale.EXACT,
        test=test,
        statistic=x,
        expected=expected,
        n=n,
        log10_e=log10_e,
        shows=reason,
        cannot_show=(reason,),
    )
    for language in LANGUAGES:
        said = phrases(language)
        rows = [row for g in groups(said, [e, e]) for t in g.tests for row in t.rows]
        assert len(rows) + 2 * len(untested(said, [e])) == 2
        assert "{" not in "".join(row.plain for row in rows) or "{" in test + reason


def test_unknown_keys_are_shown_as_they_are() -> None:
    assert limit_text(EN, "no such limit") == "no such limit"
    assert reason_text(EN, "the router is tied") == "the router is tied"
    assert reason_text(EN, None) == "–"
    assert role_name(EN, "q.bias") == "query (bias)"
    assert role_name(EN, "something_new") == "something new"


def test_quantiles_are_understood_however_they_are_named() -> None:
    same = {0.05: 0.1, 0.5: 0.5, 0.95: 0.9, 1.0: 0.97}
    for names in (
        ("0.05", "0.5", "0.95", "1.0"),
        ("q05", "median", "q95", "max"),
        ("5%", "50 %", "p95", "maximum"),
    ):
        background = replace(SIGMA_BACKGROUND, quantiles=dict(zip(names, same.values(), strict=True)))
        assert quantiles(background) == same
    assert quantiles(replace(SIGMA_BACKGROUND, quantiles={"typical": 0.4})) == {}


def residual(detail: str, x: float) -> Evidence:
    return Evidence(
        id=f"origin.residual_order/residual_order/language/{detail}/stage=direct",
        wing=Wing.ORIGIN,
        question="question.residual_order",
        part=Location("language", None, "residual"),
        test="residual_order",
        symmetry="residual_order",
        statistic=x,
        expected=1.0,
        n=64,
        log10_e=x,
    )


def test_two_views_of_the_same_channels_are_not_added_up() -> None:
    (found,) = groups(EN, [residual("gains", 60.0), residual("embedding", 64.0)])
    assert {t.view: t.plain for t in found.tests} == {
        "norm gains": "60 of 64 residual channels sit in the same place; one would by chance",
        "token embeddings": "64 of 64 residual channels sit in the same place; one would by chance",
    }


def test_several_effect_sizes_are_all_named() -> None:
    effects = (Effect("gain_correlation", 0.829), Effect("weight_cosine", 0.81))
    e = replace(residual("", 0.829), test="history", symmetry=None, effect=effects, scale=Scale.CALIBRATED)
    (found,) = groups(EN, [replace(e, log10_e=None, shows="shows.history_training")])
    (test,) = found.tests
    assert found.kind == "history"
    assert test.plain == "Correlation of the gains 0.83; cosine of the matched weights 0.81"
    assert test.strength == "calibrated"
    assert test.shows == EN.find("shows", "history_training")


def test_reasons_that_lower_rooms_write_as_sentences_are_reworded() -> None:
    sentence = "the FFN has no gate and gelu is not odd: a neuron cannot change sign"
    assert reason_text(EN, sentence).startswith("The feed-forward layer has no gate and gelu is not odd")
    assert "gelu 不是奇函数" in reason_text(phrases("zh-CN"), sentence)
    blocked = "no experts; not in up, down, which are quantised in blocks along these units"
    assert reason_text(phrases("zh-CN"), blocked) == "没有专家。但 up, down 除外：它们沿这些单元分块量化。"


def test_a_row_of_several_layers_shows_them_together_and_each() -> None:
    rows = [ffn(layer, layer, "ffn_order", 10.0, 20, 1.0, e, "direct") for layer, e in ((0, 3.0), (1, 5.0))]
    rows = [replace(e, label_set=f"layer={e.part.layer}") for e in rows]
    ((test,),) = [g.tests for g in groups(EN, rows)]
    assert (test.bans, test.each, test.strength) == ("8.0", "log10 e of each layer: 3.0 to 5.0", "strong")
    ((test,),) = [g.tests for g in groups(EN, rows[:1])]
    assert (test.bans, test.each) == ("3.0", None)


def test_rows_of_one_label_set_are_averaged() -> None:
    rows = [ffn(0, 0, "ffn_order", 10.0, 20, 1.0, e, "direct") for e in (3.0, 3.0, -400.0)]
    rows = [replace(e, id=f"{e.id}/{n}", label_set="one") for n, e in enumerate(rows)]
    value = together(rows)
    assert value is not None
    assert value == pytest.approx(3.0 + math.log10(2 / 3))
    assert together([replace(rows[0], log10_e=None)]) is None
