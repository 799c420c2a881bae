"""GGUF files to serve: the pinned SmolLM2 requantised, fine-tuned or given other weights; tokenizer and template kept.

Written by the ``gguf`` package, so that llama.cpp can serve them; made once and kept beside the downloaded models.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize
from safetensors.numpy import load_file

from tests.real import fetch, smollm2

VERSION = 1
HEADS = {"attn_q": 9, "attn_k": 3}
Values = npt.NDArray[np.float32]
Change = Callable[[str, Values], Values]


@functools.cache
def gguf() -> Path:
    """SmolLM2-135M-Instruct as it was published."""
    return fetch.path("smollm2")


def requantised(kind: GGMLQuantizationType) -> Path:
    """The same weights, every matrix in another quantisation (the output layer too)."""
    return _once(kind.name.lower(), lambda _, values: values, kind)


def stranger(seed: int) -> Path:
    """Another model of the same shape, tokenizer and template: every matrix drawn anew, as wide as the original's."""
    draw = np.random.default_rng(seed)

    def fresh(_: str, values: Values) -> Values:
        if values.ndim == 1:
            return values
        return draw.standard_normal(values.shape, np.float32) * values.std()

    return _once(f"stranger-{seed}", fresh, GGMLQuantizationType.Q8_0)


def tuned(folder: Path) -> Path:
    """A fine-tune, given as a Hugging Face folder."""
    weights = load_file(folder / "model.safetensors")

    def taken(name: str, _: Values) -> Values:
        values = weights[smollm2.hf_name(name)].astype(np.float32)
        heads = next((n for part, n in HEADS.items() if part in name), None)
        if heads is None:
            return values
        # llama.cpp's converter interleaves the two halves of each head.
        return np.ascontiguousarray(values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2)).reshape(
            values.shape
        )

    return _once(folder.name, taken, GGMLQuantizationType.Q8_0)


def _once(name: str, change: Change, kind: GGMLQuantizationType) -> Path:
    """Return the file, written where it is not there yet."""
    home = fetch.cache() / "siblings" / f"v{VERSION}"
    target = home / f"{name}.gguf"
    if not target.exists():
        home.mkdir(parents=True, exist_ok=True)
        _write(home / f".{name}.part", change, kind).rename(target)
    return target


def _write(target: Path, change: Change, kind: GGMLQuantizationType) -> Path:
    reader = GGUFReader(gguf())
    writer = GGUFWriter(target, "llama")
    for key, field in reader.fields.items():
        # The writer states these itself, or they are about the file that was read.
        if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
            continue
        inner = field.types[-1] if field.types[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        values = change(tensor.name, dequantize(tensor.data, tensor.tensor_type).astype(np.float32))
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target
