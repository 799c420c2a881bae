"""Widths left out, with what was kept; kv heads converted; the same read the other way round."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab import derive as lab
from filiation.lab import launder
from filiation.lab.layout import Config, Tensors
from tests.derivation.models import DIM, FFN, HEADS, KV, LAYERS, Model, base, derived, numbers, tuned


def test_kept_neurons() -> None:
    child = lab.prune_ffn(*base(), units=128, seed=3)
    shown = numbers(derived(child, base()), "width_pruned")
    assert (shown["what"], shown["from"], shown["to"]) == ("ffn", FFN, 128)
    assert shown["in_order"] == shown["distinct"] == 1.0
    for layer in range(LAYERS):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        np.testing.assert_array_equal(child[0][name], base()[0][name][shown["kept"][str(layer)]])


def test_kept_neurons_out_of_order() -> None:
    child = launder.permute_ffn(*lab.prune_ffn(*base(), units=128, seed=3), seed=4)
    shown = numbers(derived(child, base()), "width_pruned")
    assert shown["in_order"] < 0.5
    assert shown["distinct"] == 1.0


def test_kept_channels() -> None:
    child = lab.prune_residual(*base(), channels=48, seed=3)
    found = derived(child, base())
    shown = numbers(found, "width_pruned")
    assert (shown["what"], shown["from"], shown["to"]) == ("residual", 64, 48)
    name = "model.embed_tokens.weight"
    np.testing.assert_array_equal(child[0][name], base()[0][name][:, shown["kept"]["all"]])
    assert all(delta.equal == 1.0 for delta in found.deltas)


def _prune_heads(tensors: Tensors, config: Config, keep: list[int]) -> Model:
    """Keep whole kv groups with their query heads."""
    group = HEADS // KV
    queries = [g * group + i for g in keep for i in range(group)]
    out = dict(tensors)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        for which, heads, kept in (("q", HEADS, queries), ("k", KV, keep), ("v", KV, keep)):
            rows = tensors[f"{at}{which}_proj.weight"].reshape(heads, DIM, -1)[kept]
            out[f"{at}{which}_proj.weight"] = rows.reshape(len(kept) * DIM, -1)
        columns = tensors[at + "o_proj.weight"].reshape(-1, HEADS, DIM)[:, queries]
        out[at + "o_proj.weight"] = np.ascontiguousarray(columns.reshape(-1, len(queries) * DIM))
    return out, {**config, "num_attention_heads": len(queries), "num_key_value_heads": len(keep)}


def test_kept_heads() -> None:
    found = derived(_prune_heads(*base(), keep=[1]), base())
    assert found.kinds == {"width_pruned"}
    heads = next(s.numbers for s in found.steps if s.numbers["what"] == "heads")
    assert (heads["from"], heads["to"]) == (HEADS, 2)
    assert heads["kept"]["0"] == [2, 3]
    groups = next(s.numbers for s in found.steps if s.numbers["what"] == "kv_heads")
    assert groups["kept"]["0"] == [1]


@pytest.mark.parametrize(
    ("child", "method", "to"),
    [
        (lambda: lab.pool_kv_heads(*base(), kv_heads=1), "mean", 1),
        (lambda: lab.repeat_kv_heads(*base(), kv_heads=4), "repeat", 4),
    ],
)
def test_converted_heads(child: object, method: str, to: int) -> None:
    found = derived(child(), base())  # type: ignore[operator]
    shown = numbers(found, "heads_converted")
    assert (shown["from"], shown["to"], shown["method"]) == (KV, to, method)
    assert shown["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert max(d.relative_delta or 0 for d in found.deltas) < 1e-6


def _first_of_each_group(tensors: Tensors, config: Config) -> Model:
    out = dict(tensors)
    for layer in range(LAYERS):
        for which in ("k", "v"):
            name = f"model.layers.{layer}.self_attn.{which}_proj.weight"
            out[name] = tensors[name].reshape(KV, DIM, -1)[0]
    return out, {**config, "num_key_value_heads": 1}


def test_picked_heads_are_told_from_pooled_ones() -> None:
    shown = numbers(derived(_first_of_each_group(*base()), base()), "heads_converted")
    assert shown["method"] == "first"


def test_converted_and_tuned() -> None:
    found = derived(tuned(*lab.pool_kv_heads(*base(), kv_heads=1), level=0.03), base())
    assert found.kinds == {"heads_converted", "fine_tuned"}


@pytest.mark.parametrize(
    ("child", "what"),
    [
        (lambda: lab.prune_residual(*base(), channels=48, seed=3), "residual"),
        (lambda: lab.prune_ffn(*base(), units=128, seed=3), "ffn"),
    ],
)
def test_a_wider_suspect_is_read_the_other_way_round(child: object, what: str) -> None:
    found = derived(base(), child())  # type: ignore[operator]
    assert found.kinds == {"width_pruned"}
    shown = numbers(found, "width_pruned", what)
    assert shown["reversed"] is True
    assert "derivation.reversed" in found.notes
