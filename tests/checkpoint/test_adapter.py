"""PEFT adapters: merged as W + scaling B A, refused where that would not be the truth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from filiation import checkpoint
from filiation.errors import CorruptCheckpointError, UnsupportedFormatError
from tests.checkpoint.makers import check, model, save_torch, tensor, write_gguf

RANK, ALPHA = 2, 8.0
Q = "model.layers.0.self_attn.q_proj"
CONV = "model.layers.0.mlp.c_fc"
EMBED = "model.embed_tokens"


def _random(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _base() -> dict[str, np.ndarray[Any, Any]]:
    return {
        f"{Q}.weight": _random(6, 4, seed=1).astype(ml_dtypes.bfloat16),
        f"{Q}.bias": _random(6, seed=2),
        f"{CONV}.weight": _random(4, 10, seed=3),  # Conv1D: [in, out]
        f"{EMBED}.weight": _random(12, 4, seed=4),
        "lm_head.weight": _random(12, 4, seed=5),
        "norm.weight": np.ones(4, np.float32),
    }


def _factors(module: str = Q, inputs: int = 4, outputs: int = 6) -> dict[str, np.ndarray[Any, Any]]:
    prefix = f"base_model.model.{module}"
    return {
        f"{prefix}.lora_A.weight": _random(RANK, inputs, seed=6),
        f"{prefix}.lora_B.weight": _random(outputs, RANK, seed=7),
    }


def _adapter(folder: Path, tensors: dict[str, Any], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": "org/base"}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **config}))
    return folder


def _delta(tensors: dict[str, Any], module: str = Q) -> np.ndarray[Any, Any]:
    prefix = f"base_model.model.{module}"
    return tensors[f"{prefix}.lora_B.weight"] @ tensors[f"{prefix}.lora_A.weight"]


def _merged(
    tmp_path: Path, tensors: dict[str, Any], base: Any = None, **config: Any
) -> checkpoint.Checkpoint:
    model(tmp_path / "base", base or _base(), {"model_type": "llama"})
    adapter = _adapter(tmp_path / "tuned", tensors, **config)
    return checkpoint.open(str(adapter), base=str(tmp_path / "base"))


def _refused(tmp_path: Path, tensors: dict[str, Any], reason: str, **config: Any) -> None:
    with pytest.raises(UnsupportedFormatError) as caught:
        _merged(tmp_path, tensors, **config)
    check(caught.value, UnsupportedFormatError, file="adapter_config.json", reason=reason)
    assert "merge_and_unload" in str(caught.value.next_step)


def test_an_adapter_alone_asks_for_its_base(tmp_path: Path) -> None:
    adapter = _adapter(tmp_path / "tuned", _factors())
    for named in (adapter, adapter / "adapter_model.safetensors"):
        with pytest.raises(UnsupportedFormatError) as caught:
            checkpoint.open(str(named))
        check(
            caught.value,
            UnsupportedFormatError,
            file="adapter_model.safetensors",
            reason="difference to a base",
        )
        assert "--base" in str(caught.value.next_step)
        assert "org/base" in str(caught.value.next_step)


def test_a_lora_is_added_to_its_base(tmp_path: Path) -> None:
    tensors = _factors()
    opened = _merged(tmp_path, tensors)
    expected = _base()[f"{Q}.weight"].astype(np.float32) + ALPHA / RANK * _delta(tensors)
    np.testing.assert_allclose(opened.read(f"{Q}.weight"), expected, rtol=1e-6)
    assert set(opened.tensors) == set(_base())
    np.testing.assert_array_equal(opened.read("norm.weight"), np.ones(4))
    assert (opened.name, opened.config) == ("tuned", {"model_type": "llama"})
    assert any("merged into base" in note for note in opened.notes)
    names = [f.name for f in opened.files]
    assert names == [
        "base/config.json",
        "base/model.safetensors",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize(
    "index", [(2,), (slice(1, 5),), (slice(None), 3), (slice(5, 0, -2), slice(1, 3)), (0, 1)]
)
@pytest.mark.parametrize("transposed", [False, True])
def test_rows_are_those_of_the_whole(tmp_path: Path, index: Any, transposed: bool) -> None:
    base = {f"{Q}.weight": _random(4, 6, seed=1).T.copy() if not transposed else _random(4, 6, seed=1)}
    opened = _merged(tmp_path, _factors(), base, fan_in_fan_out=transposed)
    whole = opened.read(f"{Q}.weight")
    np.testing.assert_allclose(opened.read(f"{Q}.weight", *index), whole[index], rtol=1e-5)
    assert opened.stored[f"{Q}.weight"].spans(index)  # type: ignore[attr-defined]


def test_only_the_rows_are_read(tmp_path: Path) -> None:
    base = {f"{Q}.weight": _random(600, 4, seed=1)}
    opened = _merged(tmp_path, _factors(outputs=600), base)
    before = opened.bytes_read
    opened.read(f"{Q}.weight", slice(10, 20))
    assert opened.bytes_read - before == (10 * 4 + RANK * 4 + 10 * RANK) * 4
    spans = opened.stored[f"{Q}.weight"].spans((slice(10, 20),))  # type: ignore[attr-defined]
    assert sum(s.stop - s.start for s in spans) == (10 * 4 + RANK * 4 + 10 * RANK) * 4


def test_rslora_and_alpha_patterns(tmp_path: Path) -> None:
    tensors = {**_factors(), **_factors("lm_head", 4, 12)}
    opened = _merged(tmp_path, tensors, use_rslora=True, alpha_pattern={"q_proj": 32})
    delta = opened.read(f"{Q}.weight") - _base()[f"{Q}.weight"].astype(np.float32)
    np.testing.assert_allclose(delta, 32 / math.sqrt(RANK) * _delta(tensors), rtol=1e-4, atol=1e-4)
    delta = opened.read("lm_head.weight") - _base()["lm_head.weight"]
    np.testing.assert_allclose(
        delta, ALPHA / math.sqrt(RANK) * _delta(tensors, "lm_head"), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("pattern", [f"^{Q}$", "self_attn.q_proj", "self_attn\\.q_proj", Q])
def test_patterns_are_names_or_their_ends(tmp_path: Path, pattern: str) -> None:
    tensors = _factors()
    opened = _merged(tmp_path, tensors, alpha_pattern={"other": 99, pattern: 4, "q_proj": 77})
    delta = opened.read(f"{Q}.weight") - _base()[f"{Q}.weight"].astype(np.float32)
    np.testing.assert_allclose(delta, 4 / RANK * _delta(tensors), rtol=1e-4, atol=1e-4)


def test_a_pattern_that_is_a_real_expression_is_not_run(tmp_path: Path) -> None:
    _refused(tmp_path, _factors(), "holds the expression", alpha_pattern={"(a+)+$": 3})


def test_the_rank_is_that_of_the_matrices(tmp_path: Path) -> None:
    tensors = _factors()
    opened = _merged(tmp_path, tensors, r=64, rank_pattern={"q_proj": RANK})
    delta = opened.read(f"{Q}.weight") - _base()[f"{Q}.weight"].astype(np.float32)
    np.testing.assert_allclose(delta, ALPHA / RANK * _delta(tensors), rtol=1e-4, atol=1e-4)


def test_conv1d_is_transposed_by_its_flag_or_its_shape(tmp_path: Path) -> None:
    tensors = _factors(CONV, 4, 10)
    for flag in (True, False):
        opened = _merged(tmp_path, tensors, fan_in_fan_out=flag)
        delta = opened.read(f"{CONV}.weight") - _base()[f"{CONV}.weight"]
        np.testing.assert_allclose(delta, (ALPHA / RANK * _delta(tensors, CONV)).T, rtol=1e-4, atol=1e-4)


def test_embeddings_have_names_of_their_own(tmp_path: Path) -> None:
    prefix = f"base_model.model.{EMBED}"
    a, b = _random(RANK, 12, seed=8), _random(4, RANK, seed=9)
    opened = _merged(tmp_path, {f"{prefix}.lora_embedding_A": a, f"{prefix}.lora_embedding_B": b})
    expected = _base()[f"{EMBED}.weight"] + ALPHA / RANK * (b @ a).T
    np.testing.assert_allclose(opened.read(f"{EMBED}.weight"), expected, rtol=1e-5, atol=1e-6)


def test_a_square_embedding_is_transposed_all_the_same(tmp_path: Path) -> None:
    prefix, base = f"base_model.model.{EMBED}", {f"{EMBED}.weight": _random(4, 4, seed=1)}
    a, b = _random(RANK, 4, seed=8), _random(4, RANK, seed=9)
    tensors = {f"{prefix}.lora_embedding_A": a, f"{prefix}.lora_embedding_B": b}
    opened = _merged(tmp_path, tensors, base)
    expected = base[f"{EMBED}.weight"] + ALPHA / RANK * (b @ a).T
    np.testing.assert_allclose(opened.read(f"{EMBED}.weight"), expected, rtol=1e-5, atol=1e-6)


def test_modules_saved_whole_and_biases_replace_the_bases(tmp_path: Path) -> None:
    head, bias = _random(14, 4, seed=10), _random(6, seed=11)
    tensors = {
        **_factors(),
        "base_model.model.lm_head.weight": head,
        f"base_model.model.{Q}.base_layer.bias": bias,
        "base_model.model.norm.modules_to_save.default.weight": np.full(4, 3, np.float32),
    }
    opened = _merged(tmp_path, tensors)
    np.testing.assert_array_equal(opened.read("lm_head.weight"), head)
    np.testing.assert_array_equal(opened.read(f"{Q}.bias"), bias)
    np.testing.assert_array_equal(opened.read("norm.weight"), [3, 3, 3, 3])


def test_a_base_saved_without_its_prefix(tmp_path: Path) -> None:
    base = {name.removeprefix("model."): value for name, value in _base().items()}
    tensors = _factors()
    opened = _merged(tmp_path, tensors, base)
    name = f"{Q}.weight".removeprefix("model.")
    expected = base[name].astype(np.float32) + ALPHA / RANK * _delta(tensors)
    np.testing.assert_allclose(opened.read(name), expected, rtol=1e-6)


def test_an_adapter_as_a_torch_file(tmp_path: Path) -> None:
    tensors = _factors()
    folder = _adapter(tmp_path / "tuned", tensors)
    (folder / "adapter_model.safetensors").unlink()
    save_torch(
        folder / "adapter_model.bin", {n: tensor(v, str(i)) for i, (n, v) in enumerate(tensors.items())}
    )
    opened = checkpoint.open(str(folder), base=str(model(tmp_path / "base", _base())))
    expected = _base()[f"{Q}.weight"].astype(np.float32) + ALPHA / RANK * _delta(tensors)
    np.testing.assert_allclose(opened.read(f"{Q}.weight"), expected, rtol=1e-6)


def test_side_files_come_from_the_adapter_first(tmp_path: Path) -> None:
    base = model(tmp_path / "base", _base())
    (base / "tokenizer.json").write_text("base")
    (base / "vocab.txt").write_text("base")
    adapter = _adapter(tmp_path / "tuned", _factors())
    (adapter / "tokenizer.json").write_text("tuned")
    opened = checkpoint.open(str(adapter), base=str(base))
    assert (opened.side_files["tokenizer.json"], opened.side_files["vocab.txt"]) == ("tuned", "base")
    assert (opened.read_file("tokenizer.json"), opened.read_file("vocab.txt")) == (b"tuned", b"base")
    assert set(opened.side_files) == {"adapter_config.json", "config.json", "tokenizer.json", "vocab.txt"}


def test_a_whole_model_ignores_a_base(tmp_path: Path) -> None:
    opened = checkpoint.open(str(model(tmp_path / "m", _base())), base="no/where")
    assert set(opened.tensors) == set(_base())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"use_qalora": True}, "use_qalora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"target_parameters": ["experts"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_16"}, "pissa_niter_16"),
        ({"init_lora_weights": "loftq"}, "loftq"),
    ],
)
def test_variants_that_change_more_are_refused(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    _refused(tmp_path, _factors(), reason, **config)


MAGNITUDE = f"base_model.model.{Q}.lora_magnitude_vector"


@pytest.mark.parametrize("ending", ["", ".weight", ".default.weight"])
@pytest.mark.parametrize("shape", [(6,), (1, 6)])
def test_a_dora_adapter(tmp_path: Path, ending: str, shape: tuple[int, ...]) -> None:
    """The rows of ``W + s B A`` are given the lengths of the magnitude vector (arXiv 2402.09353, equation 5)."""
    factors, lengths = _factors(), np.abs(_random(6, seed=9)) + 0.5
    opened = _merged(tmp_path, {**factors, MAGNITUDE + ending: lengths.reshape(shape)}, use_dora=True)
    changed = np.asarray(_base()[f"{Q}.weight"], np.float64) + ALPHA / RANK * _delta(factors)
    expected = lengths[:, None] * changed / np.linalg.norm(changed, axis=1, keepdims=True)
    whole = opened.read(f"{Q}.weight")
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), lengths, rtol=1e-5)
    for index in ((2,), (slice(1, 4),), (slice(None), slice(0, 3)), (3, 1), (slice(None, None, -2), 2)):
        np.testing.assert_array_equal(opened.read(f"{Q}.weight", *index), whole[index])
    assert "with DoRA's magnitudes" in opened.notes[-1]


def test_magnitudes_that_change_nothing_give_the_base(tmp_path: Path) -> None:
    """An adapter as PEFT begins it: B is zero, and the magnitudes are the lengths of the base's rows."""
    factors = _factors()
    factors[f"base_model.model.{Q}.lora_B.weight"] *= 0
    base = np.asarray(_base()[f"{Q}.weight"], np.float32)
    opened = _merged(tmp_path, {**factors, MAGNITUDE: np.linalg.norm(base, axis=1)}, use_dora=True)
    np.testing.assert_allclose(opened.read(f"{Q}.weight"), base, rtol=1e-6)


