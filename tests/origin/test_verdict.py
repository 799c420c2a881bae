from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.model import Symmetry
from filiation.evidence import Location, Relation
from filiation.origin import TESTS, labelset
from filiation.origin.examine import Examination, Stage, examine
from filiation.origin.history import History, Shared
from filiation.origin.labelset import Subject
from filiation.origin.overall import over_components, word_verdict
from filiation.origin.pairing import Plan, TokenRows
from filiation.origin.towers import TowerPair, over_towers
from filiation.origin.verdict import Finding, judge
from filiation.report.wording import LANGUAGES, phrases
from tests.origin.models import dissected, examined, llama

PLAN = Plan("0" * 64, whole=True)


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
    assert found.reasons == ("why", "others_show_none")
    nothing = over_components({"language": finding(Relation.CANNOT_TEST, None)}, ["language"])
    assert (nothing.relation, nothing.log10_e) == (Relation.CANNOT_TEST, None)


def of_tower(relation: Relation, log10_e: float, name: str, *reasons: str) -> Finding:
    return Finding(relation, log10_e, (f"{name}: layers 0-3",), reasons, 4, 4)


def test_a_tower_that_shares_its_start_is_no_part_consistent_with_descent() -> None:
    """Beside an unrelated tower, or one that could not be tested, it stays what it is by itself."""
    started = of_tower(Relation.SHARED_INITIALISATION, 400.0, "language", "history_absent")
    nothing = of_tower(Relation.NONE_FOUND, -0.5, "vision", "no_test_rejected")
    for both in ({"language": started, "vision": nothing}, {"language": started}):
        found = over_components(both, ["language", "vision"])
        assert found.relation is Relation.SHARED_INITIALISATION
        assert found.scope == ("language: layers 0-3",)
        assert found.reasons == ("history_absent", "others_show_none")
        assert found.inherited == 0


def test_of_two_towers_the_one_that_only_shares_its_start_is_neither_named_nor_counted() -> None:
    both = {
        "language": of_tower(Relation.SHARED_INITIALISATION, 400.0, "language", "history_absent"),
        "vision": of_tower(Relation.COMMON_ORIGIN, 30.0, "vision"),
    }
    found = over_components(both, ["language", "vision"])
    assert found.relation is Relation.SHARED_PARTS
    assert found.scope == ("vision: layers 0-3",)
    assert found.reasons == ("others_share_initialisation",)
    assert found.log10_e == pytest.approx(30.0 - math.log10(2))
    assert (found.inherited, found.tested) == (4, 8)


def test_labels_arranged_in_one_tower_do_not_count_for_another() -> None:
    both = {
        "language": of_tower(Relation.SUGGESTIVE, 1000.0, "language", "labels_without_contents"),
        "vision": of_tower(Relation.SHARED_PARTS, 20.0, "vision", "less_than_half_of_layers"),
    }
    found = over_components(both, ["language", "vision"])
    assert found.relation is Relation.SHARED_PARTS
    assert found.log10_e == pytest.approx(20.0 - math.log10(2))
    assert found.reasons == ("less_than_half_of_layers", "others_show_none")
    assert found.inherited == 4


def test_labels_arranged_against_one_tower_do_not_count_for_the_relative_in_another() -> None:
    pairs = [
        TowerPair("language", "language", "language", True),
        TowerPair("language", "language:ema", "x", True),
    ]
    found = over_towers(
        pairs,
        {
            "language": of_tower(Relation.SUGGESTIVE, 1000.0, "language", "labels_without_contents"),
            "x": of_tower(Relation.COMMON_ORIGIN, 30.0, "x"),
        },
    )["language"]
    assert found.relation is Relation.COMMON_ORIGIN
    assert found.log10_e == pytest.approx(30.0 - math.log10(2))


@given(st.lists(st.sampled_from(list(Relation)[1:]), min_size=1, max_size=4), st.integers(0, 2))
def test_a_finding_never_says_that_no_test_rejected(relations: list[Relation], missing: int) -> None:
    findings = {
        f"tower {n}": of_tower(
            r, 40.0, f"tower {n}", "no_test_rejected" if r is Relation.NONE_FOUND else str(r)
        )
        for n, r in enumerate(relations)
    }
    components = [*findings, *(f"missing {n}" for n in range(missing))]
    found = over_components(findings, components)
    if found.relation is not Relation.NONE_FOUND:
        assert "no_test_rejected" not in found.reasons
    if found.relation in (Relation.SHARED_PARTS, Relation.SHARED_INITIALISATION):
        assert found.scope
        assert found.reasons
    starts = {f"{n}: layers 0-3" for n, f in findings.items() if f.relation is Relation.SHARED_INITIALISATION}
    if found.relation in (Relation.COMMON_ORIGIN, Relation.SHARED_PARTS):
        assert not starts & set(found.scope)


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
    assert found.reasons == ("history_not_measured", "gains_can_be_copied")


