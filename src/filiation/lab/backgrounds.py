"""What the published similarity statistics show on the independent pairs of a zoo: by stratum, counted by family.

The result is shipped with the package, and `filiation.likeness` prints it beside what it measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from filiation.lab.kin import Category, Zoo

#: Pairs of one family and one shape, and all others.
ONE_SHAPE, OTHER_SHAPE = "one_shape", "other_shape"
ABOUT = (
    "Similarity statistics of independent models that filiation's lab bred and filiation compared (filiation lab "
    "breed, filiation lab measure). Every two models of the zoo that share no draw of initial weights are one pair. "
    "Stratum one_shape: one family and equal sizes; other_shape: everything else. Pairs of two families are one pair "
    "of families: models of one recipe are no independent witnesses. For each pair of families the least, median and "
    "largest value stand here, and how many pairs they come from."
)


def strata(zoo: Zoo, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return statistic -> stratum -> pairs of families, each with its pairs and their least, median, largest value."""
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["category"] != Category.INDEPENDENT:
            continue
        stratum = ONE_SHAPE if row["same_shape"] else OTHER_SHAPE
        families = " / ".join(sorted(zoo.family(name) for name in (row["suspect"], row["candidates"][0])))
        for statistic, value in row.get("likeness", {}).items():
            found[statistic, stratum][families].append(float(value))
    out: dict[str, Any] = {}
    for (statistic, stratum), families in sorted(found.items()):
        entries = {name: _entry(values) for name, values in sorted(families.items())}
        out.setdefault(statistic, {})[stratum] = entries
    return out


def _entry(values: Sequence[float]) -> dict[str, Any]:
    low, middle, high = np.quantile(np.array(values), [0, 0.5, 1])
    return {
        "pairs": len(values),
        "least": round(float(low), 4),
        "median": round(float(middle), 4),
        "largest": round(float(high), 4),
    }


def document(zoo: Zoo, rows: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """Return the data file: how it was made, of which zoo, by which version, and the strata."""
    return {
        "about": ABOUT,
        "version": version,
        "recipe": zoo.record["recipe"],
        "zoo_sha256": zoo.digest(),
        "statistics": strata(zoo, rows),
    }
