"""Writing a model other than as bfloat16 safetensors: other types, FP8 and int8 with scales, GGUF, torch files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from filiation.errors import UsageError
from filiation.lab import kquants
from filiation.lab.layout import EMBEDDING, HEAD, Config, Tensors

Arrays = Mapping[str, npt.NDArray[Any]]
_FP8_LARGEST, _INT8_LARGEST = 448.0, 127.0
_GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_arrays(folder: Path, arrays: Arrays, config: Config, tokenizer_json: bytes) -> None:
    """Write arrays as they are, float32 ones as bfloat16, into one safetensors file with config and tokenizer."""
    stored = {n: a.astype(ml_dtypes.bfloat16) if a.dtype == np.float32 else a for n, a in arrays.items()}
    _write(folder, stored, config, tokenizer_json)


def write_typed(folder: Path, tensors: Tensors, config: Config, tokenizer_json: bytes, dtype: str) -> None:
    """Write every tensor as `float32` or `float16`.

    Raises:
        UsageError: another type is asked for.
    """
    names = {"float32": np.float32, "float16": np.float16}
    if dtype not in names:
        raise UsageError(f"no {dtype} can be written", next_step=f"choose one of {', '.join(names)}")
    stored = {name: value.astype(names[dtype]) for name, value in tensors.items()}
    _write(folder, stored, {**config, "torch_dtype": dtype}, tokenizer_json)


def write_fp8(folder: Path, tensors: Tensors, config: Config, tokenizer_json: bytes) -> None:
    """Write block matrices as e4m3 floats with one scale a tensor, as compressed-tensors stores them."""
    stored: dict[str, npt.NDArray[Any]] = {}
    for name, value in tensors.items():
        if value.ndim != 2 or name in (EMBEDDING, HEAD):
            stored[name] = value.astype(ml_dtypes.bfloat16)
            continue
        scale = np.float32(np.abs(value).max() / _FP8_LARGEST)
        stored[name] = (value / scale).astype(ml_dtypes.float8_e4m3fn)
        stored[name + "_scale"] = np.array([scale], dtype=np.float32)
    settings = {"quant_method": "compressed-tensors", "format": "float-quantized"}
    _write(folder, stored, {**config, "quantization_config": settings}, tokenizer_json)


def write_int8(folder: Path, tensors: Tensors, config: Config, tokenizer_json: bytes) -> None:
    """Write block matrices as 8-bit integers with one scale a row, rounded to nearest."""
    stored: dict[str, npt.NDArray[Any]] = {}
    for name, value in tensors.items():
        if value.ndim != 2 or name in (EMBEDDING, HEAD):
            stored[name] = value.astype(ml_dtypes.bfloat16)
            continue
        scale = np.maximum(np.abs(value).max(1, keepdims=True), 1e-12) / np.float32(_INT8_LARGEST)
        stored[name] = np.rint(value / scale).astype(np.int8)
        stored[name + "_scale"] = scale.astype(np.float32)
    settings = {"quant_method": "compressed-tensors", "format": "int-quantized"}
    _write(folder, stored, {**config, "quantization_config": settings}, tokenizer_json)


def _write(folder: Path, arrays: Arrays, config: Config, tokenizer_json: bytes) -> None:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    save_file(contiguous, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(tokenizer_json)


def write_torch(folder: Path, tensors: Tensors, config: Config, tokenizer_json: bytes) -> None:
    """Write `pytorch_model.bin`, in bfloat16 (extra `lab`)."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    values = {name: torch.from_numpy(value.copy()).to(torch.bfloat16) for name, value in tensors.items()}
    torch.save(values, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").write_bytes(tokenizer_json)


def write_gguf(folder: Path, tensors: Tensors, config: Config, tokenizer_json: bytes, kind: str) -> None:
    """Write a GGUF as llama.cpp's converter does: its names, q and k rows in its rotary order, gguf's quantisers.

    Args:
        kind: `F16`, `Q8_0`, `Q4_0`, `Q4_1`, `Q5_0`, `Q5_1`, or a K-quant (`Q2_K` to `Q6_K`, extra `serve`): every
            matrix as one, or as what llama.cpp takes instead where rows are no multiple of 256.

    Raises:
        UsageError: `gguf` has no quantiser of that kind. MissingExtraError: K-quants without xllamacpp.
    """
    import gguf

    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
    _gguf_header(writer, config, tokenizer_json)
    for name, value in tensors.items():
        stored = _gguf_value(name, value, config)
        if value.ndim == 1:
            writer.add_tensor(_gguf_name(name), stored)
            continue
        packed, quantum = _gguf_packed(name, stored, kind)
        writer.add_tensor(_gguf_name(name), packed, raw_dtype=quantum)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_packed(name: str, matrix: npt.NDArray[np.float32], kind: str) -> tuple[Any, Any]:
    """Return a matrix in blocks, and what kind of blocks they are."""
    import gguf

    if kind in kquants.INSTEAD:
        kind = kquants.stored_as(kind, matrix.shape[1])
        if kind != "F16":
            return kquants.quantised(matrix, kind), gguf.GGMLQuantizationType[kind]
    try:
        quantum = gguf.GGMLQuantizationType[kind]
        return gguf.quants.quantize(matrix, quantum), quantum
    except (KeyError, NotImplementedError, gguf.quants.QuantError) as error:
        raise UsageError(
            f"no {kind} can be made",
            reason=f"the package gguf has no quantiser of that kind, or none for {name} ({error})",
            next_step="choose Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, F16 or a K-quant",
        ) from error


def _gguf_header(writer: Any, config: Config, tokenizer_json: bytes) -> None:
    writer.add_name("model")
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(int(config["num_attention_heads"]))
    writer.add_head_count_kv(int(config["num_key_value_heads"]))
    writer.add_key_length(int(config["head_dim"]))
    writer.add_value_length(int(config["head_dim"]))
    writer.add_rope_dimension_count(int(config["head_dim"]))
    writer.add_rope_freq_base(float(config["rope_theta"]))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_vocab_size(int(config["vocab_size"]))
    model = json.loads(tokenizer_json)["model"]
    tokens = sorted(model["vocab"], key=lambda token: model["vocab"][token])
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens[: int(config["vocab_size"])])
    writer.add_token_merges(merges)


def _gguf_name(name: str) -> str:
    outer = {EMBEDDING: "token_embd.weight", HEAD: "output.weight", "model.norm.weight": "output_norm.weight"}
    if name in outer:
        return outer[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    stem, _, ending = rest.rpartition(".")
    return f"blk.{layer}.{_GGUF_NAMES[stem]}.{ending}"


def _gguf_value(name: str, value: npt.NDArray[np.float32], config: Config) -> npt.NDArray[np.float32]:
    """Return a tensor with q and k rows paired as neighbours, which is how llama.cpp rotates a llama."""
    for stem, heads in (("q_proj", "num_attention_heads"), ("k_proj", "num_key_value_heads")):
        if name.endswith(f"{stem}.weight"):
            halves = value.reshape(int(config[heads]), 2, int(config["head_dim"]) // 2, value.shape[1])
            return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(value.shape))
    return np.ascontiguousarray(value)
