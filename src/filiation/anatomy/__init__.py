"""Tensors to parts: which tensor is layer 7's value projection, and which symmetries its shape and kind allow."""

from __future__ import annotations

from filiation.anatomy.describe import describe
from filiation.anatomy.dissect import dissect
from filiation.anatomy.model import (
    Anatomy,
    Axis,
    Geometry,
    Inference,
    Part,
    Ruling,
    Symmetry,
    View,
)

__all__ = [
    "Anatomy",
    "Axis",
    "Geometry",
    "Inference",
    "Part",
    "Ruling",
    "Symmetry",
    "View",
    "describe",
    "dissect",
]
