"""Products are e-values because a test reads no label listed after its own: scramble the later labels and look.

Evidence contract, section 3.6: "a property test scrambles each later label set of S and demands that earlier e-values
do not change".
"""

from __future__ import annotations

import numpy as np
import pytest

from filiation.anatomy.model import Symmetry
from filiation.lab import derive
from filiation.origin import gather
from filiation.origin.examine import Examination
from filiation.origin.labelset import READING_ORDER, label_set, rng_for
from tests.origin.models import Model, examined, llama
from tests.origin.scramble import scrambled

LAYER = 1
RESIDUAL = (Symmetry.RESIDUAL_ORDER, Symmetry.RESIDUAL_SIGN)


def mixture(seed: int) -> Model:
    return derive.upcycle(*llama(seed, layers=2), experts=4, active=2, noise=0.8, seed=seed, router_std=1.0)


PAIRS = {
    "child": lambda: (derive.add_noise(*llama(1, layers=2), level=0.4, seed=2), llama(1, layers=2)),
    "mixture": lambda: (derive.add_noise(*mixture(1), level=0.4, seed=2), mixture(1)),
}


def by_label_set(examination: Examination) -> dict[tuple[str, str], float]:
    """The e-value of every label set of the direct stage, by label set and view."""
    stage = examination.stages[0]
    return {
        (label_set(t.subject), t.subject.detail): t.log_e
        for t in (*stage.residual, *stage.blocks)
        if t.applied
    }


def may_change(name: str, scrambled_symmetry: Symmetry) -> bool:
    """Whether a label set may read the labels that were scrambled: those of the model, or of the same layer."""
    at = READING_ORDER.index(scrambled_symmetry)
    later = {str(s) for s in READING_ORDER[at:]}
    everywhere = scrambled_symmetry in RESIDUAL
    here = everywhere or f"/layer={LAYER}/" in name
    return here and name.rsplit("/", 1)[1] in later


@pytest.mark.parametrize("name", PAIRS)
def test_no_test_reads_a_label_listed_after_its_own(name: str) -> None:
    suspect, candidate = PAIRS[name]()
    before = by_label_set(examined(suspect, candidate))
    assert {n.rsplit("/", 1)[1] for n, _ in before} >= {
        str(s) for s in READING_ORDER if s is not Symmetry.EXPERT_ORDER
    }
    changed = set()
    for symmetry in READING_ORDER:
        if symmetry is Symmetry.EXPERT_ORDER and name != "mixture":
            continue
        layers = None if symmetry in RESIDUAL else {LAYER}
        moved = scrambled(suspect, np.random.default_rng(5), {symmetry}, layers)
        after = by_label_set(examined(moved, candidate))
        assert after.keys() == before.keys()
        for key, value in after.items():
            if may_change(key[0], symmetry):
                changed |= {symmetry} if abs(value - before[key]) > 0.05 else set()
            else:
                assert value == pytest.approx(before[key], rel=1e-3, abs=0.02), (key, symmetry)
    if name == "child":
        assert changed >= set(READING_ORDER) - {Symmetry.EXPERT_ORDER}  # the scrambling does reach the labels


def test_the_window_that_tests_a_path_was_not_read_when_it_was_chosen() -> None:
    """Order, and signs, of the units that test: scrambling them changes no layer map."""
    base = llama(1)
    child = derive.take_layers(*base, [0, 2, 3])
    width = base[1]["intermediate_size"]
    choose, check = gather.seeded_windows(width, width // 2, 2, rng_for("a seed", "windows"))
    rng = np.random.default_rng(0)
    for suspect in (child, scrambled(child, rng, {Symmetry.FFN_ORDER}), scrambled(child, rng, RESIDUAL)):
        before = examined(suspect, base).layer_maps
        assert before
        labels = {Symmetry.FFN_ORDER, Symmetry.FFN_SIGN}
        after = examined(scrambled(suspect, rng, labels, units=check), base).layer_maps
        for one, other in zip(before, after, strict=True):
            np.testing.assert_allclose(one.log10_e, other.log10_e, rtol=1e-4, atol=1e-3)
        moved = examined(scrambled(suspect, rng, labels, units=choose), base).layer_maps
        assert not np.allclose(before[0].log10_e, moved[0].log10_e, rtol=1e-4, atol=1e-3)
