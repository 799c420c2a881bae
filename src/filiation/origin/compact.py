"""Rows in memory as small as they can be without losing a digit.

A layer of a 7B model is 180 MB a matrix as float32, and half of that as its file holds it. Values that bfloat16 or
float16 hold exactly are kept so, all others as float32; what comes back is equal to what went in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from filiation.origin.units import Floats, Integers

_Bits = npt.NDArray[Any]


def _as_bfloat16(rows: Floats) -> _Bits | None:
    bits = np.ascontiguousarray(rows).view(np.uint32)
    return None if (bits & np.uint32(0xFFFF)).any() else (bits >> np.uint32(16)).astype(np.uint16)


def _from_bfloat16(held: _Bits) -> Floats:
    return np.left_shift(held, np.uint32(16), dtype=np.uint32).view(np.float32)


def _as_float16(rows: Floats) -> _Bits | None:
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), rows) else None


def _as_float32(rows: Floats) -> _Bits | None:
    return rows


def _to_float32(held: _Bits) -> Floats:
    return held.astype(np.float32)


#: Kinds from small to large: how rows are put into one (None where that would lose something), and got back.
_KINDS: tuple[tuple[Any, Callable[[Floats], _Bits | None], Callable[[_Bits], Floats]], ...] = (
    (np.uint16, _as_bfloat16, _from_bfloat16),
    (np.float16, _as_float16, _to_float32),
    (np.float32, _as_float32, _to_float32),
)


class CompactRows:
    """A matrix ``(n, m)`` that is filled in row order, some rows at a time."""

    def __init__(self, n: int, m: int) -> None:
        self.shape = (n, m)
        self._filled = 0
        self._kind = 0
        self._held: _Bits = np.empty((n, m), _KINDS[0][0])

    def __len__(self) -> int:
        return self._filled

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._held.nbytes

    def append(self, rows: Floats) -> None:
        """Add the next rows ``(k, m)``."""
        stop = self._filled + len(rows)
        while (stored := _KINDS[self._kind][1](rows)) is None:
            self._widen()
        self._held[self._filled : stop] = stored
        self._filled = stop

    def _widen(self) -> None:
        """Turn to the next kind that holds all rows so far."""
        if not self._filled:
            self._held = self._held[:0].copy()  # nothing is in it: make room before more is taken
        known, back = self._held, _KINDS[self._kind][2]
        for kind in range(self._kind + 1, len(_KINDS)):
            dtype, put, _ = _KINDS[kind]
            wider = np.empty(self.shape, dtype)
            if all(self._moved(known, back, wider, put, at) for at in range(0, self._filled, 256)):
                self._kind, self._held = kind, wider
                return

    def _moved(self, known: _Bits, back: Any, wider: _Bits, put: Any, at: int) -> bool:
        part = slice(at, min(at + 256, self._filled))
        stored = put(back(known[part]))
        if stored is None:
            return False
        wider[part] = stored
        return True

    def rows(self, chosen: Integers | slice) -> Floats:
        """Return rows as float32, equal to those that were added."""
        return _KINDS[self._kind][2](self._held[chosen])
