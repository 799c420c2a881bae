from __future__ import annotations

import math

import numpy as np
import pytest

from filiation.evidence import Relation
from filiation.origin.overall import over_components, word_verdict
from filiation.origin.verdict import Finding, judge
from tests.origin.models import examined, llama


def finding(relation: Relation, log10_e: float | None) -> Finding:
    return Finding(relation, log10_e, ("here",), ("why",), 2, 4)


def test_components_are_averaged() -> None:
    """Two towers may have begun as copies of one another: their e-values do not multiply."""
    both = {"language": finding(Relation.COMMON_ORIGIN, 9.0), "vision": finding(Relation.COMMON_ORIGIN, 8.0)}
    found = over_components(both, ["language", "vision"])
    assert found.relation is Relation.COMMON_ORIGIN
    assert found.log10_e == pytest.approx(math.log10(np.mean([1e9, 1e8])))


def test_one_shared_tower_is_a_shared_part() -> None:
    both = {"language": finding(Relation.COMMON_ORIGIN, 900.0), "vision": finding(Relation.NONE_FOUND, -0.5)}
    found = over_components(both, ["language", "vision"])
    assert found.relation is Relation.SHARED_PARTS
    assert found.scope == ("here",)
    nothing = over_components({"language": finding(Relation.CANNOT_TEST, None)}, ["language"])
    assert (nothing.relation, nothing.log10_e) == (Relation.CANNOT_TEST, None)


def test_the_best_of_several_candidates_is_paid_for() -> None:
    suggestive = finding(Relation.SUGGESTIVE, 2.5)
    assert word_verdict(suggestive, 0, 1, (), identical=False).relation is Relation.SUGGESTIVE
    one_of_ten = word_verdict(suggestive, 0, 10, (), identical=False)
    assert one_of_ten.log10_e == pytest.approx(1.5)
    assert one_of_ten.relation is Relation.NONE_FOUND
    assert one_of_ten.false_positive_bound == pytest.approx(10**-1.5)
    assert (
        word_verdict(finding(Relation.NONE_FOUND, -1.0), 0, 1, (), identical=False).false_positive_bound
        == 1.0
    )


def test_a_finding_that_falls_below_the_line_by_its_price_is_no_finding() -> None:
    """6.5 bans for the best of ten candidates are 5.5."""
    strong = word_verdict(finding(Relation.COMMON_ORIGIN, 6.5), 0, 10, (), identical=False)
    assert strong.log10_e == pytest.approx(5.5)
    assert strong.relation is Relation.SUGGESTIVE


def test_without_history_no_common_origin_is_claimed() -> None:
    base = llama(1)
    found = judge(examined(base, base), None)
    assert found.relation is Relation.SHARED_PARTS
    assert found.reasons == ("history_not_measured",)
