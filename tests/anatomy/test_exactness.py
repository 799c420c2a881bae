"""A symmetry that is said to hold rests on parts that truly are what they are called.

Names may be guessed wrongly, but then no ruling may rest on the guess (evidence contract, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.anatomy import Anatomy, Axis, Part, Symmetry
from tests.anatomy.renaming import (
    LEANING,
    PLACES,
    SPELLINGS,
    TELLING,
    Scheme,
    dissected_anew,
    invented_config,
    renamed,
    roles_of,
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


@st.composite
def schemes(draw: st.DrawFn, model: str) -> Scheme:
    """Any words: telling, leaning, none that means anything, or those of another role; any spelling."""
    table = draw(st.sampled_from([TELLING, LEANING, None]))
    roles = sorted({*roles_of(model), *PLACES})
    if table is None:
        letters = draw(st.permutations([a + b for a in "xyzrstuw" for b in "abcdfghij"]))
        words = dict(zip(roles, letters, strict=False))
    else:
        words = {role: draw(st.sampled_from(table.get(role, (role.replace(".", "_"),)))) for role in roles}
    words |= {
        "attention": draw(st.sampled_from(["attn", "mixer", "xx", ""])),
        "ffn": draw(st.sampled_from(["ff", "mlp", "yy", ""])),
        "experts": draw(st.sampled_from(["experts", "pool"])),
    }
    leaf = draw(st.sampled_from([("weight", "bias"), ("kernel", "bias"), ("w", "b")]))
    return Scheme(words, draw(st.sampled_from(SPELLINGS)), draw(st.sampled_from([0, 1])), *leaf)


def units(part: Part, axis: Axis) -> Iterator[tuple[object, ...]]:
    """Where the units of ``axis`` lie in the stored tensor: which stored axis, and in which order."""
    for place, kind in enumerate(part.axes):
        if kind is axis:
            stored = 1 - place if part.view.transpose else place
            rows = part.view.rows if place == 0 else None
            order = None if rows is None or np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))) else tuple(rows)
            yield (stored, part.shape[place], order)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=25)
@given(st.data())
def test_what_holds_rests_on_what_is_true(name: str, data: st.DataObject) -> None:
    scheme = data.draw(schemes(name))
    try:
        names = renamed(name, scheme)
    except ValueError:
        return  # two tensors would have one name
    order = data.draw(st.sampled_from(["sorted", "shuffled"]))
    seed = data.draw(st.integers(0, 99))
    config = data.draw(st.sampled_from([None, invented_config(name)]))
    anatomy = dissected_anew(name, names, config, shuffle=None if order == "sorted" else seed)
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
                if part.component != component or part.role not in (*roles, *BY_ROLE.get(ruling.symmetry, ())):
                    continue
                where = set(units(part, axis))
                truly = known[part.tensor]
                if part.role in roles:
                    assert where <= {u for p in truly for u in units(p, axis)}, (ruling.symmetry, part)
                if part.role in BY_ROLE.get(ruling.symmetry, ()):
                    assert part.role in {p.role for p in truly}, (ruling.symmetry, part)
