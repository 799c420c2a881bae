"""Curves over depth, and the strip that shows where a statistic lies among unrelated pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from filiation.report.draw import svg
from filiation.report.extras import Curve
from filiation.report.numbers import decimal, short
from filiation.report.wording import Phrases

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 340.0, 190.0, 56.0, 10.0, 30.0, 30.0
Points = Sequence[float | None]


def curve(drawn: Curve, phrases: Phrases) -> str:
    """Return both models' values over relative depth: the suspect solid, the candidate dashed."""
    values = [v for v in (*drawn.suspect, *drawn.candidate) if v is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    name = phrases.name("curve", drawn.name)
    content = [
        svg.text(_LEFT, 16, name, "axis"),
        *_grid(low, high),
        _line(drawn.candidate, low, high, "line candidate"),
        _line(drawn.suspect, low, high, "line suspect"),
        svg.text(
            (_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, phrases.say("ui", "curve_depth"), "tick", "middle"
        ),
    ]
    return svg.picture(_WIDTH, _HEIGHT, phrases.say("ui", "curve_aria", name=name), content, "curve")


def _grid(low: float, high: float) -> list[str]:
    content: list[str] = []
    digits = min(max(2 - math.floor(math.log10(high - low)), 0), 5)
    for n in range(3):
        value = low + (high - low) * n / 2
        y = _height(value, low, high)
        content.append(svg.element("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        content.append(svg.text(_LEFT - 6, y + 4, decimal(value, digits), "tick", "end"))
    return content


def _height(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _line(points: Points, low: float, high: float, class_: str) -> str:
    """One polyline for each run of measured values; a gap stays a gap."""
    span = (_WIDTH - _LEFT - _RIGHT) / max(len(points) - 1, 1)
    runs: list[list[str]] = [[]]
    for n, value in enumerate(points):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{svg.number(_LEFT + n * span)},{svg.number(_height(value, low, high))}")
    return "".join(svg.element("polyline", points=" ".join(run), class_=class_) for run in runs if run)


def strip(value: float, quantiles: dict[float, float], phrases: Phrases) -> str:
    """Return where ``value`` lies among unrelated pairs: their range, the middle half, the median."""
    ends = [value, *quantiles.values()]
    low, high = min(0.0, *ends), max(1.0, *ends)

    def x(at: float) -> float:
        return 10 + (at - low) / (high - low) * 320

    content = [svg.element("line", x1=10, x2=330, y1=22, y2=22, class_="grid")]
    for inner, outer, class_ in ((0.05, 0.95, "range"), (0.25, 0.75, "half")):
        start, stop = _level(quantiles, inner, low), _level(quantiles, outer, high)
        if quantiles:
            content.append(svg.rect(x(start), 15, max(x(stop) - x(start), 1), 14, class_))
    if 0.5 in quantiles:
        content.append(svg.rect(x(quantiles[0.5]) - 1, 13, 2, 18, "median"))
    at = x(value)
    content.append(svg.element("path", d=f"M{svg.number(at)} 12l6 10l-6 10l-6 -10z", class_="observed"))
    content += [svg.text(10, 46, short(low), "tick"), svg.text(330, 46, short(high), "tick", "end")]
    smallest, largest = min(quantiles.values(), default=low), max(quantiles.values(), default=high)
    label = phrases.say("ui", "strip_aria", value=decimal(value, 3), low=short(smallest), high=short(largest))
    return svg.picture(340, 50, label, content, "strip")


def _level(quantiles: dict[float, float], level: float, otherwise: float) -> float:
    """The quantile at ``level``, else the nearest one further out, else the end of the scale."""
    if level < 0.5:
        known = [k for k in quantiles if k <= level]
        return quantiles[max(known)] if known else min(quantiles.values(), default=otherwise)
    known = [k for k in quantiles if k >= level]
    return quantiles[min(known)] if known else max(quantiles.values(), default=otherwise)
