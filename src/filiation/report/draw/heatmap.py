"""The layer x layer map: how much evidence each pair of layers carries, with the pairing outlined."""

from __future__ import annotations

from filiation.report.draw import svg
from filiation.report.draw.bands import band
from filiation.report.extras import LayerMap
from filiation.report.numbers import bans
from filiation.report.wording import Phrases

_LEFT, _TOP, _SPAN = 52.0, 40.0, 600.0
_LARGEST, _NUMBERED = 44.0, 34.0


def heatmap(drawn: LayerMap, phrases: Phrases) -> str:
    """Return the map as SVG; readable from 2 x 2 to a few hundred layers."""
    rows, columns = drawn.suspect_layers, drawn.candidate_layers
    cell = min(_LARGEST, _SPAN / max(len(rows), len(columns), 1))
    gap = 1.0 if cell >= 8 else 0.25
    content = [
        svg.rect(_LEFT, _TOP, len(columns) * cell, len(rows) * cell, "frame"),
        *_cells(drawn, cell, gap),
        *_outlines(drawn, cell),
        *_numbers(drawn, cell),
        *_axes(drawn, cell, phrases),
    ]
    label = phrases.say("ui", "layer_map_aria", suspect=len(rows), candidate=len(columns))
    return svg.picture(
        _LEFT + len(columns) * cell + 8, _TOP + len(rows) * cell + 8, label, content, "heatmap"
    )


def _cells(drawn: LayerMap, cell: float, gap: float) -> list[str]:
    classes: dict[str, list[tuple[float, float]]] = {}
    for i, line in enumerate(drawn.log10_e):
        for j, value in enumerate(line):
            classes.setdefault(band(value), []).append((_LEFT + j * cell, _TOP + i * cell))
    return [svg.squares(cells, cell - gap, f"cell {name}") for name, cells in sorted(classes.items())]


def _outlines(drawn: LayerMap, cell: float) -> list[str]:
    rows = {layer: i for i, layer in enumerate(drawn.suspect_layers)}
    columns = {layer: j for j, layer in enumerate(drawn.candidate_layers)}
    return [
        svg.rect(
            _LEFT + columns[theirs] * cell,
            _TOP + rows[mine] * cell,
            cell,
            cell,
            "pair" if cell >= 12 else "pair small",
            f"{mine} ↔ {theirs}: {bans(_value(drawn, rows[mine], columns[theirs]))}",
        )
        for mine, theirs in drawn.pairs
        if mine in rows and theirs in columns
    ]


def _value(drawn: LayerMap, i: int, j: int) -> float | None:
    return drawn.log10_e[i][j] if i < len(drawn.log10_e) and j < len(drawn.log10_e[i]) else None


def _numbers(drawn: LayerMap, cell: float) -> list[str]:
    """The figures themselves, where a cell is large enough to hold them."""
    if cell < _NUMBERED:
        return []
    return [
        svg.text(
            _LEFT + (j + 0.5) * cell,
            _TOP + (i + 0.5) * cell + 4,
            _short(value),
            f"figure {band(value)}",
            "middle",
        )
        for i, line in enumerate(drawn.log10_e)
        for j, value in enumerate(line)
        if value is not None
    ]


def _short(value: float) -> str:
    return bans(value) if value >= 100 else f"{int(value):d}"


def _axes(drawn: LayerMap, cell: float, phrases: Phrases) -> list[str]:
    rows, columns = drawn.suspect_layers, drawn.candidate_layers
    content = [
        svg.text(_LEFT, 14, phrases.say("ui", "axis_candidate"), "axis"),
        svg.text(14, _TOP, phrases.say("ui", "axis_suspect"), "axis", "end", rotate=-90),
    ]
    for j in range(0, len(columns), svg.tick_step(len(columns))):
        content.append(svg.text(_LEFT + (j + 0.5) * cell, _TOP - 7, str(columns[j]), "tick", "middle"))
    for i in range(0, len(rows), svg.tick_step(len(rows))):
        content.append(svg.text(_LEFT - 8, _TOP + (i + 0.5) * cell + 4, str(rows[i]), "tick", "end"))
    return content
