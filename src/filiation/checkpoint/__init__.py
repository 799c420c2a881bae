"""Opening any checkpoint: bytes to tensors, lazily, without ever running what a file asks for.

``open(locator)`` finds the place (folder, file, hub, web, object store) and the format (safetensors, GGUF, PyTorch,
ONNX, packed kinds) and gives a :class:`Checkpoint`: names, shapes and dtypes at once, rows of weights on demand.
"""

from __future__ import annotations

from filiation.checkpoint.finite import scan_finite
from filiation.checkpoint.hashing import SMALL, Progress
from filiation.checkpoint.indexing import row_blocks
from filiation.checkpoint.model import Checkpoint, Floats, Index, Span, StoredTensor, TensorInfo
from filiation.checkpoint.opening import open

__all__ = [
    "SMALL",
    "Checkpoint",
    "Floats",
    "Index",
    "Progress",
    "Span",
    "StoredTensor",
    "TensorInfo",
    "open",
    "row_blocks",
    "scan_finite",
]
