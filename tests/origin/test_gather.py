from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.anatomy.model import Symmetry
from filiation.origin import gather
from filiation.origin.basis import Basis
from filiation.origin.gather import Side
from filiation.origin.labelset import rng_for
from tests.origin.models import DIM, HEADS, KV, WIDTH, dissected, llama
from tests.origin.scramble import scrambled

BASE = llama(1)
AT = "model.layers.1."


def side(model: object = BASE, **more: object) -> Side:
    return Side(dissected(model), **more)  # type: ignore[arg-type]


def test_gains_are_folded_into_what_reads_through_them() -> None:
    tensors = BASE[0]
    gate = tensors[AT + "mlp.gate_proj.weight"] * tensors[AT + "post_attention_layernorm.weight"]
    units = gather.ffn_units(side(), 1, window=(16, 48))
    assert units is not None
    np.testing.assert_allclose(units.content, gate[16:48], rtol=1e-6)
    assert units.position.tolist() == list(range(16, 48))
    up, down = units.signed
    assert up.shape == down.shape == (32, WIDTH)
    np.testing.assert_allclose(down, tensors[AT + "mlp.down_proj.weight"].T[16:48], rtol=1e-6)
    value = side().reader("v", 1)
    folded = tensors[AT + "self_attn.v_proj.weight"] * tensors[AT + "input_layernorm.weight"]
    assert value is not None
    np.testing.assert_allclose(value, folded, rtol=1e-6)


def test_value_channels_are_counted_inside_their_head() -> None:
    units = gather.value_units(side(), 1)
    assert units is not None
    assert units.position.tolist() == list(range(DIM)) * KV
    assert units.block.tolist() == [h for h in range(KV) for _ in range(DIM)]
    # The columns of the output that a kv channel feeds: the same channel of every query head of its group.
    columns = BASE[0][AT + "self_attn.o_proj.weight"].T
    group = HEADS // KV
    head, channel = 1, 5
    expected = np.concatenate([columns[(head * group + q) * DIM + channel] for q in range(group)])
    np.testing.assert_allclose(units.signed[1][head * DIM + channel], expected, rtol=1e-6)


def test_heads_are_described_without_the_labels_inside_them() -> None:
    inside = {Symmetry.VALUE_ORDER, Symmetry.VALUE_SIGN}
    moved = side(scrambled(BASE, np.random.default_rng(0), inside))
    for build in (gather.kv_group_units, gather.query_head_units):
        before, after = build(side(), 1, 7), build(moved, 1, 7)
        assert before is not None
        assert after is not None
        np.testing.assert_allclose(before.content, after.content, atol=1e-5)


def test_units_are_carried_to_the_common_basis() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    plain, turned = (
        gather.ffn_units(side(), 0),
        gather.ffn_units(side(basis=Basis("rotation", matrix=turn)), 0),
    )
    assert plain is not None
    assert turned is not None
    np.testing.assert_allclose(turned.content, plain.content @ turn, atol=1e-4)
    np.testing.assert_allclose(turned.signed[1], plain.signed[1] @ turn, atol=1e-4)


def test_channels_are_described_by_centred_columns() -> None:
    rows = BASE[0]["model.embed_tokens.weight"][:50]
    units = gather.embedding_units(side(), rows, (8, 20))
    np.testing.assert_allclose(units.content, (rows - rows.mean(0)).T[8:20], atol=1e-6)
    assert units.sign_free
    assert units.position.tolist() == list(range(8, 20))


@given(st.integers(1, 5000), st.integers(1, 600), st.integers(1, 4), st.integers(0, 100))
def test_windows_are_disjoint_and_inside(n: int, size: int, count: int, seed: int) -> None:
    found = gather.seeded_windows(n, size, count, rng_for("seed", str(seed)))
    assert found
    assert found == gather.seeded_windows(n, size, count, rng_for("seed", str(seed)))
    if n <= size:
        assert found == [(0, n)]
    else:
        assert len(found) == min(count, n // size)
        assert all(a >= 0 and b - a == size and b <= n for a, b in found)
        assert all(one[1] <= other[0] for one, other in pairwise(found))


@pytest.mark.parametrize("kind", ["identity", "signed_permutation", "rotation"])
def test_many_rows_are_folded_and_carried_as_all_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = np.random.default_rng(0)
    turn = np.linalg.qr(drawn.standard_normal((WIDTH, WIDTH)))[0].astype(np.float32)
    basis = {
        "identity": Basis(),
        "signed_permutation": Basis(
            kind, drawn.permutation(WIDTH), signs=drawn.choice(np.float32([-1, 1]), WIDTH)
        ),
        "rotation": Basis(kind, matrix=turn),
    }[kind]
    at_once = [side(basis=basis, is_suspect=mine).reader("gate", 1) for mine in (True, False)]
    monkeypatch.setattr(gather, "AT_ONCE", 5 * WIDTH)
    in_pieces = [side(basis=basis, is_suspect=mine).reader("gate", 1) for mine in (True, False)]
    for whole, pieces in zip(at_once, in_pieces, strict=True):
        assert whole is not None
        assert pieces is not None
        np.testing.assert_allclose(pieces, whole, rtol=1e-5, atol=1e-6)
