from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.model import Symmetry
from filiation.evidence import Location, Scale, Status
from filiation.origin import TESTS, evalues, labelset
from filiation.origin.labelset import Subject, combine, grouped, label_set, rng_for, run
from tests.origin.units import channels, drawn, ffn

LOGS = st.floats(-30, 30)


def subject(symmetry: Symmetry = Symmetry.FFN_ORDER, layer: int | None = 3, detail: str = "") -> Subject:
    return Subject(symmetry, Location("language", layer, "ffn", layer), "direct", detail)


def of_layer(log_e: float, layer: int, share: float = 1.0) -> labelset.Tested:
    return labelset.Tested(subject(layer=layer), log_e, (), applied=True, share=share)


def test_identity_encodes_what_changes_the_value() -> None:
    plain = Subject(Symmetry.FFN_ORDER, Location("language", 3, "ffn", 3), "direct")
    others = [
        Subject(Symmetry.FFN_SIGN, plain.part, "direct"),
        Subject(Symmetry.FFN_ORDER, Location("language", 4, "ffn", 4), "direct"),
        Subject(Symmetry.FFN_ORDER, Location("language", 3, "ffn", 5), "direct"),
        Subject(Symmetry.FFN_ORDER, Location("vision", 3, "ffn", 3), "direct"),
        Subject(Symmetry.FFN_ORDER, plain.part, "aligned"),
        Subject(Symmetry.FFN_ORDER, plain.part, "direct", "units=0-64"),
        Subject(Symmetry.FFN_ORDER, plain.part, "direct", candidate=1),
    ]
    assert len({s.identity for s in [plain, *others]}) == 8
    same = [label_set(s) == label_set(plain) for s in others]
    assert same == [False, False, True, False, True, True, True]


def test_generators_are_fixed_by_seed_and_name() -> None:
    draws = {name: rng_for("seed", name).integers(2**60) for name in ("a", "b")}
    assert draws["a"] == rng_for("seed", "a").integers(2**60) != draws["b"]
    assert rng_for("other", "a").integers(2**60) != draws["a"]


def test_only_tests_of_the_symmetry_run() -> None:
    assert [t.name for t in labelset.tests_for(Symmetry.FFN_ORDER, TESTS)] == [
        "order",
        "diagonal",
        "subsequence",
    ]
    assert [t.name for t in labelset.tests_for(Symmetry.VALUE_SIGN, TESTS)] == ["sign", "sign_in_place"]
    rows = drawn(0, 40, 16)
    equal = run(subject(), [(ffn(rows), ffn(rows))], TESTS, "seed")
    assert [e.test for e in equal.evidence] == ["ffn_order", "ffn_order_diagonal"]
    unequal = run(subject(), [(ffn(rows[:30]), ffn(rows))], TESTS, "seed")
    assert [e.test for e in unequal.evidence] == ["ffn_order_subsequence"]


def test_tests_of_one_label_set_are_averaged() -> None:
    rows = drawn(0, 40, 16)
    found = run(subject(), [(ffn(rows), ffn(rows))], TESTS, "seed")
    logs = [e.log10_e for e in found.evidence]
    assert found.log10_e == pytest.approx(math.log10(np.mean([10.0**x for x in logs if x is not None])))
    assert found.matched == found.n == 40
    assert {e.scale for e in found.evidence} == {Scale.EXACT}


def test_a_pair_without_live_units_counts_as_one() -> None:
    """Two experts, one of them dead: its e-value is 1, not left out."""
    rows = drawn(0, 40, 16)
    dead = ffn(np.zeros((40, 16)))
    alone = run(subject(), [(ffn(rows), ffn(rows))], TESTS, "seed")
    both = run(subject(), [(ffn(rows), ffn(rows)), (dead, dead)], TESTS, "seed")
    assert both.log_e == pytest.approx(alone.log_e - math.log(2), abs=0.01)
    nothing = run(subject(), [(dead, dead)], TESTS, "seed")
    assert not nothing.applied
    assert {e.status for e in nothing.evidence} == {Status.NOT_APPLICABLE}
    assert {e.reason for e in nothing.evidence} == {"too_few_units"}


def test_sign_records_say_how_many_agree() -> None:
    rows = drawn(0, 40, 16)
    found = run(subject(Symmetry.RESIDUAL_SIGN, None), [(channels(rows), channels(rows))], TESTS, "seed")
    record = found.evidence[0]
    assert (record.test, record.statistic, record.expected, record.n) == ("residual_sign", 40, 20.0, 40)
    (share,) = record.effect
    assert share.low is not None
    assert share.low < share.value == 1.0


def test_views_of_one_label_set_are_averaged_before_they_are_multiplied() -> None:
    gains = labelset.Tested(subject(Symmetry.RESIDUAL_ORDER, None, "gains"), 10.0, (), applied=True)
    embedding = labelset.Tested(subject(Symmetry.RESIDUAL_ORDER, None, "embedding"), 20.0, (), applied=True)
    (only,) = grouped([gains, embedding]).values()
    assert only[0] == pytest.approx(evalues.log_mean([10.0, 20.0]))
    absent = labelset.Tested(subject(layer=9), 50.0, (), applied=False)
    assert combine([gains, embedding, absent]) == combine([gains, embedding])
    assert combine([absent]) == 0.0


@given(st.lists(LOGS, min_size=1, max_size=8))
def test_half_product_half_mean(logs: list[float]) -> None:
    together = combine([of_layer(x, layer=i) for i, x in enumerate(logs)])
    e = np.exp(np.array(logs))
    assert math.exp(together) == pytest.approx(0.5 * np.prod((1 + e) / 2) + 0.5 * e.mean(), rel=1e-9)


def test_combinations_of_exact_e_values_are_exact() -> None:
    """Every way three independent label sets can come out, among them two copies with shares of a half."""
    outcomes = {0.25: 3.1, 0.75: 0.3}  # mean 1
    mean = 0.0
    for picks in product(outcomes.items(), repeat=3):
        weight = math.prod(p for p, _ in picks)
        mean += weight * math.exp(combine([of_layer(math.log(e), layer=i) for i, (_, e) in enumerate(picks)]))
    assert mean == pytest.approx(1.0)
    copied, twice = 0.0, 0.0
    for (p, e), (q, f) in product(outcomes.items(), repeat=2):
        sets = [of_layer(math.log(f), layer=0), *(of_layer(math.log(e), layer=i, share=0.5) for i in (1, 2))]
        copied += p * q * math.exp(combine(sets))
        twice += p * q * math.exp(combine([of_layer(math.log(e), layer=i) for i in (1, 2)]))
    assert copied <= 1 + 1e-9
    assert twice > 1.1


def test_one_grafted_layer_among_many_foreign_ones_is_seen() -> None:
    foreign = [of_layer(-0.5, layer=i) for i in range(60)]
    assert combine([*foreign, of_layer(40.0, layer=99)]) > 40 - math.log(200)
