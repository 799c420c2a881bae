"""The null distribution of the whole examination: independent models, and a model's own copies relabelled at random.

A relabelled copy is the hardest independent model there is: every matching finds every partner, and nothing but the
uniformly random labels keeps the e-values down.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from filiation.anatomy.model import Symmetry
from filiation.lab import derive
from filiation.origin import gather
from filiation.origin.examine import Examination
from filiation.origin.labelset import combine, rng_for
from tests.origin.models import Model, dissected, examined, llama
from tests.origin.promise import keeps_its_promise
from tests.origin.scramble import BLOCKS, scrambled

TINY = {"layers": 2, "width": 24, "ffn": 48, "kv": 2}
RESIDUAL = (Symmetry.RESIDUAL_ORDER, Symmetry.RESIDUAL_SIGN)


def bans(log_e: float) -> float:
    return log_e / math.log(10)


def mixture(seed: int) -> Model:
    return derive.upcycle(*llama(seed, **TINY), experts=3, active=1, noise=1.0, seed=seed, router_std=1.0)


def by_symmetry(examinations: Sequence[Examination]) -> dict[str, list[float]]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for x in examinations:
        for stage in x.stages[:1]:
            for t in (*stage.residual, *stage.blocks):
                if t.applied:
                    found[f"{t.subject.symmetry}/{t.subject.detail}"].append(t.log10_e)
    return found


@pytest.mark.parametrize("make", [lambda: llama(1, **TINY), lambda: mixture(1)], ids=["dense", "mixture"])
def test_a_copy_relabelled_at_random_is_no_relative(make: Callable[[], Model]) -> None:
    rng, model = np.random.default_rng(0), make()
    same = dissected(model)
    found = [examined(scrambled(model, rng), same, seed=str(i), with_tokens=i % 4 == 0) for i in range(40)]
    for name, values in by_symmetry(found).items():
        assert keeps_its_promise(values), (name, max(values))
    assert keeps_its_promise([x.log10_e for x in found])
    assert max(x.log10_e for x in found) < 1


def test_blocks_of_a_relabelled_copy_in_the_same_residual_basis_are_no_relatives() -> None:
    """The residual labels agree: the embedding could be a published one. The blocks' labels are random."""
    rng, model = np.random.default_rng(1), llama(1, **TINY)
    same = dissected(model)
    found = [examined(scrambled(model, rng, BLOCKS), same, seed=str(i), with_tokens=False) for i in range(40)]
    together = [bans(combine(x.stages[0].blocks)) for x in found]
    assert keeps_its_promise(together)
    for name, values in by_symmetry(found).items():
        if not name.startswith("residual"):
            assert keeps_its_promise(values), (name, max(values))


@pytest.mark.parametrize(
    ("stage", "before"),
    [
        ("aligned", ()),
        ("rebased", (*RESIDUAL, Symmetry.FFN_ORDER)),
    ],
    ids=["aligned by order", "rebased by sign"],
)
def test_a_path_chosen_from_true_agreement_proves_nothing_by_itself(
    stage: str, before: tuple[Symmetry, ...]
) -> None:
    """The units that choose the path are the candidate's own; those that test it, and the heads, are relabelled."""
    base = llama(1, **{**TINY, "layers": 3, "ffn": 64})
    reordered, same = derive.take_layers(*base, [2, 0]), dissected(base)
    rng, values = np.random.default_rng(2), []
    for i in range(30):
        seed = str(i)
        _, check = gather.seeded_windows(64, 32, 2, rng_for(seed, "windows"))
        suspect = scrambled(reordered, rng, BLOCKS, units=check) if not before else reordered
        if before:
            suspect = scrambled(scrambled(reordered, rng, before), rng, BLOCKS, units=check)
        x = examined(suspect, same, seed=seed)
        reached = [s for s in x.stages if s.name == stage]
        values += [bans(combine(s.blocks)) for s in reached]
    assert len(values) >= 20  # the path was found
    assert keeps_its_promise(values), max(values)


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "sampled"])
def test_independent_twins_of_every_shape(whole: bool) -> None:
    shapes: list[dict[str, int]] = [
        TINY,
        {**TINY, "layers": 1},
        {**TINY, "kv": 6},
        {**TINY, "kv": 1},
        {**TINY, "width": 64, "ffn": 32},
        {**TINY, "width": 16, "ffn": 200},
        {**TINY, "layers": 6},
    ]
    values = [
        examined(llama(100 + i, **shape), llama(200 + i, **shape), seed=str(i), whole=whole).log10_e
        for i in range(2)
        for shape in shapes
    ]
    values += [examined(mixture(100 + i), mixture(200 + i), whole=whole).log10_e for i in range(3)]
    assert max(values) < 1
    assert keeps_its_promise(values)


def test_independent_models_of_different_shape() -> None:
    other = llama(2, layers=3, width=32, ffn=64, kv=3)
    for suspect, candidate in (
        (llama(1, **TINY), other),
        (other, llama(1, **TINY)),
        (mixture(1), llama(2, **TINY)),
    ):
        assert examined(suspect, candidate).log10_e < 1
