"""What the lab writes in other formats is read back by filiation; calibrated quantisers beat plain rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from filiation import anatomy, checkpoint
from filiation.errors import MissingExtraError, UsageError
from filiation.lab import calibrated, kquants, storage
from filiation.lab.forward import logits
from filiation.lab.save import as_stored

# The widths are multiples of 32: groups of a quantiser.
WIDTH, FFN, HEADS, KV, DIM, VOCAB = 64, 96, 4, 2, 16, 40
UP, DOWN, Q = (
    f"model.layers.1.{stem}.weight" for stem in ("mlp.up_proj", "mlp.down_proj", "self_attn.q_proj")
)


def model():
    from filiation.lab.llama import Shape, initial_weights

    shape = Shape(VOCAB, WIDTH, 2, HEADS, KV, DIM, FFN, 32)
    weights = initial_weights(shape, 3)
    return as_stored({n: 4 * v if v.ndim == 2 else v for n, v in weights.items()}), shape.config()


def tokenizer() -> bytes:
    vocab = {f"t{n}": n for n in range(VOCAB)}
    return json.dumps({"model": {"type": "BPE", "vocab": vocab, "merges": []}}).encode()


def read(folder: Path) -> dict[str, np.ndarray]:
    opened = checkpoint.open(str(folder))
    return {name: opened.read(name) for name in opened.tensors}


def test_types_and_torch_like_files_hold_the_same_values(tmp_path: Path) -> None:
    tensors, config = model()
    storage.write_typed(tmp_path / "f32", tensors, config, tokenizer(), dtype="float32")
    found = read(tmp_path / "f32")
    assert all(np.array_equal(found[name], tensors[name]) for name in tensors)
    assert json.loads((tmp_path / "f32" / "config.json").read_text())["torch_dtype"] == "float32"


@pytest.mark.parametrize(("write", "worst"), [(storage.write_fp8, 0.04), (storage.write_int8, 0.01)])
def test_eight_bits_beside_their_scales(tmp_path: Path, write, worst: float) -> None:
    tensors, config = model()
    write(tmp_path, tensors, config, tokenizer())
    found = read(tmp_path)
    error = np.linalg.norm(found[UP] - tensors[UP]) / np.linalg.norm(tensors[UP])
    assert 0 < error < worst
    assert np.array_equal(found["model.embed_tokens.weight"], tensors["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    ("kind", "worst"), [("F16", 1e-6), ("Q8_0", 0.01), ("Q4_0", 0.12), ("Q4_1", 0.12), ("Q5_0", 0.06)]
)
def test_gguf_has_its_own_rotary_order_which_the_reader_undoes(
    tmp_path: Path, kind: str, worst: float
) -> None:
    tensors, config = model()
    storage.write_gguf(tmp_path, tensors, config, tokenizer(), kind)
    opened = checkpoint.open(str(tmp_path))
    parts = {(p.role, p.layer): p for p in anatomy.dissect(opened).parts}
    for role, name in (("q", Q), ("up", UP)):
        found = anatomy.dissect(opened).read(parts[role, 1])
        assert np.linalg.norm(found - tensors[name]) / np.linalg.norm(tensors[name]) < worst
    with pytest.raises(UsageError, match="no IQ4_XS"):
        storage.write_gguf(tmp_path / "k", tensors, config, tokenizer(), "IQ4_XS")


@pytest.mark.parametrize(
    ("kind", "instead", "worst"),
    [("Q2_K", "IQ4_NL", 0.4), ("Q3_K", "IQ4_NL", 0.2), ("Q4_K", "Q5_0", 0.1), ("Q6_K", "Q8_0", 0.03)],
)
def test_k_quants_are_made_by_llama_cpp_itself(tmp_path: Path, kind: str, instead: str, worst: float) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra 'serve'")
    tensors, config = model()
    down = np.random.default_rng(4).standard_normal((WIDTH, 256)).astype(np.float32)
    tensors = {n: down if n == DOWN else v for n, v in tensors.items()}
    storage.write_gguf(tmp_path, tensors, config, tokenizer(), kind)
    opened = checkpoint.open(str(tmp_path))
    found = opened.read("blk.1.ffn_down.weight")
    assert 0 < np.linalg.norm(found - down) / np.linalg.norm(down) < worst
    dtypes = {name: tensor.dtype.upper() for name, tensor in opened.tensors.items()}
    assert dtypes["blk.1.ffn_down.weight"].endswith(kind)
    # A row of 64 values is no K-quant's: what llama.cpp takes instead.
    assert dtypes["blk.1.ffn_up.weight"].endswith(instead)


def test_without_the_quantiser_the_extra_that_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kquants.importlib.util, "find_spec", lambda name: None)
    kquants._quantiser.cache_clear()
    with pytest.raises(MissingExtraError, match="xllamacpp"):
        kquants.quantised(np.ones((2, 256), dtype=np.float32), "Q4_K")
    kquants._quantiser.cache_clear()


@pytest.mark.parametrize(
    ("quantise", "worst"), [(calibrated.quantise_gptq, 1.0), (calibrated.quantise_awq, 1.05)]
)
def test_packed_files_are_read_back_and_compute_nearly_the_same(tmp_path: Path, quantise, worst) -> None:
    tensors, config = model()
    tokens = np.random.default_rng(1).integers(0, VOCAB, (8, 24))
    arrays, settings = quantise(tensors, config, tokens)
    storage.write_arrays(tmp_path, arrays, settings, tokenizer())
    found = read(tmp_path)
    before = logits(tensors, config, tokens)
    moved = np.linalg.norm(logits(found, config, tokens) - before)
    plain = {
        n: calibrated.nearest(v.astype(np.float64)).values().astype(np.float32)
        if "layers" in n and v.ndim == 2
        else v
        for n, v in tensors.items()
    }
    assert found.keys() == tensors.keys()
    # AWQ gains where some channels are much larger than others, which these random ones are not.
    assert moved < worst * np.linalg.norm(logits(plain, config, tokens) - before)


def test_gptq_makes_up_for_its_errors_on_what_it_was_given() -> None:
    rng = np.random.default_rng(2)
    matrix, mixing = rng.standard_normal((24, 64)), rng.standard_normal((64, 64))
    given = rng.standard_normal((500, 64)) @ mixing
    errors = [
        np.linalg.norm(given @ (found.values() - matrix).T)
        for found in (calibrated.gptq(matrix, given), calibrated.nearest(matrix))
    ]
    assert errors[0] < 0.8 * errors[1]


def test_awq_protects_a_channel_that_is_much_larger_than_the_others() -> None:
    tensors, config = model()
    tensors["model.layers.1.post_attention_layernorm.weight"][5] = 30.0
    tokens = np.random.default_rng(1).integers(0, VOCAB, (8, 24))
    given = calibrated.calibrate(tensors, config, tokens)["model.layers.1.mlp.up_proj"]
    arrays, _ = calibrated.quantise_awq(tensors, config, tokens)
    gain = arrays["model.layers.1.post_attention_layernorm.weight"]
    assert np.abs(given).mean(0).argmax() == 5
    assert gain[5] < 0.7 * 30.0
