"""Heads and layers are paired by what they hold, and no label that is tested afterwards is read for it."""

from __future__ import annotations

import math

import numpy as np

from filiation.anatomy.model import Symmetry
from filiation.origin.gather import Side
from filiation.origin.heads import in_heads, moved, on_equal_heads, paired_heads
from filiation.origin.labelset import combine
from filiation.origin.pairing import Plan
from filiation.origin.recovered import layers_by_contents
from filiation.origin.units import Units, relabelled
from tests.origin.models import DIM, HEADS, Model, dissected, examined, llama
from tests.origin.promise import keeps_its_promise
from tests.origin.scramble import BLOCKS, scrambled

TINY = {"layers": 2, "width": 24, "ffn": 48, "kv": 2}
INSIDE = (Symmetry.VALUE_ORDER, Symmetry.VALUE_SIGN, Symmetry.QUERY_HEAD_ORDER)


def channels(seed: int, heads: int) -> Units:
    drawn = np.random.default_rng(seed).standard_normal((heads * 16, 48)).astype(np.float32)
    number = np.arange(heads * 16)
    return Units("value", drawn, number % 16, number // 16, (drawn,), sign_free=True)


def of_heads(units: Units, heads: list[int]) -> Units:
    """Return these heads of the units, numbered anew."""
    rows = np.concatenate([np.flatnonzero(units.block == h) for h in heads])
    number = np.arange(len(rows))
    content = units.content[rows]
    return Units("value", content, number % 16, number // 16, (content,), sign_free=True)


def test_heads_meet_the_ones_that_hold_the_same() -> None:
    c = channels(0, 3)
    both = Units(
        "value",
        np.concatenate([c.content, channels(1, 2).content]),
        np.tile(np.arange(16), 5),
        np.repeat(np.arange(5), 16),
        sign_free=True,
    )
    s = of_heads(both, [4, 2, 0, 3, 1])
    heads = paired_heads(s, c, np.random.default_rng(0))
    assert heads is not None
    assert heads.tolist() == [-1, 2, 0, -1, 1]
    back = paired_heads(c, s, np.random.default_rng(0))
    assert back is not None
    assert back.tolist() == [2, 4, 1]
    mine, theirs = on_equal_heads(s, c, np.random.default_rng(0))
    order = np.lexsort((mine.position, mine.block))
    np.testing.assert_array_equal(mine.content[order], theirs.content)
    assert moved(np.repeat(np.arange(5.0), 16), heads, 16)[:48:16].tolist() == [2.0, 4.0, 1.0]
    assert set(in_heads(s, heads).block.tolist()) == {0, 1, 2}


def test_heads_that_stand_in_place_are_left_as_they_are() -> None:
    s, c = channels(0, 3), channels(0, 3)
    assert on_equal_heads(s, c, np.random.default_rng(0)) == (s, c)


def test_pairing_heads_reads_no_label_inside_of_them() -> None:
    rng, s, c = np.random.default_rng(1), channels(2, 4), channels(3, 2)
    first = paired_heads(s, c, np.random.default_rng(7))
    assert first is not None
    for _ in range(20):
        again = paired_heads(relabelled(s, rng), c, np.random.default_rng(7))
        assert again is not None
        assert again.tolist() == first.tolist()


def test_pairing_layers_reads_no_label_of_a_block() -> None:
    plan = Plan("0" * 64, whole=True)
    base, rng = llama(1, **{**TINY, "layers": 3}), np.random.default_rng(2)
    candidate = Side(dissected(llama(4, **TINY)), is_suspect=False)
    first = layers_by_contents(Side(dissected(base)), candidate, range(3), plan)
    for _ in range(5):
        again = Side(dissected(scrambled(base, rng, BLOCKS)))
        assert layers_by_contents(again, candidate, range(3), plan) == first


def test_layers_put_in_between_meet_none() -> None:
    """Strangers' layers between a model's own: only its own are kept."""
    own, other = llama(1, **TINY), llama(2, **TINY)
    tensors = {n: v for n, v in own[0].items() if not n.startswith("model.layers.")}
    for place, (source, layer) in enumerate([(own, 0), (other, 0), (own, 1), (other, 1)]):
        at = f"model.layers.{layer}."
        tensors |= {
            f"model.layers.{place}.{n.removeprefix(at)}": v for n, v in source[0].items() if n.startswith(at)
        }
    deep = dissected((tensors, {**own[1], "num_hidden_layers": 4}))
    plan = Plan("0" * 64, whole=True)
    found = layers_by_contents(Side(deep), Side(dissected(own), is_suspect=False), range(4), plan)
    assert found == ((0, 0), (2, 1))


def with_more_heads(model: Model, rng: np.random.Generator) -> Model:
    """Add two key-value heads of random numbers, each with as many query heads as the others have."""
    tensors, settings = dict(model[0]), model[1]
    for layer in range(settings["num_hidden_layers"]):
        at = f"model.layers.{layer}.self_attn."
        for which, rows in (("q", HEADS * DIM), ("k", 2 * DIM), ("v", 2 * DIM)):
            own = tensors[f"{at}{which}_proj.weight"]
            added = (own.std() * rng.standard_normal((rows, own.shape[1]))).astype(np.float32)
            tensors[f"{at}{which}_proj.weight"] = np.concatenate([own, added])
        own = tensors[at + "o_proj.weight"]
        tensors[at + "o_proj.weight"] = np.concatenate([own, np.zeros_like(own)], axis=1)
    return tensors, {**settings, "num_attention_heads": 2 * HEADS, "num_key_value_heads": 4}


def test_relabelled_copies_with_more_heads_are_no_relatives() -> None:
    """Heads meet the very ones they are copies of; the labels inside of them are random."""
    rng, model = np.random.default_rng(3), llama(1, **TINY)
    same, values = dissected(model), []
    for i in range(40):
        hidden = scrambled(with_more_heads(model, rng), rng, BLOCKS)
        x = examined(hidden, same, seed=str(i), with_tokens=False)
        told = [t for t in x.stages[0].blocks if t.applied and t.subject.symmetry in INSIDE]
        assert any(t.subject.symmetry is Symmetry.VALUE_ORDER for t in told)
        values.append(combine(x.stages[0].blocks) / math.log(10))
    assert keeps_its_promise(values), max(values)


def test_relabelled_copies_of_another_depth_are_no_relatives() -> None:
    """The embeddings agree, so that layers of another depth are paired by contents: their labels are random."""
    rng, model = np.random.default_rng(4), llama(1, **{**TINY, "layers": 3})
    tensors = {n: v for n, v in model[0].items() if not n.startswith("model.layers.2.")}
    shallow, values = dissected((tensors, {**model[1], "num_hidden_layers": 2})), []
    for i in range(40):
        x = examined(scrambled(model, rng, BLOCKS), shallow, seed=str(i))
        stage = next(s for s in x.stages if s.name == "aligned")
        assert stage.pairing.layers == ((0, 0), (1, 1))
        values.append(combine(stage.blocks) / math.log(10))
    assert keeps_its_promise(values), max(values)
