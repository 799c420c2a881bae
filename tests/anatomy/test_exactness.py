"""A symmetry that is said to hold rests on parts that truly are what they are called.

Names may be guessed wrongly, but then no ruling may rest on the guess (evidence contract, section 2).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.anatomy import Anatomy, Axis, Part, Symmetry
from filiation.errors import UnknownAnatomyError
from tests.anatomy.renaming import (
    LEANING,
    TELLING,
    dissected_anew,
    drawn_scheme,
    invented_config,
    renamed,
)
from tests.anatomy.test_families import FAMILIES, dissected

S = Symmetry
# What the units of a symmetry are, and the roles a test reads them from.
RESTS_ON = {
    S.FFN_ORDER: (("gate", "up", "down"), Axis.FFN),
    S.FFN_SIGN: (("gate", "up", "down"), Axis.FFN),
    S.VALUE_ORDER: (("v",), Axis.KV),
    S.VALUE_SIGN: (("v",), Axis.KV),
    S.KV_GROUP_ORDER: (("v",), Axis.KV),
    S.QUERY_HEAD_ORDER: (("o",), Axis.QUERY),
    S.EXPERT_ORDER: (("router",), Axis.EXPERT),
    S.RESIDUAL_ORDER: (("embedding", "attn_norm", "ffn_norm", "up", "down"), Axis.RESIDUAL),
    S.RESIDUAL_SIGN: (("embedding", "up", "down"), Axis.RESIDUAL),
}
# Which part is which matters to these, not only what its rows count.
BY_ROLE = {S.FFN_SIGN: ("gate", "up", "down"), S.VALUE_ORDER: ("v", "o"), S.VALUE_SIGN: ("v", "o")}


def units(part: Part, axis: Axis) -> Iterator[tuple[object, ...]]:
    """Where the units of ``axis`` lie in the stored tensor: which stored axis, and in which order."""
    for place, kind in enumerate(part.axes):
        if kind is axis:
            stored = 1 - place if part.view.transpose else place
            rows = part.view.rows if place == 0 else None
            order = (
                None
                if rows is None or np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
                else tuple(rows)
            )
            yield (stored, part.shape[place], order)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_what_holds_rests_on_what_is_true(name: str, seed: int) -> None:
    """Whatever words, spelling, order and config: meaningful, leaning or meaningless names."""
    rng = random.Random(seed)
    try:
        names = renamed(name, drawn_scheme(name, rng, rng.choice([TELLING, LEANING, None])))
        config = rng.choice([None, invented_config(name)])
        anatomy = dissected_anew(name, names, config, shuffle=rng.choice([None, seed]))
    except (ValueError, UnknownAnatomyError):
        return  # two tensors would have one name, or nothing could be said of them
    check(anatomy, dissected(name), names)


def check(anatomy: Anatomy, true: Anatomy, names: dict[str, str]) -> None:
    known: dict[str, list[Part]] = {}
    for part in true.parts:
        known.setdefault(names[part.tensor], []).append(part)
    for component in anatomy.components:
        for ruling in anatomy.rulings[component]:
            if not ruling.holds or ruling.symmetry not in RESTS_ON:
                continue
            roles, axis = RESTS_ON[ruling.symmetry]
            for part in anatomy.parts:
                if part.component != component or part.role not in (
                    *roles,
                    *BY_ROLE.get(ruling.symmetry, ()),
                ):
                    continue
                where = set(units(part, axis))
                truly = known[part.tensor]
                if part.role in roles:
                    assert where <= {u for p in truly for u in units(p, axis)}, (ruling.symmetry, part)
                if part.role in BY_ROLE.get(ruling.symmetry, ()):
                    assert part.role in {p.role.removeprefix("shared.") for p in truly}, (
                        ruling.symmetry,
                        part,
                    )
