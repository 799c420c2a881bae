"""The drawings of a probe: wealth over pairs, agreement with intervals, residuals on a log axis, count differences.

Each reads a list that its test left under ``figures``; where there is none, nothing is drawn. The numbers stand in the
text beside, so a drawing never is the only carrier of a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from filiation.report.draw import svg
from filiation.report.numbers import clean, figure
from filiation.report.probe.findings import TestView
from filiation.report.wording import Phrases

_WIDTH, _NAMES, _ROW, _TOP = 560.0, 190.0, 22.0, 26.0
_RIGHT = 84.0
_MOST_ROWS = 24
_MOST_POINTS = 200

Row = Mapping[str, Any]


def drawing(view: TestView, phrases: Phrases) -> str:
    """Return the test's drawings as inline SVG, ``""`` where it left nothing to draw."""
    drawn: list[str] = []
    for key, draw in _DRAWINGS.items():
        entries = _rows(view.figures.get(key))
        if entries:
            drawn.append(draw(entries, view.figures, phrases))
    return "".join(drawn)


def _rows(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _wealth(entries: Sequence[Any], figures: Mapping[str, Any], phrases: Phrases) -> str:
    """The running evidence of a bet: log10 of the wealth over pairs, with the line at which it decides."""
    points = [(float(e[0]), float(e[1])) for e in entries[:: max(1, len(entries) // _MOST_POINTS)]]
    points.append((float(entries[-1][0]), float(entries[-1][1])))
    line = float(figures.get("decision_log10", 2.0))
    low, high = min(0.0, *(y for _, y in points)), max(line, *(y for _, y in points))
    height, left, bottom = 200.0, 60.0, 170.0

    def x(value: float) -> float:
        return left + value / max(points[-1][0], 1.0) * (_WIDTH - left - 12)

    def y(value: float) -> float:
        return bottom - (value - low) / max(high - low, 1e-9) * (bottom - 30)

    content = [svg.text(left, 16, phrases.say("probe", "ui", "wealth"), "axis")]
    for at in sorted({low, 0.0, line, high}):
        content.append(svg.element("line", x1=left, x2=_WIDTH - 12, y1=y(at), y2=y(at), class_="grid"))
        content.append(svg.text(left - 6, y(at) + 4, f"{at:.3g}".replace("-", "−"), "tick", "end"))
    content.append(svg.text(_WIDTH - 12, y(line) - 4, phrases.say("probe", "ui", "threshold"), "tick", "end"))
    path = " ".join(f"{svg.number(x(a))},{svg.number(y(b))}" for a, b in points)
    content.append(svg.element("polyline", points=path, class_="line suspect"))
    last = f"{points[-1][0]:,.0f} {phrases.say('probe', 'ui', 'pairs')}"
    content.append(svg.text(_WIDTH - 12, height - 8, last, "tick", "end"))
    return svg.picture(_WIDTH, height, phrases.say("probe", "ui", "aria_wealth"), content, "curve")


def _agreement(entries: Sequence[Any], figures: Mapping[str, Any], phrases: Phrases) -> str:
    """A share of each model with its interval; controls are open marks."""
    rows = [cast("Row", e) for e in entries[:_MOST_ROWS]]

    def x(value: float) -> float:
        return _NAMES + value * (_WIDTH - _NAMES - _RIGHT)

    content = [svg.text(_NAMES, 14, phrases.say("probe", "ui", "agreement"), "axis")]
    for n, row in enumerate(rows):
        y = _TOP + n * _ROW + _ROW / 2
        value = float(row["share"])
        low, high = float(row.get("low", value)), float(row.get("high", value))
        content += _label(row, y, phrases)
        content.append(svg.element("line", x1=x(0), x2=x(1), y1=y, y2=y, class_="grid"))
        content.append(svg.rect(x(low), y - 2, max(x(high) - x(low), 1.0), 4, _class(row)))
        content.append(svg.rect(x(value) - 3, y - 5, 6, 10, _class(row, mark=True)))
        content.append(svg.text(_WIDTH - 4, y + 4, f"{value:.3f}", "tick", "end"))
    return _picture(rows, content, phrases.say("probe", "ui", "aria_agreement"))


def _residuals(entries: Sequence[Any], figures: Mapping[str, Any], phrases: Phrases) -> str:
    """The residual of each output layer, on tokens that the fit did not see, on a logarithmic axis."""
    rows = [_layer(cast("Row", e), n, phrases) for n, e in enumerate(entries[:_MOST_ROWS])]
    logs = [math.log10(max(float(row["value"]), 1e-18)) for row in rows]
    low, high = math.floor(min(logs)), math.ceil(max(*logs, 0.0))

    def x(value: float) -> float:
        return _NAMES + (value - low) / max(high - low, 1) * (_WIDTH - _NAMES - _RIGHT)

    content = [svg.text(_NAMES, 14, phrases.say("probe", "ui", "residual"), "axis")]
    bottom = _TOP + len(rows) * _ROW
    for power in range(low, high + 1, max(1, -(-(high - low) // 5))):
        content.append(svg.element("line", x1=x(power), x2=x(power), y1=_TOP, y2=bottom, class_="grid"))
        content.append(svg.text(x(power), bottom + 14, f"1e{power}".replace("-", "−"), "tick", "middle"))
    for n, (row, log) in enumerate(zip(rows, logs, strict=True)):
        y = _TOP + n * _ROW + _ROW / 2
        content += _label(row, y, phrases)
        content.append(svg.rect(x(low), y - 3, max(x(log) - x(low), 2.0), 6, _class(row)))
        content.append(svg.text(_WIDTH - 4, y + 4, figure(float(row["value"])), "tick", "end"))
    return _picture(rows, content, phrases.say("probe", "ui", "aria_residual"), bottom=20.0)


def _counts(entries: Sequence[Any], figures: Mapping[str, Any], phrases: Phrases) -> str:
    """For each candidate tokenizer the differences of the token counts: one place for one tokenizer, a spread else."""
    stated = [cast("Row", p).get("stated") for p in _rows(figures.get("probes"))]
    rows = [row for e in entries[:_MOST_ROWS] if (row := _differences(cast("Row", e), stated)) is not None]
    if not rows:
        return ""
    every = [float(d) for row in rows for d in row["differences"]]
    low, high = min(every), max(every)

    def x(value: float) -> float:
        return _NAMES + (value - low) / max(high - low, 1.0) * (_WIDTH - _NAMES - _RIGHT)

    content = [svg.text(_NAMES, 14, phrases.say("probe", "ui", "difference"), "axis")]
    for n, row in enumerate(rows):
        y = _TOP + n * _ROW + _ROW / 2
        found = [float(d) for d in row["differences"]]
        content += _label(row, y, phrases)
        content.append(svg.element("line", x1=_NAMES, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        one = len(set(found)) == 1
        content += [svg.rect(x(d) - 2, y - 6, 4, 12, "b4" if one else "b2") for d in sorted(set(found))]
        ends = f"{min(found):+.0f}" if one else f"{min(found):+.0f} … {max(found):+.0f}"
        content.append(svg.text(_WIDTH - 4, y + 4, ends.replace("-", "−"), "tick", "end"))
    return _picture(rows, content, phrases.say("probe", "ui", "aria_counts"))


def _layer(entry: Row, number: int, phrases: Phrases) -> Row:
    is_control = entry.get("kind") != "candidate"
    permuted = entry.get("kind") == "row_permuted"
    name = phrases.say("probe", "ui", "row_permuted", count=number) if permuted else entry.get("name")
    return {"name": name, "value": entry.get("held_out", 1.0), "control": is_control}


def _differences(entry: Row, stated: Sequence[Any]) -> Row | None:
    """Return by how much the endpoint's counts exceed a tokenizer's own, probe by probe."""
    counts = _rows(entry.get("counts"))
    if len(counts) != len(stated) or not counts:
        return None
    pairs = [(s, c) for s, c in zip(stated, counts, strict=True) if s is not None and c is not None]
    return (
        {"name": entry.get("name"), "differences": [float(s) - float(c) for s, c in pairs]} if pairs else None
    )


def _vendors(entries: Sequence[Any], figures: Mapping[str, Any], phrases: Phrases) -> str:
    """How many answers name which vendor; no evidence of anything, and drawn without colour for that."""
    rows: list[Row] = [{"name": cast("Row", e).get("vendor")} for e in entries[:_MOST_ROWS]]
    values = [float(cast("Row", e).get("claimed", 0)) for e in entries[:_MOST_ROWS]]
    most = max(1.0, float(figures.get("answers", 0)), *values)
    content = [svg.text(_NAMES, 14, phrases.say("probe", "ui", "vendors"), "axis")]
    for n, (row, value) in enumerate(zip(rows, values, strict=True)):
        y = _TOP + n * _ROW + _ROW / 2
        content += _label(row, y, phrases)
        width = value / most * (_WIDTH - _NAMES - _RIGHT)
        content.append(svg.rect(_NAMES, y - 5, max(width, 1.0), 10, "b2"))
        content.append(svg.text(_WIDTH - 4, y + 4, f"{value:.0f} / {most:.0f}", "tick", "end"))
    return _picture(rows, content, phrases.say("probe", "ui", "aria_vendors"))


def _label(row: Row, y: float, phrases: Phrases) -> list[str]:
    name = clean(row.get("name", ""))
    if row.get("control"):
        name = f"{name} ({phrases.say('probe', 'ui', 'control_label')})"
    short = name if len(name) <= 30 else name[:29] + "…"
    return [svg.text(_NAMES - 8, y + 4, short, "tick", "end")]


def _class(row: Row, *, mark: bool = False) -> str:
    if row.get("control"):
        return "b3" if mark else "b1"
    return "b5" if mark else "b3"


def _picture(rows: Sequence[Row], content: Sequence[str], label: str, bottom: float = 6.0) -> str:
    return svg.picture(_WIDTH, _TOP + len(rows) * _ROW + bottom, label, content, "probe-drawing")


_DRAWINGS: Mapping[str, Callable[[Sequence[Any], Mapping[str, Any], Phrases], str]] = {
    "wealth": _wealth,
    "agreement": _agreement,
    "residuals": _residuals,
    "candidates": _counts,
    "vendors": _vendors,
}