@pytest.mark.parametrize(
    ("magnitude", "reason", "name"),
    [(None, "there is none", f"{Q}.weight"), (_random(5), "one of shape [5]", MAGNITUDE)],
)
def test_dora_without_its_magnitudes(tmp_path: Path, magnitude: Any, reason: str, name: str) -> None:
    tensors = _factors() if magnitude is None else {**_factors(), MAGNITUDE: magnitude}
    with pytest.raises(CorruptCheckpointError) as caught:
        _merged(tmp_path, tensors, use_dora=True)
    check(caught.value, CorruptCheckpointError, file="adapter_model.safetensors", tensor=name, reason=reason)


def test_dora_where_its_rows_are_not_the_outputs_is_refused(tmp_path: Path) -> None:
    factors = _factors(CONV, inputs=4, outputs=10)
    magnitude = {f"base_model.model.{CONV}.lora_magnitude_vector": _random(10)}
    _refused(tmp_path, {**factors, **magnitude}, "stored [in, out]", use_dora=True)


def test_a_magnitude_vector_that_the_settings_do_not_know_is_refused(tmp_path: Path) -> None:
    _refused(tmp_path, {**_factors(), MAGNITUDE: _random(6)}, "lora_magnitude_vector")


def test_a_gguf_base_is_refused(tmp_path: Path) -> None:
    base = write_gguf(tmp_path / "b.gguf", {"blk.0.attn_q.weight": _random(6, 4)})
    with pytest.raises(UnsupportedFormatError) as caught:
        checkpoint.open(str(_adapter(tmp_path / "tuned", _factors())), base=str(base))
    check(caught.value, UnsupportedFormatError, file="adapter_config.json", reason="GGUF")


