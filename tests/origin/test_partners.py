"""Whether units hold alike contents does not depend on their order or their signs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.origin.partners import STAND_OUT, channels_stand_out


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
