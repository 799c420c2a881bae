"""Room derivation: given a common origin, how one model came from the other (evidence contract, section 7)."""

from __future__ import annotations

from filiation.derivation.budget import same_within
from filiation.derivation.identity import Difference, Sameness, as_identical, same_files, same_weights
from filiation.derivation.merge import decompose
from filiation.derivation.records import (
    KINDS,
    Delta,
    Derived,
    joined,
    order_and_signs_gone,
    without_components,
)
from filiation.derivation.rewritten import rewritten
from filiation.derivation.walk import NO_PART, derive

__all__ = [
    "KINDS",
    "NO_PART",
    "Delta",
    "Derived",
    "Difference",
    "Sameness",
    "as_identical",
    "decompose",
    "derive",
    "joined",
    "order_and_signs_gone",
    "rewritten",
    "same_files",
    "same_weights",
    "same_within",
    "without_components",
]