@cache
def a_stage() -> Stage:
    best = examined(llama(1), llama(1)).best
    assert best is not None
    return best


def label_set(symmetry: Symmetry, layer: int | None, bans: float, detail: str = "") -> labelset.Tested:
    role = "residual" if layer is None else "ffn"
    subject = Subject(symmetry, Location("language", layer, role), "direct", detail)
    return labelset.Tested(subject, bans * math.log(10), (), applied=True)


evidence = st.one_of(st.floats(-1, 4), st.floats(-1, 40))
histories = st.sampled_from(Shared).map(lambda s: History(s, "gains", 0.9, 0.9, 9, 0.9, 9))


@given(
    gains=evidence,
    columns=evidence,
    signs=evidence,
    layers=st.lists(evidence, max_size=6),
    considered=st.integers(0, 8),
    history=st.none() | histories,
)
def test_shared_parts_always_names_a_part(
    gains: float,
    columns: float,
    signs: float,
    layers: list[float],
    considered: int,
    history: History | None,
) -> None:
    residual = (
        label_set(Symmetry.RESIDUAL_ORDER, None, gains, "gains"),
        label_set(Symmetry.RESIDUAL_ORDER, None, columns, "embedding"),
        label_set(Symmetry.RESIDUAL_SIGN, None, signs, "embedding"),
    )
    blocks = tuple(label_set(Symmetry.FFN_ORDER, n, bans) for n, bans in enumerate(layers))
    stage = replace(a_stage(), residual=residual, blocks=blocks, considered=max(considered, len(layers)))
    found = judge(Examination("language", (stage,)), history)
    if found.relation in (Relation.SHARED_PARTS, Relation.COMMON_ORIGIN):
        assert found.scope
    assert found.inherited <= found.tested
    if found.relation is Relation.COMMON_ORIGIN:
        assert history is not None
        assert history.shared is Shared.TRAINING


def test_blocks_that_pass_the_line_only_together_are_all_named() -> None:
    """What a faint blend of all weights leaves: no layer reaches its line, all together pass theirs."""
    residual = (label_set(Symmetry.RESIDUAL_ORDER, None, 90.0, "embedding"),)
    blocks = tuple(label_set(Symmetry.FFN_ORDER, n, 2.5) for n in range(6))
    stage = replace(a_stage(), residual=residual, blocks=blocks, considered=6)
    looked_at = History(Shared.UNKNOWN, "none", None, None, 0, None, 0, channels_stand_out=0.9)
    found = judge(Examination("language", (stage,)), looked_at)
    assert found.relation is Relation.SHARED_PARTS
    assert found.reasons == ("blocks_only_together",)
    assert found.scope == ("language: layers 0-5", "language: token embeddings")


@pytest.mark.parametrize(
    ("standing", "reason"),
    [(None, "arrangement_not_checked"), (0.12, "labels_without_contents"), (0.9, "residual_only")],
)
def test_embeddings_are_called_shared_only_where_their_contents_were_seen(
    standing: float | None, reason: str
) -> None:
    stage = replace(
        a_stage(),
        residual=(label_set(Symmetry.RESIDUAL_ORDER, None, 90.0, "embedding"),),
        blocks=(),
        considered=6,
    )
    history = History(Shared.UNKNOWN, "none", None, None, 0, None, 0, channels_stand_out=standing)
    found = judge(Examination("language", (stage,)), history)
    assert found.reasons == (reason,)
    seen = standing == 0.9
    assert found.relation is (Relation.SHARED_PARTS if seen else Relation.SUGGESTIVE)
    assert found.scope == (("language: token embeddings",) if seen else ())


def test_what_cannot_be_checked_for_arrangement_is_no_finding() -> None:
    unchecked = History(Shared.UNCHECKED, "gains", 0.99, 1.0, 9, 0.2, 64)
    found = judge(examined(llama(1), llama(1)), unchecked)
    assert found.relation is Relation.SUGGESTIVE
    assert found.reasons == ("arrangement_not_checked",)


@pytest.mark.parametrize(
    ("shared", "reason"), [(192, "different_widths_no_layers"), (10, "different_widths_no_shared_tokens")]
)
def test_tokens_that_are_shared_are_not_denied_where_widths_differ(shared: int, reason: str) -> None:
    ids = np.arange(shared)
    models = dissected(llama(1)), dissected(llama(2, width=64, ffn=112))
    found = examine(*models, "language", PLAN, TokenRows(ids, ids, by_string=False), TESTS)
    assert judge(found, None).reasons == (reason,)
    assert all(phrases(language).resolve(reason, "reason") for language in LANGUAGES)
