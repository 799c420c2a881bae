from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from filiation.anatomy.model import Symmetry
from filiation.lab import derive, launder
from filiation.origin import TESTS, Outcome
from filiation.origin.basis_free import (
    Ranges,
    basis_free_contents,
    basis_free_label_sets,
    basis_free_units,
    disjoint_ranges,
)
from filiation.origin.gather import Side
from filiation.origin.labelset import rng_for
from filiation.origin.layers import layer_map
from filiation.origin.order import FixedPoints
from filiation.origin.pairing import Pairing, Plan
from tests.origin.models import FFN, Model, changed, dissected, llama
from tests.origin.promise import keeps_its_promise
from tests.origin.scramble import scrambled

BASE = llama(1)
RANGES = Ranges((0, 32), (32, 64), (64, 96))


def side(model: Model) -> Side:
    return Side(dissected(model))


def hits(suspect: Model, candidate: Model = BASE, layer: int = 1) -> int:
    s, c = (basis_free_units(side(m), layer, RANGES.anchors, RANGES.check) for m in (suspect, candidate))
    assert s is not None
    assert c is not None
    found = FixedPoints().measure(s, c, np.random.default_rng(0))
    assert isinstance(found, Outcome)
    return int(found.statistic)


LAUNDERED: dict[str, Callable[[], Model]] = {
    "as it is": lambda: BASE,
    "rotated": lambda: launder.rotate_residual(*BASE, seed=1),
    "channels permuted and flipped": lambda: launder.signed_permutation(*BASE, seed=1),
    "gains folded": lambda: launder.fold_gains(*BASE),
    "unit signs flipped": lambda: launder.flip_ffn_signs(*BASE, seed=1),
    "units rescaled": lambda: launder.rescale_ffn_units(*BASE, seed=1),
    "rotated, flipped, 20 % noise": lambda: launder.flip_ffn_signs(
        *launder.rotate_residual(*derive.add_noise(*BASE, level=0.2, seed=3), seed=1), seed=2
    ),
}


@pytest.mark.parametrize("name", LAUNDERED)
def test_units_are_known_in_any_basis(name: str) -> None:
    assert hits(LAUNDERED[name]()) >= 28


def test_strangers_and_scrambled_layers_are_not_known() -> None:
    assert hits(llama(2)) <= 4
    assert hits(launder.permute_ffn(*BASE, seed=1)) <= 4


def test_the_profile_of_a_unit_is_what_the_docstring_says() -> None:
    tensors, _ = BASE
    at = "model.layers.0."
    gain = tensors[at + "post_attention_layernorm.weight"]
    gate, up = (tensors[f"{at}mlp.{w}_proj.weight"] * gain for w in ("gate", "up"))
    down = tensors[at + "mlp.down_proj.weight"].T
    units = basis_free_units(side(BASE), 0, (0, 8), (40, 60))
    assert units is not None
    assert units.position.tolist() == list(range(40, 60))
    assert units.content.shape == (20, 24)
    terms = np.abs(gate[40:60] @ down[:8].T)
    standard = (terms - terms.mean(0)) / terms.std(0)
    expected = standard / np.linalg.norm(standard, axis=1, keepdims=True)
    np.testing.assert_allclose(units.content[:, :8], expected, atol=1e-5)
    products = (up[40:60] @ up[:8].T) * (down[40:60] @ down[:8].T)
    standard = (products - products.mean(0)) / products.std(0)
    expected = standard / np.linalg.norm(standard, axis=1, keepdims=True)
    np.testing.assert_allclose(units.content[:, 16:], expected, atol=1e-5)


