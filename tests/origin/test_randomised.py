"""Whose labels are taken for random, and why it matters."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from filiation.anatomy.model import Anatomy, Ruling, Symmetry
from filiation.origin import Outcome
from filiation.origin.diagonal import Diagonal
from filiation.origin.gather import Side
from filiation.origin.randomised import doubt, randomised
from filiation.origin.units import GRAIN, Units
from tests.origin.models import dissected, llama
from tests.origin.units import drawn, ffn


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return dissected(llama(0, layers=1))


def without(anatomy: Anatomy, symmetry: Symmetry) -> Anatomy:
    rulings = [
        Ruling(r.symmetry, r.holds and r.symmetry is not symmetry, "not here")
        for r in anatomy.rulings["language"]
    ]
    return replace(anatomy, rulings={"language": tuple(rulings)})


def sorted_units(seed: int) -> Units:
    size = np.sort(np.exp(0.5 * drawn(seed, 64, 1)), axis=0)
    return ffn(size * drawn(seed + 1, 64, 32))


def test_the_suspect_is_random_where_it_can_be(anatomy: Anatomy) -> None:
    s, c = ffn(drawn(0, 64, 32)), sorted_units(1)
    assert randomised(Side(anatomy), Side(anatomy), Symmetry.FFN_ORDER, [(s, c)]) == ([(s, c)], False)


@pytest.mark.parametrize("why", ["symmetry", "sorted", "repeated", "block_quantised"])
def test_else_the_candidate_is(anatomy: Anatomy, why: str) -> None:
    s, c = ffn(drawn(0, 64, 32)), ffn(drawn(1, 64, 32))
    side, symmetry = Side(anatomy), Symmetry.FFN_ORDER
    if why == "symmetry":
        side = Side(without(anatomy, symmetry))
    elif why == "sorted":
        s = sorted_units(2)
    elif why == "block_quantised":
        s = replace(s, blocked=True)
    else:
        symmetry = Symmetry.KV_GROUP_ORDER
        heads = drawn(3, 4, 32)
        s, c = (
            replace(ffn(heads[[0, 0, 1, 2]] + 0.1 * heads), kind="kv_group"),
            replace(ffn(heads), kind="kv_group"),
        )
    assert randomised(side, Side(anatomy), symmetry, [(s, c)]) == ([(c, s)], True)
    searched_whole = randomised(side, None, symmetry, [(s, c)])
    assert isinstance(searched_whole, str) or not searched_whole[1]


def test_neither_is_where_both_were_sorted(anatomy: Anatomy) -> None:
    found = randomised(Side(anatomy), Side(anatomy), Symmetry.FFN_ORDER, [(sorted_units(1), sorted_units(5))])
    assert found == "order_not_arbitrary"
    bare = without(anatomy, Symmetry.FFN_SIGN)
    pair = (ffn(drawn(0, 9, 4)), ffn(drawn(1, 9, 4)))
    assert randomised(Side(bare), Side(bare), Symmetry.FFN_SIGN, [pair]) == "not here"


def test_quantised_in_blocks_on_both_sides_keeps_the_order_inside(anatomy: Anatomy) -> None:
    s, c = (replace(ffn(drawn(i, 64, 32)), blocked=True) for i in range(2))
    found = randomised(Side(anatomy), Side(anatomy), Symmetry.FFN_ORDER, [(s, c)])
    assert not isinstance(found, str)
    ((first, second),), turned = found
    assert not turned
    for units in (first, second):
        assert [len(rows) for _, rows in units.blocks()] == [GRAIN] * (64 // GRAIN)


def test_a_sorted_suspect_and_a_quantised_candidate(anatomy: Anatomy) -> None:
    s, c = sorted_units(1), replace(ffn(drawn(4, 64, 32)), blocked=True)
    found = randomised(Side(anatomy), Side(anatomy), Symmetry.FFN_ORDER, [(s, c)])
    assert not isinstance(found, str)
    ((first, _),), turned = found
    assert turned
    assert len(np.unique(first.block)) == 4
    np.testing.assert_array_equal(first.content, c.content)


def test_signs_of_sorted_units_are_still_labels_and_those_of_clones_are_not(anatomy: Anatomy) -> None:
    assert doubt(Side(anatomy), Symmetry.FFN_SIGN, [sorted_units(1)]) is None
    half = drawn(0, 64, 32)
    clones = ffn(np.vstack([half, half]) + 0.1 * drawn(1, 128, 32))
    assert doubt(Side(anatomy), Symmetry.FFN_SIGN, [clones]) == "units_are_copies"


def test_taking_the_wrong_model_for_random_is_a_false_accusation(anatomy: Anatomy) -> None:
    """A suspect in order of importance against an unrelated candidate that shares a common direction with it.

    The diagonal test walks along the suspect's order: early units resemble everything, and it takes that for agreement.
    With the candidate as the random model the same numbers say nothing.
    """
    rng = np.random.default_rng(0)
    wrong, right = [], []
    for seed in range(40):
        common = drawn(1000 + seed, 1, 64)
        lean = 0.6 * np.abs(drawn(seed, 128, 1))
        leaning = lean * common + drawn(2000 + seed, 128, 64)
        s, c = ffn(leaning[:64][np.argsort(-lean[:64, 0])]), ffn(leaning[64:])
        found = randomised(Side(anatomy), Side(anatomy), Symmetry.FFN_ORDER, [(s, c)])
        assert not isinstance(found, str)
        ((first, second),), turned = found
        assert turned
        for logs, pair in ((wrong, (s, c)), (right, (first, second))):
            outcome = Diagonal().measure(*pair, rng)
            assert isinstance(outcome, Outcome)
            logs.append(outcome.log_e / math.log(10))
    assert max(wrong) > 4
    assert np.mean(10.0 ** np.array(wrong)) > 100
    assert max(right) < 1.5
    assert np.mean(10.0 ** np.array(right)) < 1.2
