"""The formats weights come in. Where a folder holds several, the first of :data:`FORMATS` that it holds is read."""

from __future__ import annotations

import importlib
from typing import cast

from filiation.checkpoint.formats.base import Format, Loaded, chosen_file
from filiation.checkpoint.model import RawTensor
from filiation.checkpoint.sources.base import Source

__all__ = ["FORMATS", "Format", "Loaded", "RawTensor", "recognised"]

FORMATS = {
    "safetensors": (".safetensors", ".safetensors.index.json"),
    "gguf": (".gguf",),
    "torch": (".bin", ".pt", ".pth", ".ckpt", ".bin.index.json"),
    "onnx": (".onnx",),
}
"""Module of this package -> the endings without one of which a folder cannot be of that format; in order of
preference. A module is imported when a file may be its own."""


def recognised(source: Source) -> list[Format]:
    """Return the formats that the source is of, the preferred one first; at most one where a file was named."""
    found: list[Format] = []
    names = [record.name.lower() for record in source.files()]
    for module, endings in FORMATS.items():
        named = chosen_file(source) is not None
        if (named and found) or not (named or any(name.endswith(endings) for name in names)):
            continue
        format = cast(Format, importlib.import_module(f"{__name__}.{module}"))
        if format.recognises(source):
            found.append(format)
    return found
