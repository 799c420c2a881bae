"""The formats weights come in. Where a folder holds several, the first of :data:`FORMATS` that it holds is read."""

from __future__ import annotations

from filiation.checkpoint.formats import gguf, onnx, safetensors, torch
from filiation.checkpoint.formats.base import Format, Loaded
from filiation.checkpoint.model import RawTensor

__all__ = ["FORMATS", "Format", "Loaded", "RawTensor"]

FORMATS: tuple[Format, ...] = (safetensors, gguf, torch, onnx)
"""In order of preference."""
