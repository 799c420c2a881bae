"""Blocks whose units were put in another order while the residual stream was left alone, in a sampled reading."""

from __future__ import annotations

import math

import numpy as np
import pytest

from filiation.evidence import Relation
from filiation.lab import launder
from filiation.origin.examine import Examination, Stage
from filiation.origin.history import of as history_of
from filiation.origin.pairing import Plan
from filiation.origin.verdict import Finding, judge
from tests.origin.models import Model, examined, llama

WIDE = 768  # so many neurons that a window of 32 holds the partners of hardly any
ORDER = (launder.permute_ffn, launder.permute_heads, launder.permute_value_channels)
SIGNS = (launder.flip_ffn_signs, launder.flip_value_signs)


def base() -> Model:
    return llama(1, ffn=WIDE)


def scrambled(model: Model, *steps: object, seed: int = 5) -> Model:
    for n, step in enumerate(steps):
        model = step(*model, seed=seed + n)  # type: ignore[operator]
    return model


def stage(found: Examination, name: str) -> Stage | None:
    return next((s for s in found.stages if s.name == name), None)


def judged(found: Examination) -> Finding:
    return judge(found, history_of(found, Plan("a seed", whole=False)))


@pytest.mark.parametrize("with_tokens", [True, False], ids=["tokens", "no tokens"])
def test_signs_are_looked_at_where_the_order_is_gone(with_tokens: bool) -> None:
    """No order changes a sign, so the blocks are reached in the very basis in which the residual channels agree."""
    found = examined(scrambled(base(), *ORDER), base(), whole=False, with_tokens=with_tokens)
    assert found.best is not None
    assert (found.best.name, found.best.pairing.basis) == ("aligned", "identity")
    assert judged(found).relation is Relation.COMMON_ORIGIN
    assert judged(found).inherited == judged(found).tested == 3


def test_value_channels_are_looked_at_where_neurons_lost_order_and_sign() -> None:
    child = scrambled(base(), launder.permute_ffn, launder.flip_ffn_signs)
    found = examined(child, base(), whole=False)
    assert found.best is not None
    assert found.best.name == "aligned"
    assert {t.subject.part.role for t in found.best.blocks if t.log10_e > 3} == {"values"}
    assert found.best.covers_half()


def test_where_no_label_is_left_only_the_residual_channels_are_told() -> None:
    finding = judged(examined(scrambled(base(), *ORDER, *SIGNS), base(), whole=False))
    assert finding.relation is Relation.SHARED_PARTS
    # A few channels show that the networks compute the same: no label says so.
    assert finding.reasons == ("order_and_signs_destroyed", "gains_can_be_copied")
    assert finding.scope


def test_labels_drawn_anew_in_a_copy_stay_quiet() -> None:
    """The hardest null: every matching finds every partner, the residual channels agree, and no block label does."""
    found = []
    for seed in range(24):
        walk = examined(
            scrambled(base(), *ORDER, *SIGNS, seed=100 * seed), base(), whole=False, seed=str(seed)
        )
        aligned = stage(walk, "aligned")
        assert aligned is not None
        found += [t.log_e for t in aligned.blocks if t.applied]
        assert all(value < 3 for value in aligned.layer_log10_e().values())
    assert len(found) > 24
    assert float(np.mean(np.exp(found))) < 1.5
    assert max(found) / math.log(10) < 3


def test_a_stranger_with_copied_embeddings_and_gains_stays_quiet() -> None:
    for seed in range(3, 9):
        mine, settings = llama(seed, ffn=WIDE)
        copied = {k: base()[0][k] if "norm" in k or "embed" in k else v for k, v in mine.items()}
        walk = examined((copied, settings), base(), whole=False, seed=str(seed))
        assert stage(walk, "aligned") is not None, "the residual channels agree, so signs are looked at"
        for each in walk.stages:
            assert all(value < 3 for value in each.layer_log10_e().values())
