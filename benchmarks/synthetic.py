"""Models of any size whose bytes are made when they are asked for; nothing is stored.

A weight is a function of (seed, tensor, block of 65,536 values): numpy's Philox, a counter-based generator, is keyed
with them. So any range of any file can be made alone, and always comes out the same. A derived model adds noise
of its own seed to its base. Values are bf16: matrices with standard deviation 0.02, norm gains around 0.5.
"""

from __future__ import annotations

import hashlib
import json
import random
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 65_536
STD = 0.02


@dataclass(frozen=True)
class Shape:
    """A llama-like shape; the defaults are Llama-2-7B's."""

    layers: int = 32
    hidden: int = 4096
    ffn: int = 11008
    vocab: int = 32000
    heads: int = 32
    kv_heads: int = 32

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield every tensor's name and shape, as `save_pretrained` orders them."""
        kv = self.hidden // self.heads * self.kv_heads
        yield "model.embed_tokens.weight", (self.vocab, self.hidden)
        for i in range(self.layers):
            layer = f"model.layers.{i}."
            yield layer + "input_layernorm.weight", (self.hidden,)
            yield layer + "mlp.down_proj.weight", (self.hidden, self.ffn)
            yield layer + "mlp.gate_proj.weight", (self.ffn, self.hidden)
            yield layer + "mlp.up_proj.weight", (self.ffn, self.hidden)
            yield layer + "post_attention_layernorm.weight", (self.hidden,)
            yield layer + "self_attn.k_proj.weight", (kv, self.hidden)
            yield layer + "self_attn.o_proj.weight", (self.hidden, self.hidden)
            yield layer + "self_attn.q_proj.weight", (self.hidden, self.hidden)
            yield layer + "self_attn.v_proj.weight", (kv, self.hidden)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.vocab, self.hidden)

    def config(self) -> dict[str, Any]:
        """Return what config.json says."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.ffn,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocab,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
        }


@dataclass(frozen=True)
class Weights:
    """The weights of one model; with `base`, that model's plus `noise` (a share of their standard deviation)."""

    seed: int
    base: Weights | None = None
    noise: float = 0.0

    def values(self, tensor: int, gain: bool, block: int) -> npt.NDArray[np.float32]:
        """Return a block of a tensor before it is rounded to bf16; `gain` for the norms."""
        key = np.array([self.seed, (tensor << 32) | block], dtype=np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        draw: npt.NDArray[np.float32] = generator.standard_normal(BLOCK, dtype=np.float32)
        draw *= np.float32((0.1 if gain else STD) * (self.noise if self.base else 1.0))
        if self.base is not None:
            return self.base.values(tensor, gain, block) + draw
        return draw + np.float32(0.5) if gain else draw


@lru_cache(maxsize=128)
def _stored(weights: Weights, tensor: int, gain: bool, block: int) -> bytes:
    bits = weights.values(tensor, gain, block).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype("<u2").tobytes()


class BytesFile:
    """A file that lies in memory."""

    def __init__(self, data: bytes, large: bool = False) -> None:
        self.data = data
        self.large = large
        self.size = len(data)
        self.sha256 = hashlib.sha256(data).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start:stop`."""
        return self.data[start:stop]


@dataclass(frozen=True)
class _Slot:
    """A tensor in a shard: its number in the model, name, shape, and where its bytes begin."""

    number: int
    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        return 2 * int(np.prod(self.shape))


class ShardFile:
    """One safetensors shard whose data is made on demand."""

    large = True

    def __init__(self, name: str, weights: Weights, slots: list[_Slot]) -> None:
        self._weights = weights
        self._slots = slots
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        for slot in slots:
            offsets = [slot.start, slot.start + slot.nbytes]
            header[slot.name] = {"dtype": "BF16", "shape": list(slot.shape), "data_offsets": offsets}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._head = struct.pack("<Q", len(text)) + text
        self._starts = [slot.start for slot in slots]
        self.size = len(self._head) + slots[-1].start + slots[-1].nbytes
        # Not the digest of the bytes, which would take minutes to make: a stand-in that is as stable and as unique.
        self.sha256 = hashlib.sha256(repr((name, weights)).encode() + self._head).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        """Return bytes `start:stop`."""
        out = [self._head[start:stop]]
        at, end = max(0, start - len(self._head)), min(stop, self.size) - len(self._head)
        while at < end:
            slot = self._slots[bisect_right(self._starts, at) - 1]
            block, skip = divmod(at - slot.start, 2 * BLOCK)
            take = min(end - at, 2 * BLOCK - skip, slot.start + slot.nbytes - at)
            data = _stored(self._weights, slot.number, len(slot.shape) == 1, block)
            out.append(data[skip : skip + take])
            at += take
        return b"".join(out)


def llama(
    seed: int,
    shape: Shape | None = None,
    *,
    base: Weights | None = None,
    noise: float = 0.0,
    shards: int = 3,
    tokenizer_seed: int = 0,
) -> dict[str, BytesFile | ShardFile]:
    """Return the files of a llama-like model: shards, index, config and tokenizer."""
    shape = shape or Shape()
    weights = Weights(seed, base, noise)
    tensors = list(shape.tensors())
    limit = sum(2 * int(np.prod(s)) for _, s in tensors) / shards
    groups: list[list[_Slot]] = [[]]
    for number, (name, dims) in enumerate(tensors):
        last = groups[-1][-1] if groups[-1] else None
        start = last.start + last.nbytes if last else 0
        if start >= limit and len(groups) < shards:
            groups.append([])
            start = 0
        groups[-1].append(_Slot(number, name, dims, start))
    files: dict[str, BytesFile | ShardFile] = {}
    where: dict[str, str] = {}
    for i, slots in enumerate(groups, 1):
        file = f"model-{i:05d}-of-{len(groups):05d}.safetensors"
        files[file] = ShardFile(file, weights, slots)
        where.update({slot.name: file for slot in slots})
    total = sum(slot.nbytes for slots in groups for slot in slots)
    index = {"metadata": {"total_size": total}, "weight_map": where}
    files["model.safetensors.index.json"] = _json(index)
    files["config.json"] = _json(shape.config())
    files["tokenizer.json"] = BytesFile(_tokenizer(shape.vocab, tokenizer_seed), large=True)
    files["tokenizer_config.json"] = _json(
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    )
    files["README.md"] = BytesFile(b"---\nlicense: apache-2.0\n---\n# A model made on demand\n")
    return files


def _json(value: Mapping[str, Any]) -> BytesFile:
    return BytesFile(json.dumps(value, indent=2).encode())


@lru_cache(maxsize=8)
def _tokenizer(vocab: int, seed: int) -> bytes:
    """Return a byte-pair tokenizer.json: `vocab` tokens, each but the first few the merge of two before it."""
    draw = random.Random(seed)
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        "▁",
        *"etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLCUMWFGYPBVKJXQZ0123456789.,;:!?-()'",
    ]
    tokens = tokens[:vocab]
    known, merges = set(tokens), list[str]()
    while len(tokens) < vocab:
        # Early tokens are drawn more often, as in a trained vocabulary.
        a, b = (tokens[3 + int((len(tokens) - 3) * draw.random() ** 3)] for _ in range(2))
        if a + b not in known and len(a + b) <= 16:
            tokens.append(a + b)
            known.add(a + b)
            merges.append(f"{a} {b}")
    added = [{"id": i, "content": t, "special": True} for i, t in enumerate(tokens[:3])]
    ids = {token: i for i, token in enumerate(tokens)}
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": ids, "merges": merges}
    return json.dumps({"version": "1.0", "added_tokens": added, "model": model}, ensure_ascii=False).encode()
