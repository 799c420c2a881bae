"""What was permuted, rotated or rescaled is recovered: the orders themselves, the scales, and nothing left behind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from filiation.derivation import Derived
from filiation.lab import launder
from filiation.lab.layout import Config, Tensors
from tests.derivation.models import DIM, FFN, HEADS, KV, LAYERS, Change, Model, base, derived, numbers, tuned


def _after(model: Model, *steps: Change) -> Model:
    for step in steps:
        model = step(*model)
    return model


def _seeded(seed: int, *changes: object) -> list[Change]:
    return [lambda t, c, f=f: f(t, c, seed=seed) for f in changes]  # type: ignore[operator]


def _orders(found: Derived, what: str) -> dict[str, Sequence[int]]:
    return numbers(found, "permuted", what)["order"]


def test_order_of_neurons_is_recovered() -> None:
    child = launder.permute_ffn(*base(), seed=4)
    found = derived(child, base())
    shown = numbers(found, "permuted", "ffn")
    assert shown["units"] == LAYERS * FFN
    assert shown["agreement"] == pytest.approx(1.0, abs=1e-6)
    for layer in range(LAYERS):
        name = f"model.layers.{layer}.mlp.gate_proj.weight"
        order = shown["order"][str(layer)]
        np.testing.assert_array_equal(child[0][name], base()[0][name][order])
    assert all(delta.equal == 1.0 for delta in found.deltas)


def test_order_and_signs_of_channels_are_recovered() -> None:
    child = launder.signed_permutation(*base(), seed=4)
    shown = numbers(derived(child, base()), "permuted", "residual")
    embedding = "model.embed_tokens.weight"
    order = shown["order"]["all"]
    np.testing.assert_array_equal(np.abs(child[0][embedding]), np.abs(base()[0][embedding][:, order]))
    assert shown["flipped"] == 32


def test_flipped_neurons_are_counted() -> None:
    """Nothing moved, so nothing is called permuted: a flip is a scale of minus one."""
    found = derived(launder.flip_ffn_signs(*base(), seed=4), base())
    assert found.kinds == {"rescaled"}
    shown = numbers(found, "rescaled", "ffn_signs")
    assert (shown["units"], shown["flipped"]) == (LAYERS * FFN, LAYERS * FFN // 2)


@pytest.mark.parametrize(
    ("change", "what", "units"),
    [
        (launder.flip_value_signs, "value_signs", LAYERS * KV * DIM),
        (launder.flip_residual_signs, "residual_signs", 64),
    ],
)
def test_flipped_channels_are_counted(change: object, what: str, units: int) -> None:
    found = derived(change(*base(), seed=4), base())  # type: ignore[operator]
    assert found.kinds == {"rescaled"}
    shown = numbers(found, "rescaled", what)
    assert (shown["units"], shown["flipped"]) == (units, units // 2)


def test_order_of_heads_is_recovered() -> None:
    child = launder.permute_heads(*base(), seed=4)
    found = derived(child, base())
    groups = _orders(found, "kv_heads")
    for layer, order in groups.items():
        name = f"model.layers.{layer}.self_attn.k_proj.weight"
        old = base()[0][name].reshape(KV, DIM, -1)[list(order)].reshape(KV * DIM, -1)
        np.testing.assert_array_equal(child[0][name], old)
    queries = _orders(found, "query_heads")
    for layer, order in queries.items():
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        old = base()[0][name].reshape(HEADS, DIM, -1)[list(order)].reshape(HEADS * DIM, -1)
        np.testing.assert_array_equal(child[0][name], old)
    assert all(delta.equal == 1.0 for delta in found.deltas)


def test_order_of_value_channels_is_recovered() -> None:
    found = derived(launder.permute_value_channels(*base(), seed=4), base())
    shown = numbers(found, "permuted", "values")
    assert shown["layers"] == list(range(LAYERS))
    assert shown["moved"] > 0.8 * shown["units"]
    assert all(delta.equal == 1.0 for delta in found.deltas)


def test_rotation_is_found_dense_and_undone() -> None:
    found = derived(launder.rotate_residual(*base(), seed=4), base())
    shown = numbers(found, "rotated", "residual")
    assert shown["width"] == 64
    assert shown["agreement"] == pytest.approx(1.0, abs=1e-5)
    assert shown["largest_entry"] < 0.6  # a permutation would show 1
    assert not shown["hadamard"]
    gains = numbers(found, "rescaled", "gains")
    assert gains["folded"] == gains["norms"] == 2 * LAYERS + 1
    assert max(d.relative_delta or 0 for d in found.deltas) < 1e-5


def test_hadamard_rotation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = np.where(np.random.default_rng(0).random(64) < 0.5, -1.0, 1.0)
    two = np.array([[1.0, 1.0], [1.0, -1.0]])
    matrix = np.ones((1, 1))
    for _ in range(6):
        matrix = np.kron(matrix, two)
    monkeypatch.setattr(
        launder, "haar_orthogonal", lambda size, *, seed: signs[:, None] * matrix / np.sqrt(size)
    )
    shown = numbers(derived(launder.rotate_residual(*base(), seed=0), base()), "rotated", "residual")
    assert shown["hadamard"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (launder.rescale_ffn_units, "ffn"),
        (launder.rescale_value_channels, "value_channels"),
        (launder.rescale_queries_and_keys, "rotary_pairs"),
    ],
)
@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_paired_scales_are_found_and_undone(change: object, what: str, spread: float) -> None:
    found = derived(change(*base(), seed=4, spread=spread), base())  # type: ignore[operator]
    assert found.kinds == {"rescaled"}
    shown = numbers(found, "rescaled", what)
    assert shown["spread"] == pytest.approx(spread, rel=0.3)
    assert shown["layers"] == list(range(LAYERS))
    assert max(d.relative_delta or 0 for d in found.deltas) < 1e-5


def _turn_value_channels(tensors: Tensors, config: Config, *, seed: int) -> Model:
    out = dict(tensors)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        turns = [launder.haar_orthogonal(DIM, seed=seed + 10 * layer + head) for head in range(KV)]
        v = tensors[at + "v_proj.weight"].reshape(KV, DIM, -1)
        out[at + "v_proj.weight"] = np.concatenate([r @ x for r, x in zip(turns, v, strict=True)]).astype(
            np.float32
        )
        o = tensors[at + "o_proj.weight"].T.reshape(HEADS, DIM, -1)
        mixed = [turns[h // (HEADS // KV)] @ o[h] for h in range(HEADS)]
        out[at + "o_proj.weight"] = np.ascontiguousarray(np.concatenate(mixed).T).astype(np.float32)
    return out, dict(config)


def _turn_rotary_pairs(tensors: Tensors, config: Config, *, seed: int) -> Model:
    g = np.random.default_rng(seed)
    out = dict(tensors)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        angle = g.uniform(-np.pi, np.pi, (KV, DIM // 2))
        for which, heads in (("k", KV), ("q", HEADS)):
            rows = tensors[f"{at}{which}_proj.weight"].reshape(heads, 2, DIM // 2, -1)
            mine = np.repeat(angle, heads // KV, axis=0)[:, :, None]
            first = np.cos(mine) * rows[:, 0] - np.sin(mine) * rows[:, 1]
            second = np.sin(mine) * rows[:, 0] + np.cos(mine) * rows[:, 1]
            turned = np.stack([first, second], axis=1).reshape(heads * DIM, -1)
            out[f"{at}{which}_proj.weight"] = turned.astype(np.float32)
    return out, dict(config)


@pytest.mark.parametrize(
    ("change", "what"), [(_turn_value_channels, "value_channels"), (_turn_rotary_pairs, "rotary_pairs")]
)
def test_rotation_inside_heads_is_found_and_undone(change: object, what: str) -> None:
    found = derived(change(*base(), seed=4), base())  # type: ignore[operator]
    assert found.kinds == {"rotated"}
    assert numbers(found, "rotated", what)["layers"] == list(range(LAYERS))
    assert max(d.relative_delta or 0 for d in found.deltas) < 1e-5


EVERYTHING = (
    launder.permute_ffn,
    launder.rescale_ffn_units,
    launder.permute_value_channels,
    launder.rescale_value_channels,
    launder.rescale_queries_and_keys,
    launder.permute_heads,
    launder.rotate_residual,
)


def test_everything_at_once_is_undone() -> None:
    found = derived(_after(base(), *_seeded(7, *EVERYTHING)), base())
    assert found.kinds == {"permuted", "rotated", "rescaled", "settings_changed"}
    assert {s.numbers["what"] for s in found.steps if s.kind == "permuted"} == {
        "ffn",
        "kv_heads",
        "query_heads",
        "values",
    }
    assert max(d.relative_delta or 0 for d in found.deltas) < 1e-4


def test_fine_tuning_is_measured_through_everything_at_once() -> None:
    plain = numbers(derived(tuned(*base(), level=0.03), base()), "fine_tuned")
    child = _after(tuned(*base(), level=0.03), *_seeded(7, *EVERYTHING))
    through = numbers(derived(child, base()), "fine_tuned")
    assert through["median_relative_delta"] == pytest.approx(plain["median_relative_delta"], rel=0.15)
    assert through["cosine"] == pytest.approx(plain["cosine"], abs=1e-3)


def test_large_orders_are_given_as_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filiation.derivation.launder.WRITTEN", 100)
    shown = numbers(derived(launder.permute_ffn(*base(), seed=4), base()), "permuted", "ffn")
    assert "order" not in shown
    assert len(shown["order_sha256"]) == 64