def test_the_order_of_the_units_is_unread_and_so_are_all_signs() -> None:
    rng = np.random.default_rng(0)
    before = basis_free_units(side(BASE), 1, RANGES.anchors, RANGES.check)
    signs = basis_free_units(side(scrambled(BASE, rng, {Symmetry.FFN_SIGN})), 1, RANGES.anchors, RANGES.check)
    moved = scrambled(BASE, rng, {Symmetry.FFN_ORDER}, units=RANGES.check)
    order = basis_free_units(side(moved), 1, RANGES.anchors, RANGES.check)
    assert before is not None
    assert signs is not None
    assert order is not None
    np.testing.assert_allclose(signs.content, before.content, atol=1e-5)
    nearest = (order.content @ before.content.T).argmax(axis=1)
    assert sorted(nearest.tolist()) == list(range(32))
    np.testing.assert_allclose(order.content, before.content[nearest], atol=1e-5)


def test_the_null_holds_for_a_copy_relabelled_at_random() -> None:
    rng, values = np.random.default_rng(1), []
    plan = Plan("a seed", whole=True)
    for _ in range(30):
        pairing = Pairing(
            side(scrambled(BASE, rng)), side(BASE), tuple((i, i) for i in range(4)), "basis_free"
        )
        tested = basis_free_label_sets(pairing, plan, TESTS, RANGES)
        assert all(t.applied for t in tested)
        values += [t.log10_e for t in tested]
    assert keeps_its_promise(values)


def test_label_sets_of_a_rotated_model_carry() -> None:
    pairing = Pairing(side(LAUNDERED["rotated"]()), side(BASE), tuple((i, i) for i in range(4)), "basis_free")
    tested = basis_free_label_sets(pairing, Plan("a seed", whole=True), TESTS, RANGES)
    assert [t.subject.part.layer for t in tested] == [0, 1, 2, 3]
    assert all(t.log10_e > 20 for t in tested)
    assert len({e.id for t in tested for e in t.evidence}) == 8


def test_a_layer_map_is_drawn_without_a_basis() -> None:
    """Rotated, two layers swapped and one dropped."""
    child = launder.rotate_residual(*derive.take_layers(*BASE, [0, 3, 2]), seed=1)
    s, c = (
        basis_free_contents(side(m), range(n), RANGES.anchors, RANGES.choose)
        for m, n in ((child, 3), (BASE, 4))
    )
    drawn = layer_map(s, c, "order", np.random.default_rng(0))
    assert drawn.path() == ((0, 0), (1, 3), (2, 2))


def test_residual_widths_may_differ() -> None:
    """A stream embedded in a wider one and rotated there: nothing but inner products is left."""
    wide = 64
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((wide, wide)))[0][:48]

    def widen(name: str, v: np.ndarray) -> np.ndarray:
        if v.ndim == 1:
            return np.ones(wide)
        return turn.T @ v if name.endswith(("o_proj.weight", "down_proj.weight")) else v @ turn

    tensors, settings = changed(launder.fold_gains(*BASE), widen)
    assert hits((tensors, {**settings, "hidden_size": wide})) == 32


def test_an_ungated_layer_has_four_terms() -> None:
    anatomy = dissected(BASE)
    parts = tuple(p for p in anatomy.parts if p.role != "gate")
    ungated = Side(replace(anatomy, parts=parts))
    units = basis_free_units(ungated, 0, (0, 8), (40, 60))
    assert units is not None
    assert units.content.shape == (20, 32)


def test_ranges_are_disjoint_seeded_and_wide_enough() -> None:
    seen = set()
    for seed in range(20):
        found = disjoint_ranges(FFN, rng_for("x", str(seed)))
        assert found is not None
        every = sorted([found.anchors, found.choose, found.check])
        assert all(b[0] >= a[1] for a, b in pairwise(every))
        assert all(0 <= a < b <= FFN for a, b in every)
        seen.add(found)
    assert len(seen) == 6
    assert disjoint_ranges(20, rng_for("x", "y")) is None
    with pytest.raises(ValueError, match="overlap"):
        basis_free_units(side(BASE), 0, (0, 32), (31, 60))
    assert basis_free_units(side(BASE), 0, (0, 32), (90, 120)) is None
