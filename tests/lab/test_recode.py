"""Other names, fused projections and coarser numbers."""

from __future__ import annotations

import numpy as np
import pytest

from filiation.lab import recode
from tests.lab.models import DIM, FFN, HEADS, KV, LAYERS, llama


def test_renaming_is_one_to_one_and_leaves_no_old_name() -> None:
    tensors, config = llama()
    out, settings = recode.rename(tensors, config)
    assert len(out) == len(tensors)
    assert not out.keys() & tensors.keys()
    assert np.array_equal(
        out["decoder.blocks.1.attn.query.weight"], tensors["model.layers.1.self_attn.q_proj.weight"]
    )
    assert "decoder.blocks.0.ln1.weight" in out
    assert settings["architectures"] == ["BorealisForCausalLM"]
    assert config["model_type"] == "llama"


def test_own_patterns_rename_what_they_match() -> None:
    tensors, config = llama()
    out, _ = recode.rename(
        tensors, config, names={r"^model\.": "language_model.model."}, model_type="wrapper"
    )
    assert {"language_model." + name for name in tensors} == set(out)


def test_fused_projections_stack_their_parts() -> None:
    tensors, config = llama()
    out, settings = recode.fuse_projections(tensors, config)
    assert settings["model_type"] == "phi3"
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        qkv = out[at + "self_attn.qkv_proj.weight"]
        assert qkv.shape[0] == (HEADS + 2 * KV) * DIM
        assert np.array_equal(qkv[: HEADS * DIM], tensors[at + "self_attn.q_proj.weight"])
        assert np.array_equal(out[at + "mlp.gate_up_proj.weight"][FFN:], tensors[at + "mlp.up_proj.weight"])
    assert not [
        name for name in out if name.endswith(("q_proj.weight", "up_proj.weight")) and "gate_up" not in name
    ]


@pytest.mark.parametrize("bits", [4, 8])
def test_lattice_values_are_whole_steps_within_half_a_step(bits) -> None:
    matrix = np.random.default_rng(0).standard_normal((5, 70)).astype(np.float32)
    out = recode.round_to_lattice(matrix, bits, 32)
    for first in (0, 32, 64):
        old, new = matrix[:, first : first + 32], out[:, first : first + 32]
        scale = np.abs(old).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
        np.testing.assert_allclose(new / scale, np.rint(new / scale), atol=1e-4)
        assert (np.abs(old - new) <= scale * 0.5001).all()
    np.testing.assert_allclose(recode.round_to_lattice(out, bits, 32), out, rtol=1e-6)


def test_zero_groups_stay_zero() -> None:
    assert not recode.round_to_lattice(np.zeros((2, 32), dtype=np.float32), 4, 32).any()


def test_quantisation_rounds_matrices_alone() -> None:
    tensors, config = llama()
    for out, _ in (recode.quantise(tensors, config, bits=8), recode.quantise_nf4(tensors, config)):
        for name, value in tensors.items():
            assert np.array_equal(out[name], value) == (value.ndim == 1)
            assert out[name].shape == value.shape


def test_nf4_takes_the_nearest_of_sixteen_levels() -> None:
    row = np.linspace(-2, 2, 64, dtype=np.float32)[None]
    out, _ = recode.quantise_nf4({"m": row}, {})
    levels = 2 * recode.NF4_LEVELS
    expected = levels[np.abs(row[0][:, None] - levels).argmin(1)]
    np.testing.assert_allclose(out["m"][0], expected, rtol=1e-6)
    assert len(recode.NF4_LEVELS) == 16
