"""Whether units hold alike contents does not depend on their order or their signs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.checkpoint.model import Checkpoint
from filiation.origin.pairing import Plan
from filiation.origin.partners import STAND_OUT, channels_stand_out


@dataclass(frozen=True)
class Opened:
    """What a budget asks of a checkpoint."""

    bytes_read: int
    kept: bool = False


def test_whether_more_may_be_read_is_asked_in_one_place() -> None:
    plan = Plan("0" * 64, whole=False, budget=1000)
    assert plan.affords(cast("Checkpoint", Opened(600)), 400)
    assert not plan.affords(cast("Checkpoint", Opened(601)), 400)
    assert plan.affords(cast("Checkpoint", Opened(10**9, kept=True)), 10**9), "what is kept is not read again"
    assert replace(plan, budget=None).affords(cast("Checkpoint", Opened(10**9)), 10**12)


def columns(seed: int, tokens: int = 300, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tokens, width)).astype(np.float32)


@given(st.integers(0, 2**32))
def test_order_and_signs_of_channels_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mine, theirs = columns(1), columns(1) + 0.8 * columns(2)
    order, sign = rng.permutation(24), rng.choice([-1.0, 1.0], 24).astype(np.float32)
    assert channels_stand_out((mine * sign)[:, order], theirs) == pytest.approx(
        channels_stand_out(mine, theirs), rel=1e-5
    )


def test_copies_stand_out_and_strangers_do_not() -> None:
    assert channels_stand_out(columns(1), columns(1)) == pytest.approx(1.0, abs=1e-3)
    assert channels_stand_out(columns(1), columns(1) + 0.8 * columns(2)) > 2 * STAND_OUT
    assert channels_stand_out(columns(1), columns(2)) < 0.2


def test_strangers_who_share_what_words_mean_do_not_stand_out() -> None:
    rng = np.random.default_rng(3)
    meaning = rng.standard_normal((300, 6))
    mine, theirs = (
        (meaning @ rng.standard_normal((6, 24)) + 0.5 * rng.standard_normal((300, 24))).astype(np.float32)
        for _ in range(2)
    )
    assert channels_stand_out(mine, theirs) < 0.2
