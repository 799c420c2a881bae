"""Room origin: exact tests of common origin, what may be multiplied, and what follows (the evidence contract)."""

from __future__ import annotations

from filiation.origin.counted import marked
from filiation.origin.diagonal import Diagonal
from filiation.origin.grafts import beside_grafts
from filiation.origin.infull import after_reading
from filiation.origin.maps import inheritance_table, layer_map_tables, pairing_tables, stage_tables
from filiation.origin.naming import measured, models
from filiation.origin.order import FixedPoints
from filiation.origin.overall import history_evidence, over_components, strength, word_verdict
from filiation.origin.sign import Signs, SignsInPlace
from filiation.origin.subsequence import Subsequence
from filiation.origin.testing import Abstention, ExactTest, Outcome
from filiation.origin.towers import (
    BEYOND,
    DISPUTED,
    NOT_EXAMINED,
    NOT_LOADED,
    UNREAD,
    in_shared_channels,
    is_certain,
    not_examined,
    over_towers,
    tower_pairs,
)
from filiation.origin.towers import TEST as TOWERS
from filiation.origin.units import Units
from filiation.origin.verdict import rewritten_layers

#: The exact tests, in reading order: order tests read sign-free contents and come before sign tests in place.
TESTS: tuple[ExactTest, ...] = (FixedPoints(), Diagonal(), Subsequence(), Signs(), SignsInPlace())

__all__ = [
    "BEYOND",
    "DISPUTED",
    "NOT_EXAMINED",
    "NOT_LOADED",
    "TESTS",
    "TOWERS",
    "UNREAD",
    "Abstention",
    "ExactTest",
    "Outcome",
    "Units",
    "after_reading",
    "beside_grafts",
    "history_evidence",
    "in_shared_channels",
    "inheritance_table",
    "is_certain",
    "layer_map_tables",
    "marked",
    "measured",
    "models",
    "not_examined",
    "over_components",
    "over_towers",
    "pairing_tables",
    "rewritten_layers",
    "stage_tables",
    "strength",
    "tower_pairs",
    "word_verdict",
]
