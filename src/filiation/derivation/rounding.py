"""What storing a value in a coarser float type does to it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from filiation.origin.scale import energy
from filiation.origin.units import Floats

#: Relative difference that undoing a move in float32 leaves (folding, rescaling: 1e-7 to 4e-7 a step; a rotation
#: fitted on token rows: 5e-6 on SmolLM2). No training changes a bfloat16 model by so little.
ARITHMETIC = 1e-5

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})


def numpy_type(dtype: str) -> npt.DTypeLike | None:
    """Return the numpy type of a stored float kind, None where it has none."""
    if dtype == "BF16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return {"F16": np.float16, "F32": np.float32, "F64": np.float32}.get(dtype)


def stored_as(values: Floats, dtype: str) -> Floats:
    """Return values after a round trip through a stored float kind; unknown kinds leave them as they are."""
    kind = numpy_type(dtype)
    if kind is None or dtype in ("F32", "F64"):
        return values
    with np.errstate(over="ignore"):
        return values.astype(kind).astype(np.float32)


def rounding_level(values: Floats, dtype: str, *, computed: bool = False) -> float:
    """Return ``|stored(x) - x| / |x|``: the relative difference that storing alone makes.

    Args:
        computed: the values come from arithmetic, so they carry its rounding too.
    """
    norm = float(np.sqrt(energy(values)))
    if norm == 0.0:
        return 0.0
    error = float(np.sqrt(energy(stored_as(values, dtype) - values))) / norm
    return float(np.hypot(error, ARITHMETIC if computed else 0.0))
