"""The maps in words."""

from __future__ import annotations

from collections.abc import Iterable

from filiation.report import numbers
from filiation.report.extras import Inherited, LayerMap
from filiation.report.wording import Phrases


def summary(cells: Iterable[Inherited], phrases: Phrases) -> str:
    """Return how many parts were found inherited, of how many that were tested."""
    states = [c.state for c in cells]
    open_ = sum(state not in ("inherited", "not_found") for state in states)
    return phrases.say(
        "ui",
        "inheritance_summary",
        inherited=numbers.count(states.count("inherited")),
        tested=numbers.count(len(states) - open_),
        untested=numbers.count(open_),
    )


def by_component(cells: Iterable[Inherited]) -> dict[tuple[int, str], list[Inherited]]:
    """Return the cells of each (candidate, component), in their order."""
    found: dict[tuple[int, str], list[Inherited]] = {}
    for cell in cells:
        found.setdefault((cell.candidate, cell.component), []).append(cell)
    return found


def summary_by_component(cells: Iterable[Inherited], phrases: Phrases) -> list[str]:
    """Return one summary for each candidate and component; the component is named where there are several."""
    parts = by_component(cells)
    if len(parts) == 1:
        return [summary(next(iter(parts.values())), phrases)]
    return [
        phrases.say(
            "ui", "label_colon", label=phrases.name("component", component), value=summary(part, phrases)
        )
        for (_, component), part in parts.items()
    ]


def path_text(drawn: LayerMap, phrases: Phrases) -> str:
    """Return which layers were paired, in words."""
    if not drawn.pairs:
        return phrases.say("ui", "layer_map_no_path")
    return phrases.say("ui", "layer_map_path", path=numbers.path(list(drawn.pairs)))
