"""Looking through all weights for NaN and infinity."""

from __future__ import annotations

from collections.abc import Collection

from filiation.checkpoint.indexing import row_blocks
from filiation.checkpoint.model import Checkpoint

_BLOCK = 1 << 22  # values decoded at a time: 16 MB of float32
# Kinds that can hold neither, or that cannot be read as real numbers.
_LEFT_OUT = frozenset({"I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "BOOL", "C64", "C128"})


def scan_finite(checkpoint: Checkpoint, but: Collection[str] = ()) -> int:
    """Read every tensor, a few megabytes at a time, and return how many values were looked at.

    Integer tensors are left out. A checkpoint that was packed is looked at as it is unpacked.

    Args:
        but: tensors that are not looked at.

    Raises:
        NonFiniteWeightsError: a tensor holds NaN or infinity.
    """
    seen = 0
    for name, info in checkpoint.tensors.items():
        if info.dtype in _LEFT_OUT or name in but:
            continue
        for index in row_blocks(info.shape, _BLOCK):
            seen += checkpoint.read(name, *index).size
    return seen
