"""A verdict counts the labels of the parts it names, and leaving others out never makes it stronger."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.model import Symmetry
from filiation.evidence import Evidence, Location, Relation, Scale, Status, Wing
from filiation.origin import evalues, labelset
from filiation.origin.counted import COPYABLE, DENIED, NOT_NAMED, UNCHECKED, Named, counted, marked
from filiation.origin.examine import Examination, Stage
from filiation.origin.history import History, Shared
from filiation.origin.labelset import COUNTED_AS, Subject, combine
from filiation.origin.verdict import judge
from tests.origin.models import examined, llama


@cache
def a_stage() -> Stage:
    best = examined(llama(1), llama(1)).best
    assert best is not None
    return best


def labels(
    symmetry: Symmetry,
    layer: int | None,
    bans: float,
    detail: str = "",
    stage: str = "direct",
    other: int | None = None,
) -> labelset.Tested:
    subject = Subject(symmetry, Location("language", layer, "x", other), stage, detail)
    return labelset.Tested(subject, bans * math.log(10), (), applied=True)


def walk(residual: list[labelset.Tested], blocks: list[labelset.Tested], considered: int) -> Examination:
    stage = replace(a_stage(), residual=tuple(residual), blocks=tuple(blocks), considered=considered)
    return Examination("language", (stage,))


def gains(bans: float) -> labelset.Tested:
    return labels(Symmetry.RESIDUAL_ORDER, None, bans, "gains")


def columns(bans: float) -> labelset.Tested:
    return labels(Symmetry.RESIDUAL_ORDER, None, bans, "embedding")


def neurons(layer: int, bans: float) -> labelset.Tested:
    return labels(Symmetry.FFN_ORDER, layer, bans)


def seen(contents: dict[int, float], **changes: object) -> History:
    found = History(Shared.TRAINING, "gains", 0.9, 0.9, 9, 0.9, 9, contents=contents)
    return replace(found, **changes)  # pyright: ignore[reportArgumentType]


def alone(layers: int, bans: float) -> float:
    """The evidence of one layer among others that agree by chance (e = 1), at a stage that weighs a half."""
    sets = [neurons(0, bans), *(neurons(n, 0.0) for n in range(1, layers))]
    return combine(sets) / evalues.LOG10 + math.log10(0.5)


def test_layers_whose_contents_disagree_add_nothing_to_the_headline() -> None:
    """One copied layer beside five that were put in order: 355 bans, not 2,130."""
    found = judge(
        walk([], [neurons(n, 355.0) for n in range(6)], 6), seen({0: 0.99} | dict.fromkeys(range(1, 6), 0.15))
    )
    assert found.relation is Relation.SHARED_PARTS
    assert found.scope == ("language: layers 0",)
    assert "more_labels_than_contents" in found.reasons
    assert found.log10_e == pytest.approx(alone(6, 355.0), abs=0.5)
    assert set(found.left_out.values()) == {DENIED}
    assert len(found.left_out) == 5


def test_denied_layers_of_a_common_origin_do_not_count_either() -> None:
    contents = dict.fromkeys(range(4), 0.9) | {4: 0.1, 5: 0.1}
    found = judge(walk([gains(80), columns(80)], [neurons(n, 300.0) for n in range(6)], 6), seen(contents))
    assert found.relation is Relation.COMMON_ORIGIN
    assert found.scope == ("language",)
    assert found.log10_e == pytest.approx(4 * 300 + 80, abs=3)


def test_contents_that_were_not_seen_are_told_apart_from_contents_that_disagree() -> None:
    found = judge(walk([], [neurons(n, 300.0) for n in range(6)], 6), seen({0: 0.9}))
    assert found.scope == ("language: layers 0",)
    assert set(found.left_out.values()) == {UNCHECKED}


def test_many_layers_too_weak_to_be_named_do_not_count() -> None:
    """A faint blend of all weights beside two copied layers: 2.5 bans a layer would add up to 70."""
    blocks = [neurons(0, 50.0), neurons(1, 50.0), *(neurons(n, 2.5) for n in range(2, 30))]
    found = judge(walk([], blocks, 30), seen({0: 0.9, 1: 0.9}))
    assert found.scope == ("language: layers 0-1",)
    assert found.log10_e is not None
    assert found.log10_e < 100
    assert set(found.left_out.values()) == {NOT_NAMED}


def test_gains_beside_copied_layers_are_neither_named_nor_counted() -> None:
    found = judge(
        walk([gains(500.0), columns(0.0)], [neurons(0, 60.0), neurons(1, 0.0), neurons(2, 0.0)], 6),
        seen({0: 0.9}),
    )
    assert found.relation is Relation.SHARED_PARTS
    assert found.scope == ("language: layers 0",)
    assert COPYABLE in found.reasons
    assert found.log10_e is not None
    assert found.log10_e < 60
    assert found.left_out[gains(0).subject.identity] == COPYABLE


def test_gains_beside_shared_embeddings_do_not_count_in_the_average_of_the_channels() -> None:
    looked_at = seen({}, channels_stand_out=0.9, shared=Shared.UNKNOWN)
    found = judge(walk([gains(500.0), columns(40.0)], [neurons(n, -1.0) for n in range(6)], 6), looked_at)
    assert found.scope == ("language: token embeddings",)
    assert found.log10_e is not None
    assert found.log10_e < 40


def test_gains_alone_are_still_said_to_agree_where_nothing_is_concluded() -> None:
    found = judge(walk([gains(500.0)], [neurons(n, -1.0) for n in range(6)], 6), None)
    assert found.relation is Relation.SUGGESTIVE
    assert found.reasons == ("gains_only",)
    assert found.scope == ("language: norm gains",)


def test_only_the_value_channels_count_where_only_they_hold_the_same() -> None:
    values = dict.fromkeys(range(6), 0.9)
    blocks = [labels(Symmetry.VALUE_ORDER, n, 25.0) for n in range(6)] + [neurons(n, 300.0) for n in range(6)]
    looked_at = seen(dict.fromkeys(range(6), 0.2), values=values)
    found = judge(walk([gains(80.0)], blocks, 6), looked_at)
    assert found.relation is Relation.SHARED_PARTS
    assert found.reasons[0] == "attention_only"
    assert found.scope == ("language: value channels of layers 0-5",)
    assert found.log10_e == pytest.approx(150, abs=3)
    unmeasured = judge(walk([gains(80.0)], blocks, 6), seen({}, values=values))
    assert unmeasured.relation is Relation.SHARED_PARTS
    assert unmeasured.reasons[0] == "attention_only_unmeasured"


def test_layers_in_which_only_the_value_channels_agree_are_named_apart() -> None:
    blocks = [labels(Symmetry.VALUE_ORDER, n, 25.0) for n in range(3)] + [neurons(n, 300.0) for n in range(3)]
    looked_at = seen({0: 0.9, 1: 0.2, 2: 0.2}, values={1: 0.9, 2: 0.1})
    found = judge(walk([], blocks, 6), looked_at)
    assert found.scope == ("language: layers 0", "language: value channels of layers 1")
    assert found.log10_e == pytest.approx(25 + 300 + 25, abs=3)


def test_embeddings_beside_copied_attention_are_named_only_where_their_contents_were_seen() -> None:
    blocks = [labels(Symmetry.VALUE_ORDER, n, 25.0) for n in range(6)]
    looked_at = seen(dict.fromkeys(range(6), 0.2), values=dict.fromkeys(range(6), 0.9))
    for standing, named in ((None, False), (0.1, False), (0.9, True)):
        found = judge(walk([columns(90.0)], blocks, 6), replace(looked_at, channels_stand_out=standing))
        assert ("language: token embeddings" in found.scope) == named
        assert found.log10_e == pytest.approx(150 + 90 * named, abs=3)


def test_where_the_named_parts_miss_the_line_there_is_no_finding() -> None:
    """A layer of four bans may be named, and does not become a finding by labels that somebody arranged."""
    found = judge(
        walk([], [neurons(0, 4.0), *(neurons(n, 300.0) for n in range(1, 6))], 6), seen({0: 0.9, 1: 0.1})
    )
    assert found.relation is Relation.SUGGESTIVE
    assert found.reasons[0] in (DENIED, UNCHECKED)
    assert found.left_out == {}


def test_another_stage_counts_a_named_layer_only_with_the_layer_whose_contents_were_seen() -> None:
    named = Named(pairs={0: 2})
    assert named.why_not(labels(Symmetry.FFN_ORDER, 0, 9.0, other=2)) is None
    assert named.why_not(labels(Symmetry.FFN_ORDER, 0, 9.0, other=3)) == NOT_NAMED


BANS = st.floats(-3, 200)


@given(
    st.lists(BANS, min_size=1, max_size=8),
    st.lists(BANS, max_size=2),
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
    st.booleans(),
)
def test_leaving_out_never_adds_whatever_is_left_out(
    blocks: list[float], views: list[float], named: set[int], denied: set[int], embeddings: bool
) -> None:
    """So 1/e stays a bound, also where the parts were chosen after their labels had been read."""
    residual = [t(value) for t, value in zip((gains, columns), views, strict=False)]
    x = walk(residual, [neurons(n, value) for n, value in enumerate(blocks)], 9)
    parts = Named(
        pairs={n: n for n in named},
        denied=dict.fromkeys(denied, DENIED),
        views={"embedding"} if embeddings else (),
    )
    value, left_out = counted(x, parts)
    assert value <= x.log10_e + 1e-9
    assert not any(f"layer={n}/" in f"{identity}/" for n in named - denied for identity in left_out)


def test_where_all_is_named_nothing_changes() -> None:
    x = walk([gains(30.0), columns(50.0)], [neurons(n, 9.0 * n - 9) for n in range(5)], 5)
    assert counted(x, Named()) == (x.log10_e, {})


def test_records_that_do_not_count_say_so_and_others_are_untouched() -> None:
    exact = Evidence(
        "origin.ffn_order/ffn_order/language/layer=1/stage=direct",
        Wing.ORIGIN,
        "q",
        scale=Scale.EXACT,
        log10_e=9.0,
    )
    other = replace(exact, id=exact.id.replace("layer=1", "layer=2"))
    idle = replace(exact, status=Status.NOT_APPLICABLE, log10_e=None, reason="read_before")
    found = list(marked([exact, other, idle], {"ffn_order/language/layer=1/stage=direct": DENIED}))
    assert found[1:] == [other, idle]
    assert found[0].shows == "shows.labels_without_contents"
    assert [(e.name, e.value) for e in found[0].effect] == [(COUNTED_AS, 0.0)]
    assert found[0].log10_e == 9.0
