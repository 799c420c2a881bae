"""The inheritance map: one row per role, one column per layer; states differ in shape, not only in colour."""

from __future__ import annotations

from collections.abc import Sequence

from filiation.report.draw import svg
from filiation.report.extras import Inherited
from filiation.report.mapping import CARRIES
from filiation.report.numbers import bans, count
from filiation.report.sentences import (
    role_name,
)
from filiation.report.wording import Phrases

_LABELS, _TOP, _SPAN, _LARGEST = 172.0, 26.0, 640.0, 30.0
_ROW = 22.0


def inheritance_map(cells: Sequence[Inherited], phrases: Phrases) -> str:
    """Return the map of one component as SVG. Roles keep the order in which they come."""
    roles = list(dict.fromkeys(c.role for c in cells))
    layers = sorted({c.layer for c in cells if c.layer is not None})
    columns: list[int | None] = [*([None] if any(c.layer is None for c in cells) else []), *layers]
    width = min(_LARGEST, _SPAN / max(len(columns), 1))
    place = {
        layer: _LABELS + n * width + (4 if layer is not None and columns[0] is None else 0)
        for n, layer in enumerate(columns)
    }
    line = {role: _TOP + n * _ROW for n, role in enumerate(roles)}
    content = [svg.text(_LABELS - 8, line[r] + 15, role_name(phrases, r), "tick", "end") for r in roles]
    content += _ticks(columns, place, width, phrases)
    content += [_cell(c, place[c.layer], line[c.role], width, phrases) for c in cells]
    inherited = sum(c.state in CARRIES for c in cells)
    tested = sum(c.state in (*CARRIES, "not_found") for c in cells)
    label = phrases.say("ui", "inheritance_aria", inherited=inherited, tested=tested)
    size = (_LABELS + len(columns) * width + 12, _TOP + len(roles) * _ROW + 6)
    return svg.picture(*size, label, content, "inheritance")


def _ticks(
    columns: list[int | None], place: dict[int | None, float], width: float, phrases: Phrases
) -> list[str]:
    step = svg.tick_step(len(columns))
    content = [
        svg.text(place[layer] + width / 2, _TOP - 8, str(layer), "tick", "middle")
        for layer in columns
        if layer is not None and layer % step == 0
    ]
    content.append(svg.text(_LABELS - 8, _TOP - 8, phrases.say("ui", "layer"), "axis", "end"))
    return content


def _cell(cell: Inherited, x: float, y: float, width: float, phrases: Phrases) -> str:
    gap = 1.5 if width >= 10 else 0.5
    state = cell.state if cell.state in (*CARRIES, "not_found", "undecided") else "not_tested"
    drawn = svg.rect(x, y + 2, width - gap, _ROW - 4, f"state {state}", describe(cell, phrases))
    if state == "not_found":
        middle = x + (width - gap) / 2
        drawn += svg.element("circle", cx=middle, cy=y + _ROW / 2, r=min(2.2, width / 4), class_="mark")
    return drawn


def describe(cell: Inherited, phrases: Phrases) -> str:
    """Return one cell in words: where, what state, and the figures behind it."""
    text = phrases.say(
        "ui",
        "inheritance_whole" if cell.layer is None else "inheritance_cell",
        layer=cell.layer,
        role=role_name(phrases, cell.role),
        state=phrases.name("state", cell.state),
    )
    if cell.matched is not None and cell.n is not None:
        text += f"; {count(cell.matched)} / {count(cell.n)}"
    if cell.log10_e is not None:
        text += f"; {phrases.say('ui', 'log10_e')} {bans(cell.log10_e)}"
    if cell.cosine is not None:
        text += f"; {phrases.name('statistic', 'cosine')} {cell.cosine:.2f}"
    return text
