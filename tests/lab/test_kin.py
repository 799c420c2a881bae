"""Kinship: which pairs are measured, as what, and what counts as right along a line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from filiation.errors import NotFoundError, UsageError
from filiation.lab.kin import STRANGERS, Category, Zoo
from tests.lab.zoos import entry, models, write_record


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    return Zoo(write_record(tmp_path, models()))


def test_a_line_is_followed_back_to_the_root_and_asks_for_every_step(zoo: Zoo) -> None:
    lines = {ancestor: (kinds, expected) for ancestor, kinds, expected in zoo.lines("permuted")}
    assert list(lines) == ["noisy", "twin-1"]
    assert lines["noisy"][1].right == (("permuted",),)
    assert lines["twin-1"][0] == ("permuted", "noise")
    assert lines["twin-1"][1].right == (("permuted",), ("noise_added",))


def test_storage_is_asked_for_only_where_nothing_else_changed(zoo: Zoo) -> None:
    lines = {ancestor: expected for ancestor, _, expected in zoo.lines("stored")}
    assert lines["permuted"].relations == ("identical",)
    assert lines["permuted"].right == (("renamed", "identical"),)
    assert lines["noisy"].relations == ("common_origin",)
    assert lines["noisy"].right == (("permuted",),)


def test_a_framed_model_has_the_weights_of_its_body_alone(zoo: Zoo) -> None:
    assert [ancestor for ancestor, _, _ in zoo.lines("framed")] == ["twin-2"]
    assert [ancestor for ancestor, _, _ in zoo.lines("distilled")] == []
    grafted = {ancestor: expected.relations for ancestor, _, expected in zoo.lines("grafted")}
    assert grafted == {"twin-2": ("common_origin",), "twin-1": ("shared_parts",)}


def test_every_pair_is_measured_as_what_it_is(zoo: Zoo) -> None:
    cases = zoo.cases()
    counts = Counter(case.category for case in cases)
    assert counts[Category.INDEPENDENT] == 10
    assert counts[Category.QUIET] == 2
    assert counts[Category.JOINT] == counts[Category.INITIALISATION] == counts[Category.FIXTURE] == 1
    quiet = {(case.suspect, *case.candidates) for case in cases if case.category is Category.QUIET}
    assert quiet == {("framed", "twin-1"), ("distilled", "twin-1")}
    joint = next(case for case in cases if case.category is Category.JOINT)
    assert joint.candidates == ("noisy", "twin-1")
    assert joint.expected.right == (("merged",),)


def test_two_models_made_alike_must_stay_quiet_and_nothing_is_asked_of_them_and_their_parents(
    zoo: Zoo,
) -> None:
    assert list(zoo.lines("sorted-4")) == []
    (case,) = (case for case in zoo.cases() if case.category is Category.FIXTURE)
    assert (case.suspect, *case.candidates) == ("sorted-5", "sorted-4")
    assert case.expected.relations == ("none_found", "cannot_test")


def test_strangers_share_no_draw_with_the_child_or_anything_it_saw(zoo: Zoo) -> None:
    strangers = [case for case in zoo.cases() if case.category is Category.STRANGER]
    for case in strangers:
        (stranger,) = case.candidates
        assert not zoo.touched(case.suspect) & zoo.touched(stranger)
    # twin-1 and twin-2 are both in the framed model: three twins are left for it, four for the others.
    counts = Counter(case.suspect for case in strangers)
    assert counts["framed"] == 3
    assert counts["noisy"] == STRANGERS


def test_a_kind_that_nobody_said_what_to_expect_of_is_refused(tmp_path: Path) -> None:
    write_record(tmp_path, {**models(), "odd": entry("sorcery", ["twin-1"])})
    with pytest.raises(UsageError, match="sorcery"):
        Zoo(tmp_path)
    with pytest.raises(NotFoundError):
        Zoo(tmp_path / "nothing")
