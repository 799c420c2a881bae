"""One self-contained HTML page: no network, no script to run, light, dark and print, drawings as inline SVG."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from filiation.evidence import Report
from filiation.report import numbers
from filiation.report.beside import Likeness, is_simulated, quantiles
from filiation.report.custody import Custody
from filiation.report.draw.bands import legend
from filiation.report.draw.curves import curve, strip
from filiation.report.draw.heatmap import heatmap
from filiation.report.draw.inheritance import inheritance_map
from filiation.report.extras import Inherited, LayerMap
from filiation.report.groups import strength
from filiation.report.mapping import by_component, path_text, summary
from filiation.report.sentences import (
    role_name,
)
from filiation.report.story import Story, paired, tell
from filiation.report.sums import lines
from filiation.report.wording import Phrases

NAME = "html"
SUFFIX = ".html"

_POWER = re.compile(r"10\^-([\d,]+)")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_DELTAS = 400


def render(report: Report, phrases: Phrases, custody: Custody | None = None) -> str:
    """Return the page."""
    story = tell(report, phrases)
    page = environment().get_template("report.html.j2")
    return page.render(
        story=story,
        say=sayings(phrases),
        phrases=phrases,
        custody=custody,
        version=numbers.clean(report.tool.get("version", "")),
        maps=[_map(drawn, story, phrases) for drawn in story.maps if drawn.chosen],
        other_maps=[_map(drawn, story, phrases) for drawn in story.maps if not drawn.chosen],
        inheritance=_inheritance(story, phrases),
        curves=[(drawn.number, Markup(curve(drawn, phrases))) for drawn in story.curves],
        strips=[_strip(likeness, phrases) for likeness in story.likeness],
        legend=legend(phrases),
        strength=strength,
        lines=lambda total: lines(phrases, total, story.sums),  # pyright: ignore[reportUnknownLambdaType]
        deltas=story.deltas[:_MAX_DELTAS],
        deltas_left=max(len(story.deltas) - _MAX_DELTAS, 0),
        role_name=lambda role: role_name(phrases, role) if role else numbers.MISSING,  # pyright: ignore[reportUnknownLambdaType]
        data=embedded(report.to_dict()),
    )


def sayings(phrases: Phrases) -> Any:
    """The template's way to a phrase: its headings and labels."""

    def say(key: str, **values: object) -> str:
        return phrases.say("ui", key, **values)

    return say


@cache
def environment() -> Environment:
    """Return the templates of this room with the filters that they use."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["powers"] = powers
    environment.filters["bans"] = numbers.bans
    environment.filters["bound"] = _bound
    environment.tests["hexdigest"] = _is_digest
    environment.filters["figure"] = numbers.figure
    return environment


def _is_digest(value: str) -> bool:
    return _DIGEST.fullmatch(value) is not None


def _bound(log10_e: float | None) -> Markup:
    return powers(numbers.bound(log10_e))


def _template(name: str) -> str:
    return (files("filiation.report") / "templates" / name).read_text(encoding="utf-8")


def powers(text: object) -> Markup:
    """Escape ``text`` and raise its powers of ten: ``10^-844`` becomes 10 with a superscript."""
    return Markup(_POWER.sub(r"10<sup>−\1</sup>", str(escape(str(text)))))


def _map(drawn: LayerMap, story: Story, phrases: Phrases) -> dict[str, Any]:
    """A layer map with its caption and the same content as a table, for who cannot see the drawing."""
    best: list[tuple[str, str, str]] = []
    for layer, line in zip(drawn.suspect_layers, drawn.log10_e, strict=False):
        read = [
            (value, other)
            for value, other in zip(line, drawn.candidate_layers, strict=False)
            if value is not None
        ]
        if read:
            value, other = max(read)
            cell = phrases.say("ui", "layer_map_best_cell", layer=other) if value >= 2 else numbers.MISSING
            best.append((str(layer), cell, numbers.bans(value)))
    return {
        "candidate": drawn.candidate,
        "component": phrases.name("component", drawn.component),
        "svg": Markup(heatmap(drawn, phrases)) if drawn.log10_e else None,
        "path": path_text(drawn, phrases, found=paired(story, drawn.candidate)),
        "stage": drawn.stage and phrases.say("ui", "stage_of_map", stage=phrases.name("stage", drawn.stage)),
        "basis": _basis(drawn, phrases),
        "best": best,
    }


def _basis(drawn: LayerMap, phrases: Phrases) -> str | None:
    if drawn.basis is None:
        return None
    return phrases.say("ui", "layer_map_basis", basis=phrases.name("basis", drawn.basis))


def _inheritance(story: Story, phrases: Phrases) -> list[dict[str, Any]]:
    return [
        {
            "candidate": candidate,
            "component": phrases.name("component", component),
            "svg": Markup(inheritance_map(cells, phrases)),
            "summary": summary(cells, phrases),
            "rows": [
                (_layer(c), role_name(phrases, c.role), phrases.name("state", c.state), c) for c in cells
            ],
        }
        for (candidate, component), cells in by_component(story.inheritance).items()
    ]


def _layer(cell: Inherited) -> str:
    if cell.layer is None:
        return numbers.MISSING
    moved = cell.candidate_layer is not None and cell.candidate_layer != cell.layer
    return f"{cell.layer} ↔ {cell.candidate_layer}" if moved else str(cell.layer)


def _strip(likeness: Likeness, phrases: Phrases) -> Markup | None:
    e = likeness.evidence
    # A mark outside a simulated band would look like a finding.
    if e.statistic is None or e.background is None or is_simulated(e.background):
        return None
    levels = quantiles(e.background)
    return Markup(strip(e.statistic, levels, phrases)) if levels else None


def embedded(document: dict[str, Any]) -> Markup:
    """Return the report itself as data inside the page; ``<`` is written so that no text can end the block."""
    written = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return Markup(written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