@pytest.mark.parametrize(
    ("tensors", "tensor_name", "reason"),
    [
        (_factors("model.layers.9.mlp"), "base_model.model.model.layers.9.mlp.lora_A.weight", "another base"),
        (_factors(outputs=7), f"{Q}.weight", "do not give the base model's shape"),
        (dict(list(_factors().items())[:1]), Q, "one is missing"),
        (
            {"base_model.model.lm_head.weight": _random(12, 5)},
            "base_model.model.lm_head.weight",
            "does not fit",
        ),
        (
            {**_factors(), f"base_model.model.{Q}.lora_A.other.weight": _random(2, 4)},
            f"base_model.model.{Q}.lora_A.weight",
            "more than one adapter",
        ),
    ],
)
def test_an_adapter_of_another_model(tmp_path: Path, tensors: Any, tensor_name: str, reason: str) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        _merged(tmp_path, tensors)
    check(
        caught.value,
        CorruptCheckpointError,
        file="adapter_model.safetensors",
        tensor=tensor_name,
        reason=reason,
    )


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"lora_alpha": "16"}, "lora_alpha"),
        ({"lora_alpha": 0}, "lora_alpha"),
        ({"lora_alpha": True}, "lora_alpha"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
        ({"alpha_pattern": {"q_proj": -1}}, "q_proj"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    with pytest.raises(CorruptCheckpointError) as caught:
        _merged(tmp_path, _factors(), **config)
    check(caught.value, CorruptCheckpointError, file="adapter_config.json", reason=reason)
