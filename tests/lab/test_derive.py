"""Planted children hold what they should hold, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filiation.errors import UsageError
from filiation.lab import derive
from filiation.lab.forward import logits
from tests.lab.models import DIM, FFN, KV, LAYERS, VOCAB, WIDTH, llama, mixtral, tokens


def _equal(one, other) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@settings(max_examples=25, deadline=None)
@given(path=st.lists(st.integers(0, LAYERS - 1), min_size=1, max_size=6))
def test_layers_follow_the_path(path) -> None:
    tensors, config = llama()
    out, new = derive.take_layers(tensors, config, path)
    assert new["num_hidden_layers"] == len(path)
    for place, source in enumerate(path):
        name = "model.layers.{}.mlp.up_proj.weight"
        assert np.array_equal(out[name.format(place)], tensors[name.format(source)])
    assert len(out) == 2 + 9 * len(path)
    assert logits(out, new, tokens()).shape == (2, 11, VOCAB)


def test_the_identity_path_changes_nothing() -> None:
    tensors, config = llama()
    out, new = derive.take_layers(tensors, config, range(LAYERS))
    assert _equal(out, tensors)
    assert new == config


@pytest.mark.parametrize("path", [[], [0, LAYERS], [-1]])
def test_layers_that_do_not_exist_are_refused(path) -> None:
    with pytest.raises(UsageError, match="cannot take layers"):
        derive.take_layers(*llama(), path)


@pytest.mark.parametrize("model", [llama, mixtral])
def test_inserted_blocks_are_silent(model) -> None:
    tensors, config = model()
    out, new = derive.insert_blocks(tensors, config, [0, 2])
    assert new["num_hidden_layers"] == LAYERS + 2
    np.testing.assert_allclose(
        logits(out, new, tokens()), logits(tensors, config, tokens()), rtol=1e-4, atol=1e-4
    )
    assert not out["model.layers.1.self_attn.o_proj.weight"].any()
    assert out["model.layers.2.self_attn.o_proj.weight"].any()


def test_pruned_units_are_a_subsequence() -> None:
    tensors, config = llama()
    out, new = derive.prune_ffn(tensors, config, units=13, seed=3)
    assert new["intermediate_size"] == 13
    for layer in range(LAYERS):
        gate = f"model.layers.{layer}.mlp.gate_proj.weight"
        places = [int(np.flatnonzero((tensors[gate] == row).all(1))[0]) for row in out[gate]]
        assert places == sorted(places)
        down = gate.replace("gate", "down")
        assert np.array_equal(out[down], tensors[down][:, places])


def test_pruned_channels_are_taken_from_every_tensor_alike() -> None:
    tensors, config = llama()
    out, new = derive.prune_residual(tensors, config, channels=10, seed=3)
    norm = "model.norm.weight"
    keep = [int(np.flatnonzero(tensors[norm] == gain)[0]) for gain in out[norm]]
    assert new["hidden_size"] == 10
    assert keep == sorted(keep)
    assert np.array_equal(out["model.embed_tokens.weight"], tensors["model.embed_tokens.weight"][:, keep])
    o = "model.layers.1.self_attn.o_proj.weight"
    assert np.array_equal(out[o], tensors[o][keep])
    assert logits(out, new, tokens()).shape == (2, 11, VOCAB)


@pytest.mark.parametrize(("units", "where"), [(0, "units"), (FFN + 1, "units")])
def test_pruning_to_nothing_or_to_more_is_refused(units, where) -> None:
    with pytest.raises(UsageError, match=where):
        derive.prune_ffn(*llama(), units=units, seed=0)


def test_noise_has_the_level_asked_for() -> None:
    tensors, config = llama()
    out, _ = derive.add_noise(tensors, config, level=0.3, seed=1)
    noise = np.concatenate([((out[n] - t) / t.std()).ravel() for n, t in tensors.items() if t.ndim == 2])
    assert abs(noise.std() - 0.3) < 0.01
    assert all(np.array_equal(out[n], t) for n, t in tensors.items() if t.ndim == 1)


def test_low_rank_updates_have_that_rank_and_level() -> None:
    tensors, config = llama()
    out, _ = derive.low_rank_update(tensors, config, rank=2, level=0.1, seed=1)
    changed = [name for name in tensors if not np.array_equal(out[name], tensors[name])]
    assert len(changed) == 2 * LAYERS
    for name in changed:
        delta = (out[name] - tensors[name]).astype(np.float64)
        values = np.linalg.svd(delta, compute_uv=False)
        assert values[2] < 1e-5 * values[0] < values[1]
        assert abs(np.linalg.norm(delta) / np.linalg.norm(tensors[name]) - 0.1) < 1e-4


def test_sparsified_matrices_lose_their_smallest_values() -> None:
    tensors, config = llama()
    out, _ = derive.sparsify(tensors, config, fraction=0.5)
    for name, value in tensors.items():
        zero = out[name] == 0
        if value.ndim == 1 or "embed" in name:
            assert not zero.any()
        else:
            assert abs(zero.mean() - 0.5) < 0.02
            assert np.abs(value[zero]).max() <= np.abs(value[~zero]).min()


def test_a_merge_is_the_weighted_sum() -> None:
    (a, config), (b, _) = llama(1), llama(2)
    out, _ = derive.merge([a, b], config, weights=[0.25, 0.75])
    for name in a:
        np.testing.assert_allclose(out[name], 0.25 * a[name] + 0.75 * b[name], rtol=1e-5, atol=1e-6)


def test_unlike_parents_are_not_merged() -> None:
    tensors, config = llama()
    with pytest.raises(UsageError, match="cannot be merged"):
        derive.merge([tensors, {}], config, weights=[0.5, 0.5])
    with pytest.raises(UsageError, match="cannot be merged"):
        derive.merge([tensors, tensors], config, weights=[1.0])


def test_grafts_come_from_the_donor_and_the_rest_from_the_receiver() -> None:
    (receiver, config), (donor, _) = llama(1), llama(2)
    out, _ = derive.graft(receiver, donor, config, layers=[1])
    for name in out:
        source = donor if name.startswith("model.layers.1.") else receiver
        assert np.array_equal(out[name], source[name])


def test_upcycled_experts_are_noisy_copies_and_extraction_undoes_them() -> None:
    tensors, config = llama()
    exact = derive.upcycle(tensors, config, experts=4, active=2, noise=0.0, seed=1)
    assert exact[1]["model_type"] == "mixtral"
    np.testing.assert_allclose(
        logits(*exact, tokens()), logits(tensors, config, tokens()), rtol=1e-4, atol=1e-4
    )
    dense, settings_ = derive.extract_dense(*exact, expert=3)
    assert _equal(dense, tensors)
    assert settings_["model_type"] == "llama"
    assert "num_local_experts" not in settings_
    noisy, _ = derive.upcycle(tensors, config, experts=4, active=2, noise=0.1, seed=1)
    first, second = (noisy[f"model.layers.0.block_sparse_moe.experts.{e}.w1.weight"] for e in (0, 1))
    source = tensors["model.layers.0.mlp.gate_proj.weight"]
    assert not np.array_equal(first, second)
    assert abs((first - source).std() / source.std() - 0.1) < 0.02


def test_vocabularies_shrink_grow_and_are_replaced() -> None:
    tensors, config = llama()
    name = "model.embed_tokens.weight"
    kept, small = derive.take_tokens(tensors, config, np.array([5, 1, 2]))
    assert small["vocab_size"] == 3
    assert np.array_equal(kept[name], tensors[name][[5, 1, 2]])
    grown, large = derive.extend_vocabulary(tensors, config, tokens=6, seed=0)
    assert large["vocab_size"] == VOCAB + 6 == len(grown[name])
    assert np.array_equal(grown[name][:VOCAB], tensors[name])
    other, _ = derive.replace_embeddings(tensors, config, seed=0, vocab=31)
    assert other[name].shape == (31, WIDTH)


def test_kv_heads_are_repeated_without_change_and_pooled_back() -> None:
    tensors, config = llama(biases=True)
    wide = derive.repeat_kv_heads(tensors, config, kv_heads=4)
    np.testing.assert_allclose(
        logits(*wide, tokens()), logits(tensors, config, tokens()), rtol=1e-4, atol=1e-4
    )
    back, settings_ = derive.pool_kv_heads(*wide, kv_heads=KV)
    assert settings_["num_key_value_heads"] == KV
    assert _equal(back, tensors)
    one, _ = derive.pool_kv_heads(tensors, config, kv_heads=1)
    name = "model.layers.0.self_attn.v_proj.weight"
    np.testing.assert_allclose(
        one[name], (tensors[name][:DIM] + tensors[name][DIM:]) / 2, rtol=1e-5, atol=1e-6
    )
    with pytest.raises(UsageError, match="kv heads"):
        derive.pool_kv_heads(tensors, config, kv_heads=3)


def test_changes_that_do_not_fit_the_model_are_refused() -> None:
    with pytest.raises(UsageError, match="feed-forward block"):
        derive.upcycle(*mixtral(), experts=2, active=1, noise=0.0, seed=0)
    with pytest.raises(UsageError, match="feed-forward block"):
        derive.extract_dense(*llama(), expert=0)
    with pytest.raises(UsageError, match="graft layer 7"):
        derive.graft(llama(1)[0], llama(2)[0], llama()[1], layers=[7])
