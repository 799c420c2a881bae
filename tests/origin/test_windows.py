"""Which neurons of each layer a partial reading reads."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from filiation import anatomy, checkpoint
from filiation.lab.save import save_model
from filiation.origin.gather import Rows, Side, ffn_units
from filiation.origin.pairing import Pairing, Plan, ffn_views
from filiation.origin.pattern import order_is_arbitrary
from filiation.origin.units import GRAIN
from filiation.origin.windows import Places, places
from tests.derivation.test_architectures import gpt2
from tests.origin.models import Model, llama

FFN = 1024
PLAN = Plan("a seed", whole=False)


def sides(model: Model) -> tuple[Side, Side]:
    """Open a model from a file: only there it is known what reading some rows costs."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model", *model, None)
        opened = anatomy.dissect(checkpoint.open(str(Path(folder) / "model"), keep=1 << 26))
    return Side(opened), Side(opened, is_suspect=False)


WIDE = sides(llama(1, 6, ffn=FFN))


def numbers(rows: Rows) -> list[int]:
    return [n for first, last in rows for n in range(first, last)]


def test_short_blocks_lie_at_seeded_places_which_no_two_layers_share() -> None:
    found = places(*WIDE, range(6), PLAN)
    assert found.disjoint
    assert not found.unsigned
    read = [numbers(found.rows[i]) for i in range(6)]
    assert [len(rows) for rows in read] == [PLAN.units] * 6
    assert len({n for rows in read for n in rows}) == 6 * PLAN.units
    assert {len(rows) for rows in found.rows.values()} == {PLAN.blocks}
    assert all(first % GRAIN == 0 for rows in found.rows.values() for first, _ in rows)
    assert found == places(*WIDE, range(6), PLAN)
    assert found != places(*WIDE, range(6), replace(PLAN, seed="another"))


def test_where_every_read_is_a_request_one_block_is_read_and_two_layers_signs() -> None:
    layers = [0, 2, 3, 4, 5]
    found = places(*WIDE, layers, replace(PLAN, budget=10**9, blocks=1))
    assert [len(rows) for rows in found.rows.values()] == [1] * 5
    assert [len(numbers(rows)) for rows in found.rows.values()] == [PLAN.units] * 5
    assert found.disjoint
    assert len(found.unsigned) == 3
    assert 3 not in found.unsigned


def test_layers_too_narrow_for_rows_of_their_own_share_theirs() -> None:
    narrow = sides(llama(1, 6, ffn=96))
    found = places(*narrow, range(6), PLAN)
    assert not found.disjoint
    assert len(set(found.rows.values())) == 1


def test_matrices_whose_rows_cost_all_of_them_are_read_in_one_block() -> None:
    transposed = sides(gpt2())
    found = places(*transposed, range(2), replace(PLAN, units=16))
    assert all(len(rows) == 1 for rows in found.rows.values())


def test_nothing_is_chosen_where_all_is_read() -> None:
    assert places(*WIDE, range(6), replace(PLAN, whole=True)) == Places()


def test_every_block_is_ordered_by_itself_and_its_units_keep_their_numbers() -> None:
    rows = ((32, 48), (512, 528), (1008, 1024))
    units = ffn_units(WIDE[0], 2, None, rows, with_down=False)
    whole = ffn_units(WIDE[0], 2, None, None, with_down=False)
    assert units is not None
    assert whole is not None
    assert units.position.tolist() == numbers(rows)
    assert units.block.tolist() == [0] * 16 + [1] * 16 + [2] * 16
    assert np.array_equal(units.content, whole.content[units.position])
    assert np.array_equal(units.signed[0], whole.signed[0][units.position])


def test_units_that_are_looked_for_everywhere_are_in_no_block() -> None:
    pairing = Pairing(*WIDE, ((2, 2),), "aligned", rows={2: ((32, 48), (512, 528))}, match_anywhere=True)
    ((s, c),) = ffn_views(pairing, (2, 2), with_down=False)
    assert (len(s), len(c)) == (32, FFN)
    assert not s.block.any()


def test_unsigned_layers_are_read_by_what_matches_them_alone() -> None:
    rows: dict[int, Rows] = {2: ((32, 96),), 3: ((96, 160),)}
    pairing = Pairing(*WIDE, ((2, 2), (3, 3)), "direct", rows=rows, unsigned=frozenset({2}))
    assert [bool(ffn_views(pairing, (i, i), with_down=False)[0][0].signed) for i in (2, 3)] == [False, True]
    assert pairing.outer_norms == ()


@pytest.mark.parametrize("by", ["norm", "likeness"])
def test_a_sorted_layer_is_seen_through_short_blocks(by: str) -> None:
    tensors, settings = llama(1, 1, ffn=FFN)
    rng = np.random.default_rng(0)
    gate = "model.layers.0.mlp.gate_proj.weight"
    rows = tensors[gate]
    common = rng.standard_normal(rows.shape[1])
    level = rng.random(len(rows))
    rows = rows * (1 + level[:, None]) if by == "norm" else rows + 0.3 * np.outer(level, common)
    model = {**tensors, gate: rows[np.argsort(level)].astype(np.float32)}, settings
    side = sides(model)[0]
    read = places(side, side, [0], PLAN).rows[0]
    units = ffn_units(side, 0, None, read, with_down=False)
    assert units is not None
    assert len(set(units.block.tolist())) == 4
    assert not order_is_arbitrary(units)
    shuffled = {**tensors, gate: rows.astype(np.float32)}, settings
    plain = ffn_units(sides(shuffled)[0], 0, None, read, with_down=False)
    assert plain is not None
    assert order_is_arbitrary(plain)
