"""SmolLM2-135M-Instruct and its children, made from the pinned GGUF with other libraries than filiation's readers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, TokenType
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file, save_file

from filiation.lab import derive, launder

Tensors = dict[str, npt.NDArray[np.float32]]
Config = dict[str, Any]

NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
#: Seeds of the permutation of the laundered child and of the choice of neurons of the width-pruned one.
PERMUTED_BY, PRUNED_BY = 12, 11
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


def hf_name(name: str) -> str:
    """Return the Hugging Face name of a GGUF tensor of this model."""
    stem = name.removesuffix(".weight")
    if stem in OUTER:
        return f"{OUTER[stem]}.weight"
    _, layer, kind = stem.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.weight"


def converted(gguf: Path, folder: Path) -> Path:
    """Write the GGUF's weights as float32 safetensors under Hugging Face names, with config and tokenizer."""
    reader = GGUFReader(gguf)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": _value(reader, "llama.embedding_length"),
        "intermediate_size": _value(reader, "llama.feed_forward_length"),
        "num_hidden_layers": _value(reader, "llama.block_count"),
        "num_attention_heads": _value(reader, "llama.attention.head_count"),
        "num_key_value_heads": _value(reader, "llama.attention.head_count_kv"),
        "head_dim": _value(reader, "llama.rope.dimension_count"),
        "rms_norm_eps": float(reader.fields["llama.attention.layer_norm_rms_epsilon"].contents()),
        "rope_theta": float(reader.fields["llama.rope.freq_base"].contents()),
        "max_position_embeddings": _value(reader, "llama.context_length"),
        "vocab_size": len(reader.fields["tokenizer.ggml.tokens"].contents()),
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "dtype": "float32",
    }
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors: Tensors = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        kind = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        tensors[hf_name(tensor.name)] = _unpermuted(values, heads[kind]) if kind in heads else values
    saved(tensors, config, folder)
    (folder / "tokenizer.json").write_text(
        json.dumps(tokenizer(reader), ensure_ascii=False), encoding="utf-8"
    )
    return folder


def tokenizer(reader: GGUFReader) -> Config:
    """Return a tokenizer.json of the GGUF's byte-level BPE; control tokens are added tokens."""
    tokens = [str(t) for t in reader.fields["tokenizer.ggml.tokens"].contents()]
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False) | {"special": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": token, **flags}
            for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind == TokenType.CONTROL
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [str(m) for m in reader.fields["tokenizer.ggml.merges"].contents()],
        },
    }


def _value(reader: GGUFReader, key: str) -> int:
    return int(reader.fields[key].contents())


def _unpermuted(rows: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Undo the converter's row order: it interleaves the two halves of each head."""
    return np.ascontiguousarray(rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2)).reshape(rows.shape)


def _permuted(rows: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2)).reshape(rows.shape)


def saved(tensors: Tensors, config: Config, folder: Path) -> Path:
    """Write tensors and config as one safetensors checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: np.ascontiguousarray(v) for k, v in tensors.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


def loaded(folder: Path) -> tuple[Tensors, Config]:
    """Read a checkpoint that `saved` wrote."""
    return load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())


def child(parent: Path, folder: Path, change: Callable[[Tensors, Config], tuple[Tensors, Config]]) -> Path:
    """Write a child of a checkpoint, made with the lab's numpy functions."""
    return saved(*change(*loaded(parent)), folder)


def depth_pruned(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Drop every fifth layer: 3, 8, 13 and so on."""
    return derive.take_layers(tensors, config, [i for i in range(config["num_hidden_layers"]) if i % 5 != 3])


def width_pruned(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Keep three quarters of the neurons of each layer."""
    return derive.prune_ffn(tensors, config, units=config["intermediate_size"] * 3 // 4, seed=PRUNED_BY)


def laundered(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Permute the neurons, fold the gains, rotate the residual stream."""
    return launder.rotate_residual(*launder.permute_ffn(tensors, config, seed=PERMUTED_BY), seed=13)


def scrambled(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Draw every label of the first eight layers anew; the function they compute stays the same."""
    found = derive.take_layers(tensors, config, list(range(8)))
    moves = (
        launder.permute_ffn,
        launder.flip_ffn_signs,
        launder.permute_heads,
        launder.permute_value_channels,
        launder.flip_value_signs,
        launder.rotate_residual,
    )
    for seed, move in enumerate(moves, start=20):
        found = move(*found, seed=seed)
    return found


def upcycled(tensors: Tensors, config: Config) -> tuple[Tensors, Config]:
    """Turn the first eight layers into a mixture of two noisy copies of each FFN."""
    short = derive.take_layers(tensors, config, list(range(8)))
    return derive.upcycle(*short, experts=2, active=1, noise=0.1, seed=14, router_std=0.02)


def quantised(parent: Path, file: Path, kind: GGMLQuantizationType) -> Path:
    """Write a GGUF child: matrices in `kind`, norms in F32, as llama.cpp's converter lays a llama out."""
    tensors, config = loaded(parent)
    back = {v: k for k, v in NAMES.items()}
    writer = GGUFWriter(file, "llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_context_length(config["max_position_embeddings"])
    for name, values in tensors.items():
        target = _gguf_name(name, back)
        if "attn_q" in target or "attn_k" in target:
            values = _permuted(
                values, config[f"num_{'attention' if 'attn_q' in target else 'key_value'}_heads"]
            )
        if values.ndim == 1:
            writer.add_tensor(target, values)
        else:
            writer.add_tensor(target, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _gguf_name(name: str, back: dict[str, str]) -> str:
    stem = name.removesuffix(".weight")
    outer = {v: k for k, v in OUTER.items()}
    if stem in outer:
        return f"{outer[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{back[rest]}.weight"


TRAIN = """
import sys, torch
from transformers import AutoModelForCausalLM
torch.manual_seed(0); torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
step = torch.optim.AdamW(model.parameters(), lr=5e-5)
for _ in range(int(sys.argv[3])):
    ids = torch.randint(1000, 40000, (1, 64))
    loss = model(input_ids=ids, labels=ids).loss
    step.zero_grad(); loss.backward(); step.step()
    print(loss.item(), flush=True)
model.save_pretrained(sys.argv[2])
"""


def fine_tuned(parent: Path, folder: Path, steps: int = 4) -> Path:
    """Train a few AdamW steps with torch, in a process of its own (torch never enters filiation's)."""
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(parent), str(folder), str(steps)], check=True, timeout=600
    )
    return folder
