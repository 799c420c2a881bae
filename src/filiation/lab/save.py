"""Writing small checkpoints: bfloat16 safetensors, in one file or in shards with an index, and reading them back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from filiation.errors import UnsupportedFormatError

Weights = dict[str, npt.NDArray[np.float32]]


def to_bfloat16(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the bfloat16 bit patterns of finite float32 values, rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + rounding) >> np.uint32(16)).astype(np.uint16)


def from_bfloat16(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    """Return the float32 values of bfloat16 bit patterns; exact."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def as_stored(tensors: Weights) -> Weights:
    """Return the values that are left after a round trip through bfloat16: what a child of the file starts from."""
    return {name: from_bfloat16(to_bfloat16(value)) for name, value in tensors.items()}


def write_safetensors(path: Path, tensors: Weights, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as bfloat16, in the order of their names, through a temporary file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    at = 0
    for name in sorted(tensors):
        size = 2 * tensors[name].size
        header[name] = {"dtype": "BF16", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            file.write(to_bfloat16(tensors[name]).astype("<u2").tobytes())
    partial.replace(path)


def read_safetensors(path: Path) -> Weights:
    """Read a file that `write_safetensors` wrote. Other dtypes belong to the room `checkpoint`.

    Raises:
        UnsupportedFormatError: a tensor is not bfloat16.
    """
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = cast(dict[str, Any], json.loads(data[8 : 8 + size]))
    tensors: Weights = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise UnsupportedFormatError(
                f"the lab reads only what it wrote: {name} is {entry['dtype']}",
                file=str(path),
                tensor=name,
                reason="this small reader knows BF16 alone",
                next_step="open the file with filiation.checkpoint",
            )
        first, last = (8 + size + int(offset) for offset in entry["data_offsets"])
        bits = np.frombuffer(data[first:last], dtype="<u2").reshape(entry["shape"])
        tensors[name] = from_bfloat16(bits)
    return tensors


def save_model(
    folder: Path,
    tensors: Weights,
    config: Mapping[str, Any],
    tokenizer_json: bytes | None = None,
    *,
    shards: int = 1,
) -> None:
    """Write `config.json`, the weights and, where given, `tokenizer.json` into a folder.

    Args:
        shards: with more than one, tensors are spread in the order of their names over
            `model-0000i-of-0000n.safetensors` of about equal size, with `model.safetensors.index.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config), indent=2) + "\n", encoding="utf-8")
    if tokenizer_json is not None:
        (folder / "tokenizer.json").write_bytes(tokenizer_json)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(_split(tensors, shards), start=1):
        file = f"model-{number:05d}-of-{shards:05d}.safetensors"
        write_safetensors(folder / file, {name: tensors[name] for name in names})
        weight_map |= dict.fromkeys(names, file)
    total = sum(2 * value.size for value in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _split(tensors: Weights, shards: int) -> Sequence[Sequence[str]]:
    names = sorted(tensors)
    ends = np.cumsum([tensors[name].size for name in names])
    place = np.minimum((ends - 1) * shards // ends[-1], shards - 1)
    return [[name for name, at in zip(names, place, strict=True) if at == shard] for shard in range(shards)]


def load_model(folder: Path) -> tuple[Weights, dict[str, Any]]:
    """Read a folder that `save_model` wrote; returns the tensors as float32 and the config."""
    config = cast(dict[str, Any], json.loads((folder / "config.json").read_text(encoding="utf-8")))
    tensors: Weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= read_safetensors(file)
    return tensors, config
