"""Merges, shrinking, framing, the further launderings: each does what its paper says and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.errors import UsageError
from filiation.lab import derive, framing, launder, mergers, shrink
from filiation.lab.forward import logits
from filiation.lab.layout import is_gain
from tests.lab.models import FFN, HEADS, KV, VOCAB, WIDTH, llama, mixtral, tokens

UP = "model.layers.1.mlp.up_proj.weight"
DOWN = "model.layers.1.mlp.down_proj.weight"


def child(seed: int, level: float = 0.1):
    return derive.add_noise(*llama(), level=level, seed=seed)[0]


def test_slerp_keeps_length_between_two_of_one_length() -> None:
    config = llama()[1]
    one, other = child(1, 1.0), child(2, 1.0)
    other = {n: v * np.linalg.norm(one[n]) / np.linalg.norm(v) for n, v in other.items()}
    middle, _ = mergers.slerp([one, other], config, along=0.5)
    assert np.linalg.norm(middle[UP]) == pytest.approx(np.linalg.norm(one[UP]), rel=1e-5)
    np.testing.assert_allclose(mergers.slerp([one, other], config, along=0.0)[0][UP], one[UP], atol=1e-6)
    np.testing.assert_allclose(mergers.slerp([one, one], config)[0][UP], one[UP], atol=1e-6)


def test_task_arithmetic_adds_what_the_children_learned() -> None:
    base, config = llama()
    one, other = child(1), child(2)
    out, _ = mergers.task_arithmetic([base, one, other], config, weights=[1.0, -0.5])
    np.testing.assert_allclose(
        out[UP], base[UP] + (one[UP] - base[UP]) - 0.5 * (other[UP] - base[UP]), atol=1e-6
    )


def test_ties_moves_only_where_the_largest_changes_agree() -> None:
    base, config = llama()
    one, other = child(1), child(2)
    out, _ = mergers.ties([base, one, other], config, density=0.3)
    tasks = [c[UP] - base[UP] for c in (one, other)]
    kept = [np.abs(t) >= np.quantile(np.abs(t), 0.7) for t in tasks]
    assert np.array_equal(out[UP] != base[UP], kept[0] | kept[1])
    alone = kept[0] & ~kept[1]
    np.testing.assert_allclose(out[UP][alone], one[UP][alone], atol=1e-6)


def test_dare_drops_a_share_and_scales_the_rest() -> None:
    base, config = llama()
    one = child(1)
    out, _ = mergers.dare([base, one], config, density=0.25, seed=4)
    moved = out[UP] != base[UP]
    assert 0.1 < moved.mean() < 0.4
    np.testing.assert_allclose(
        (out[UP] - base[UP])[moved], 4 * (one[UP] - base[UP])[moved], rtol=1e-3, atol=1e-6
    )
    with pytest.raises(UsageError, match="cannot be merged"):
        mergers.slerp([base], config)


def test_pruning_by_norm_keeps_the_largest_in_their_order() -> None:
    tensors, config = llama()
    out, settings = shrink.prune_ffn_by_norm(tensors, config, units=12)
    importance = np.linalg.norm(tensors[UP], axis=1) * np.linalg.norm(tensors[DOWN], axis=0)
    keep = np.sort(np.argsort(-importance)[:12])
    assert np.array_equal(out[UP], tensors[UP][keep])
    assert settings["intermediate_size"] == 12
    narrow, settings = shrink.prune_residual_by_norm(tensors, config, channels=10)
    assert settings["hidden_size"] == 10
    assert narrow[UP].shape == (FFN, 10)
    assert np.isfinite(logits(narrow, settings, tokens())).all()
    with pytest.raises(UsageError, match="cannot keep"):
        shrink.prune_ffn_by_norm(tensors, config, units=FFN + 1)


def test_pruned_heads_are_whole_groups() -> None:
    out, settings = shrink.prune_heads(*llama(), groups=1)
    assert (settings["num_key_value_heads"], settings["num_attention_heads"]) == (1, HEADS // KV)
    assert logits(out, settings, tokens()).shape[-1] == VOCAB


def test_two_of_four_are_left() -> None:
    out, _ = shrink.two_of_four(*llama())
    assert ((out[UP].reshape(-1, 4) != 0).sum(1) == 2).all()
    assert np.array_equal(out["model.embed_tokens.weight"], llama()[0]["model.embed_tokens.weight"])


def test_a_removed_direction_is_a_change_of_rank_one() -> None:
    tensors, config = llama()
    out, _ = shrink.remove_direction(tensors, config, seed=3)
    assert np.linalg.matrix_rank((out[DOWN] - tensors[DOWN]).astype(np.float64), tol=1e-4) == 1
    assert np.array_equal(out[UP], tensors[UP])


def test_split_experts_hold_every_unit_once() -> None:
    tensors, config = llama()
    out, settings = shrink.split_experts(tensors, config, experts=4, active=2, seed=5)
    rows = np.concatenate([out[f"model.layers.1.block_sparse_moe.experts.{e}.w3.weight"] for e in range(4)])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, tensors[UP]))
    assert settings["intermediate_size"] == FFN // 4
    redrawn, _ = shrink.redraw_experts(out, settings, experts=[2], seed=6)
    changed = {name for name in out if not np.array_equal(out[name], redrawn[name])}
    assert changed
    assert all(".experts.2." in name for name in changed)


def test_a_tower_is_put_before_untouched_weights() -> None:
    tensors, config = llama()
    out, settings = shrink.graft_tower(tensors, config, seed=1)
    assert settings["text_config"] == config
    assert all(np.array_equal(out[f"language_model.{name}"], tensors[name]) for name in tensors)
    assert any(name.startswith("vision_tower.") for name in out)
    own, settings = shrink.replace_head(tensors, config, seed=1)
    assert settings["tie_word_embeddings"] is False
    assert own["lm_head.weight"].std() == pytest.approx(tensors["model.embed_tokens.weight"].std(), rel=0.1)
    assert shrink.set_config(tensors, config, rope_theta=5.0)[1]["rope_theta"] == 5.0


def test_framing_copies_what_it_says_and_no_label() -> None:
    receiver, config = llama(1)
    donor, _ = llama(2)
    sigmas, _ = framing.copy_sigmas(receiver, donor, config)
    assert all(
        sigmas[n].std() == pytest.approx(donor[n].std(), rel=1e-4) for n in donor if donor[n].ndim == 2
    )
    assert np.corrcoef(sigmas[UP].ravel(), receiver[UP].ravel())[0, 1] > 0.999
    spectra, _ = framing.copy_spectra(receiver, donor, config)
    values = [np.linalg.svd(t[UP], compute_uv=False) for t in (spectra, donor)]
    np.testing.assert_allclose(*values, rtol=1e-4)
    gains, _ = framing.copy_gains(receiver, donor, config)
    assert all(np.array_equal(gains[n], (donor if is_gain(n) else receiver)[n]) for n in receiver)
    assert framing.copy_settings(receiver, {"a": 1})[1] == {"a": 1}


NEW = [
    launder.rotate_values,
    launder.rotate_rotary_pairs,
    launder.rescale_gains,
    launder.launder_orders,
    launder.launder_all,
]


@pytest.mark.parametrize("move", NEW, ids=lambda move: move.__name__)
@pytest.mark.parametrize("kind", ["llama", "biases", "mixtral"])
def test_the_further_launderings_keep_the_function(move, kind) -> None:
    models = {"llama": llama, "biases": lambda: llama(biases=True), "mixtral": mixtral}
    tensors, config = models[kind]()
    out, settings = move(tensors, config, seed=5)
    a, b = (logits(t, c, tokens(), double=True) for t, c in ((tensors, config), (out, settings)))
    assert np.abs(a - b).max() / np.abs(a).max() < 5e-6
    assert any(not np.array_equal(out[name], tensors[name]) for name in tensors)


def test_rotary_pairs_are_not_turned_behind_a_norm() -> None:
    with pytest.raises(UsageError, match="rotary pairs"):
        launder.rotate_rotary_pairs(*llama(head_norms=True), seed=1)


def test_all_together_leaves_no_channel_row_or_sign_in_place() -> None:
    tensors, config = llama()
    out, _ = launder.launder_all(tensors, config, seed=3)
    for name in (UP, "model.layers.0.self_attn.v_proj.weight"):
        cosine = (out[name] * tensors[name]).sum(1) / np.linalg.norm(out[name], axis=1)
        assert np.abs(cosine / np.linalg.norm(tensors[name], axis=1)).mean() < 3 / np.sqrt(WIDTH)
