"""Figures of a measured zoo as SVG, drawn by hand: they are few and need no plotting library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filiation.lab.heat import heat_map
from filiation.lab.kin import Category
from filiation.lab.laws import Rate

Row = Mapping[str, Any]
Point = tuple[float, float]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 320, 64, 16, 34, 48
_KIN = (Category.DERIVED, Category.JOINT)
_APART = (Category.INDEPENDENT, Category.STRANGER)
#: Everything a model without evidence gets: left of every line.
_NOTHING = -1.0


@dataclass(frozen=True)
class Axes:
    """A linear frame: ranges of x and y, and ticks with what is written beside them."""

    x: Point
    y: Point
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    x_name: str
    y_name: str
    title: str

    def at(self, x: float, y: float) -> Point:
        """Return the place of a point in the picture."""
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def write_figures(rows: Sequence[Row], out: Path) -> None:
    """Write ``roc.svg``, ``distance.svg`` and ``heat.svg``."""
    (out / "roc.svg").write_text(roc(rows), encoding="utf-8")
    (out / "distance.svg").write_text(distance(rows), encoding="utf-8")
    (out / "heat.svg").write_text(heat_map(rows), encoding="utf-8")


def roc(rows: Sequence[Row]) -> str:
    """Draw true against false positives over all lines that could be drawn through log10 e.

    The axis of false positives is logarithmic and ends at the upper end of the exact 95 % interval of none at all:
    more than that no count of this size can show.
    """
    true = sorted((_bans(row) for row in rows if row["category"] in _KIN), reverse=True)
    false = sorted((_bans(row) for row in rows if row["category"] in _APART), reverse=True)
    if not true or not false:
        return _svg("nothing was measured", [])
    floor = Rate(0, len(false)).interval[1]
    points = [(_share(false, line), _share(true, line)) for line in sorted({*true, *false}, reverse=True)]
    low = math.log10(floor)
    axes = Axes(
        (low, 0.0),
        (0.0, 1.0),
        [(low, f"< {floor:.1e}"), *((e, f"1e{e}") for e in range(math.ceil(low + 0.3), 1))],
        [(step / 5, f"{step / 5:.1f}") for step in range(6)],
        f"false positives of {len(false):,} pairs that share nothing; at the left edge: fewer, or none",
        f"true of {len(true)}",
        "Pairs called by log10 e, over all lines",
    )
    path = [(max(math.log10(max(f, 1e-12)), low), t) for f, t in points]
    return _svg(axes.title, [*_frame(axes), _line(axes, path)])


def distance(rows: Sequence[Row]) -> str:
    """Draw log10 e against how far training moved the weights: 1 - cosine of matched weights."""
    kinds = {
        "children": (Category.DERIVED,),
        "one initialisation": (Category.INITIALISATION,),
        "strangers": _APART,
    }
    found = {
        name: [(1 - row["history"]["weight_cosine"], _bans(row)) for row in rows if _of(row, categories)]
        for name, categories in kinds.items()
    }
    top = max((y for points in found.values() for _, y in points), default=1.0) * 1.05 or 1.0
    axes = Axes(
        (0.0, 1.0),
        (_NOTHING, top),
        [(step / 5, f"{step / 5:.1f}") for step in range(6)],
        ticks(top),
        "1 - cosine of matched weights",
        "log10 e",
        "Evidence against distance",
    )
    marks: list[str] = []
    for number, (name, points) in enumerate(found.items()):
        marks += [_mark(axes.at(x, y), number) for x, y in points]
        marks += [_mark((WIDTH - 150, TOP + 14 + 16 * number), number)]
        marks += [_text(WIDTH - 140, TOP + 18 + 16 * number, f"{name} ({len(points)})")]
    return _svg(axes.title, [*_frame(axes), *marks])


def ticks(top: float) -> list[tuple[float, str]]:
    """Return round numbers from 0 to ``top``, three to six of them."""
    rough = top / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(times for times in (1, 2, 5, 10) if times * power >= rough)
    ticks = [step * place for place in range(math.floor(top / step) + 1)]
    return [(tick, f"{tick:,.0f}" if step >= 1 else f"{tick:.4g}") for tick in ticks]


def _of(row: Row, categories: Iterable[Category]) -> bool:
    return row["category"] in categories and "weight_cosine" in row.get("history", {})


def _bans(row: Row) -> float:
    found = row.get("log10_e")
    return _NOTHING if found is None else max(float(found), _NOTHING)


def _share(values: Sequence[float], line: float) -> float:
    return sum(value >= line for value in values) / len(values)


def _frame(axes: Axes) -> list[str]:
    x0, y0 = axes.at(axes.x[0], axes.y[0])
    x1, y1 = axes.at(axes.x[1], axes.y[1])
    parts = [f'<path d="M{x0:.1f} {y1:.1f}V{y0:.1f}H{x1:.1f}" fill="none" stroke="#555"/>']
    for value, name in axes.x_ticks:
        x, _ = axes.at(value, axes.y[0])
        parts.append(_text(x, y0 + 16, name, "middle"))
    for value, name in axes.y_ticks:
        _, y = axes.at(axes.x[0], value)
        parts.append(_text(x0 - 6, y + 4, name, "end"))
    parts.append(_text((x0 + x1) / 2, HEIGHT - 10, axes.x_name, "middle"))
    return [*parts, _text(x0, TOP - 6, axes.y_name, "start")]


def _line(axes: Axes, points: Sequence[Point]) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (axes.at(*point) for point in points))
    return f'<polyline points="{places}" fill="none" stroke="#1f5f8b" stroke-width="2"/>'


def _mark(place: Point, number: int) -> str:
    x, y = place
    colour = ("#1f5f8b", "#b35900", "#777777")[number]
    shapes = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}" fill-opacity=".7"/>',
        f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"/>',
        f'<path d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6" stroke="{colour}"/>',
    )
    return shapes[number]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11">{safe}</text>'


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    heading = f'<text x="{LEFT}" y="16" font-size="13" font-weight="bold">{title}</text>'
    return (
        "\n".join(
            [
                head,
                f"<title>{title}</title>",
                '<rect width="100%" height="100%" fill="#fff"/>',
                heading,
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )
