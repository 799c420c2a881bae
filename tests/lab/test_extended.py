"""Stacks, aligned merges, latent attention, biases, sinks, layers drawn anew: each holds what it should."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.errors import UsageError
from filiation.lab import aligned, derive, extended, launder, mergers
from filiation.lab.forward import logits
from filiation.lab.layout import Config, Tensors
from tests.lab.models import DIM, HEADS, KV, LAYERS, WIDTH, llama, mixtral, tokens

UP = "model.layers.{}.mlp.up_proj.weight"


def siblings() -> tuple[Tensors, Tensors, Config]:
    base, config = llama()
    one, other = (derive.add_noise(base, config, level=0.1, seed=seed)[0] for seed in (1, 2))
    return one, other, config


def expanded(tensors: Tensors, config: Config, old: Config) -> Tensors:
    """Multiply the two factors out, to what a Llama with one kv head a query head has."""
    out = dict(tensors)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}.self_attn."
        narrow, wide = (out.pop(f"{at}{name}.weight") for name in ("kv_a_proj_with_mqa", "kv_b_proj"))
        both = (wide @ narrow).reshape(HEADS, 2, DIM, WIDTH)
        assert wide.shape == (HEADS * 2 * DIM, config["kv_lora_rank"])
        for place, which in enumerate("kv"):
            out[f"{at}{which}_proj.weight"] = both[:, place].reshape(HEADS * DIM, WIDTH)
    return out


def test_a_stack_has_the_layers_of_both_and_the_ends_of_its_ends() -> None:
    one, other, config = siblings()
    one["model.norm.weight"] = one["model.norm.weight"] + 1
    out, new = mergers.passthrough([one, other], config, parts=[[0, 0, 2], [1, 1, 3]])
    assert new["num_hidden_layers"] == 4
    for place, source in enumerate(
        (one[UP.format(0)], one[UP.format(1)], other[UP.format(1)], other[UP.format(2)])
    ):
        assert np.array_equal(out[UP.format(place)], source)
    assert len(out) == 2 + 9 * 4
    assert np.array_equal(out["model.embed_tokens.weight"], one["model.embed_tokens.weight"])
    assert np.array_equal(out["model.norm.weight"], other["model.norm.weight"])
    assert logits(out, new, tokens()).shape[:2] == tokens().shape


def test_a_stack_of_all_layers_of_one_model_is_that_model() -> None:
    one, other, config = siblings()
    out, new = mergers.passthrough([one, other], config, parts=[[0, 0, LAYERS]])
    assert new == config
    assert all(np.array_equal(out[name], one[name]) for name in one)


@pytest.mark.parametrize("part", [[2, 0, 1], [0, 1, 1], [0, 0, LAYERS + 1], [0, 1], [-1, 0, 1]])
def test_a_part_that_is_not_there_is_refused(part: list[int]) -> None:
    one, other, config = siblings()
    with pytest.raises(UsageError, match="cannot be stacked"):
        mergers.passthrough([one, other], config, parts=[part])


def test_models_in_another_order_are_brought_back() -> None:
    one, other, config = siblings()
    moved = other
    for change in (launder.permute_ffn, launder.permute_residual, launder.permute_ffn):
        moved, _ = change(moved, config, seed=5)
    back = aligned.aligned(one, moved, config)
    assert all(np.array_equal(back[name], other[name]) for name in other)


@pytest.mark.parametrize("model", [llama, mixtral])
def test_aligning_keeps_the_function_and_brings_strangers_nearer(model) -> None:
    one, config = model(1)
    stranger, _ = model(2)
    near = aligned.aligned(one, stranger, config)
    np.testing.assert_allclose(
        logits(near, config, tokens()), logits(stranger, config, tokens()), rtol=1e-4, atol=1e-4
    )

    def shared(other: Tensors) -> float:
        return float(sum((one[name] * other[name]).sum() for name in one))

    assert shared(near) > shared(stranger)


def test_an_aligned_merge_agrees_with_its_parents_better_than_a_plain_one() -> None:
    one, other, config = siblings()
    moved, _ = launder.permute_ffn(*launder.permute_residual(other, config, seed=3), seed=4)
    found = {
        "aligned": aligned.aligned_merge([one, moved], config, weights=[0.5, 0.5])[0],
        "plain": derive.merge([one, moved], config, weights=[0.5, 0.5])[0],
    }

    def agreement(how: str, parent: Tensors) -> float:
        mine, theirs = (logits(each, config, tokens()).ravel() for each in (found[how], parent))
        return float(np.corrcoef(mine, theirs)[0, 1])

    for parent in (one, moved):
        assert agreement("aligned", parent) > 0.9 > agreement("plain", parent)
    with pytest.raises(UsageError, match="cannot be aligned"):
        aligned.aligned_merge([one, mixtral()[0]], config, weights=[0.5, 0.5])


def test_latent_attention_of_full_rank_computes_the_same_and_of_less_does_not() -> None:
    tensors, config = llama()
    wanted = logits(tensors, config, tokens())
    full, settings = extended.to_latent_attention(tensors, config, rank=WIDTH)
    assert settings["kv_lora_rank"] == WIDTH
    assert not any("k_proj" in name or "v_proj" in name for name in full)
    wide = {**config, "num_key_value_heads": HEADS}
    np.testing.assert_allclose(logits(expanded(full, settings, config), wide, tokens()), wanted, atol=1e-3)
    half, settings = extended.to_latent_attention(tensors, config, rank=WIDTH // 4)
    moved = np.abs(logits(expanded(half, settings, config), wide, tokens()) - wanted).max()
    assert moved > 0.05
    assert np.array_equal(half[UP.format(1)], tensors[UP.format(1)])


def test_latent_attention_is_refused_where_it_cannot_be() -> None:
    for rank in (0, WIDTH + 1):
        with pytest.raises(UsageError, match="cannot come from"):
            extended.to_latent_attention(*llama(), rank=rank)
    with pytest.raises(UsageError, match="cannot be given latent attention"):
        extended.to_latent_attention(*llama(biases=True), rank=4)
    assert 2 * KV * DIM >= WIDTH


def test_biases_of_zero_compute_the_same() -> None:
    tensors, config = llama()
    out, settings = extended.add_biases(tensors, config)
    assert len(out) == len(tensors) + 7 * LAYERS
    assert settings["attention_bias"]
    assert settings["mlp_bias"]
    assert np.array_equal(logits(out, settings, tokens()), logits(tensors, config, tokens()))
    there, _ = llama(biases=True)
    kept = extended.add_biases(there, config)[0]
    assert all(np.array_equal(kept[name], there[name]) for name in there)


def test_a_low_sink_takes_nothing_and_a_high_one_everything() -> None:
    tensors, config = llama()
    wanted = logits(tensors, config, tokens())
    low, settings = extended.add_sinks(tensors, config, level=-60.0)
    np.testing.assert_allclose(logits(low, settings, tokens()), wanted, atol=1e-5)
    level = extended.add_sinks(tensors, config)[0]
    assert np.abs(logits(level, config, tokens()) - wanted).max() > 0.05
    high = extended.add_sinks(tensors, config, level=60.0)[0]
    silent = {n: np.zeros_like(v) if "o_proj" in n else v for n, v in tensors.items()}
    np.testing.assert_allclose(
        logits(high, config, tokens()), logits(silent, config, tokens()), rtol=1e-4, atol=1e-4
    )


def test_layers_are_drawn_anew_and_no_others() -> None:
    tensors, config = llama(biases=True)
    out, settings = extended.redraw_layers(tensors, config, layers=[1], seed=6)
    again, _ = extended.redraw_layers(tensors, config, layers=[1], seed=6)
    assert settings == config
    for name, value in tensors.items():
        assert np.array_equal(out[name], value) != name.startswith("model.layers.1."), name
        assert np.array_equal(out[name], again[name])
    new, old = out[UP.format(1)], tensors[UP.format(1)]
    assert abs(np.corrcoef(new.ravel(), old.ravel())[0, 1]) < 0.2
    assert new.std() == pytest.approx(old.std(), rel=0.2)
    assert (out["model.layers.1.input_layernorm.weight"] == 1).all()
    assert not out["model.layers.1.self_attn.q_proj.bias"].any()
    with pytest.raises(UsageError, match="do not exist"):
        extended.redraw_layers(tensors, config, layers=[LAYERS], seed=0)
