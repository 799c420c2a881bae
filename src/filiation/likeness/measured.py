"""What independent models showed that filiation bred and measured itself: the data files under ``backgrounds``.

A file is written by ``python -m docs._generate --lab`` and says of which zoo it is, by which version and of what day.
The newest is used. None of it moves a verdict; it is printed beside a statistic for which nobody has published what
unrelated models show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from filiation.evidence import Background
from filiation.likeness.subject import Subject

FOLDER = Path(__file__).parent / "backgrounds"
ONE_SHAPE, OTHER_SHAPE = "one_shape", "other_shape"
#: How every source of these backgrounds begins; reports word them by it.
SOURCE = "filiation lab"
_WORDS = {
    ONE_SHAPE: "independent models of one family and one shape",
    OTHER_SHAPE: "independent models of other shapes",
}
_SIZES = ("d_model", "n_layers", "d_ff", "n_heads", "n_kv_heads", "d_head", "n_experts", "norm", "gated")


def background(statistic: str, subject: Subject, value: float | None) -> Background | None:
    """Return what independent pairs of the subject's stratum showed; None where none were measured.

    The false-positive rate counts pairs of families, not pairs: (those of which any pair reaches the value + 1) of
    (all + 1), so that it is never 0.
    """
    known = _known()
    stratum = stratum_of(subject)
    families = known.get("statistics", {}).get(statistic, {}).get(stratum)
    if not families:
        return None
    entries = cast("list[Mapping[str, float]]", list(families.values()))
    reach = None
    if value is not None:
        reach = (sum(entry["largest"] >= value for entry in entries) + 1) / (len(entries) + 1)
    return Background(
        _WORDS[stratum],
        sum(int(entry["pairs"]) for entry in entries),
        {
            "low": min(entry["least"] for entry in entries),
            "median": round(float(np.median([entry["median"] for entry in entries])), 4),
            "high": max(entry["largest"] for entry in entries),
        },
        f"{SOURCE}, recipe {known['recipe']}, {known['measured']}: {_WORDS[stratum]}",
        len(entries),
        reach,
    )


def stratum_of(subject: Subject) -> str:
    """Return whether both components are of one family and of equal sizes."""
    mine, theirs = subject.sides
    same = mine.anatomy.family == theirs.anatomy.family and all(
        getattr(mine.geometry, size) == getattr(theirs.geometry, size) for size in _SIZES
    )
    return ONE_SHAPE if same else OTHER_SHAPE


@cache
def _known() -> Mapping[str, Any]:
    files = sorted(FOLDER.glob("lab-*.json"))
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else {}
