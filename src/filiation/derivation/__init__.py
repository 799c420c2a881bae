"""Room derivation: given a common origin, how one model came from the other (evidence contract, section 7)."""

from __future__ import annotations

from filiation.derivation.identity import Difference, Sameness, as_identical, same_files, same_weights
from filiation.derivation.merge import decompose
from filiation.derivation.records import KINDS, Delta, Derived
from filiation.derivation.walk import derive, joined

__all__ = [
    "KINDS",
    "Delta",
    "Derived",
    "Difference",
    "Sameness",
    "as_identical",
    "decompose",
    "derive",
    "joined",
    "same_files",
    "same_weights",
]
