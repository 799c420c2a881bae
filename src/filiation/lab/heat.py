"""Which test sees through which change: a heat map of a measured zoo, drawn as SVG by hand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from filiation.lab.kin import Category

Row = Mapping[str, Any]
CELL_WIDTH, CELL_HEIGHT, LEFT, TOP = 46, 17, 170, 176
#: What stands for the darkest colour: log10 e of so much.
FULL = 4000.0


def medians(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """Return kind of change -> test -> median log10 e over all label sets, children against what they were made from.

    A test that was not run on a kind of change has no entry.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["category"] == Category.DERIVED and len(row["kinds"]) == 1:
            for test, value in row.get("by_test", {}).items():
                found[str(row["kinds"][0])][str(test)].append(float(value))
    return {kind: {test: median(values) for test, values in tests.items()} for kind, tests in found.items()}


def heat_map(rows: Sequence[Row]) -> str:
    """Draw the medians; every cell says its figure on hovering, an empty one means that the test was not run."""
    found = medians(rows)
    tests = sorted({test for row in found.values() for test in row})
    title = "log10 e of each test on each kind of change: medians; empty: the test was not run"
    width, height = LEFT + CELL_WIDTH * len(tests) + 16, TOP + CELL_HEIGHT * len(found) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f"<title>{title}</title>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="16" y="18" font-size="13" font-weight="bold">{title}</text>',
    ]
    for column, test in enumerate(tests):
        x = LEFT + CELL_WIDTH * column + CELL_WIDTH / 2
        parts.append(
            f'<text x="{x}" y="{TOP - 6}" font-size="11" transform="rotate(-60 {x} {TOP - 6})">{escape(test)}</text>'
        )
    cells: list[str] = []
    for number, (kind, values) in enumerate(found.items()):
        y = TOP + CELL_HEIGHT * number
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 12}" font-size="11" text-anchor="end">{escape(kind)}</text>'
        )
        for column, test in enumerate(tests):
            if test in values:
                cells.append(_cell(LEFT + CELL_WIDTH * column, y, f"{kind}, {test}", values[test]))
    return "\n".join([*parts, '<g font-size="9" text-anchor="middle">', *cells, "</g>", "</svg>"]) + "\n"


def _cell(x: float, y: float, name: str, value: float) -> str:
    depth = min(math.log1p(max(value, 0.0)) / math.log1p(FULL), 1.0)
    colour = ",".join(str(round(255 - depth * (255 - full))) for full in (31, 95, 139))
    place = f'x="{x}" y="{y}" width="{CELL_WIDTH - 1}" height="{CELL_HEIGHT - 1}"'
    middle = f'x="{x + CELL_WIDTH / 2:g}" y="{y + 12}"'
    ink = "#fff" if depth > 0.55 else "#222"
    return (
        f'<g><title>{escape(name)}: {value:,.1f}</title><rect {place} fill="rgb({colour})"/>'
        f'<text {middle} fill="{ink}">{round(value):,}</text></g>'
    )
