"""The maps in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from filiation.report import numbers
from filiation.report.extras import Inherited, LayerMap
from filiation.report.wording import Phrases

#: States of a part whose labels agree.
CARRIES = ("inherited", "labels_agree")


def summary(cells: Iterable[Inherited], phrases: Phrases) -> str:
    """Return in how many parts the labels agree, and the contents too, of how many that were tested."""
    states = [c.state for c in cells]
    open_ = sum(state not in (*CARRIES, "not_found") for state in states)
    none = not any(state in CARRIES for state in states)
    return phrases.say(
        "ui",
        "inheritance_summary_none" if none else "inheritance_summary",
        inherited=numbers.count(sum(state in CARRIES for state in states)),
        contents=numbers.count(states.count("inherited")),
        tested=numbers.count(len(states) - open_),
        untested=numbers.count(open_),
    )


def by_component(cells: Iterable[Inherited]) -> dict[tuple[int, str], list[Inherited]]:
    """Return the cells of each (candidate, component), in their order."""
    found: dict[tuple[int, str], list[Inherited]] = {}
    for cell in cells:
        found.setdefault((cell.candidate, cell.component), []).append(cell)
    return found


def summary_by_component(
    cells: Iterable[Inherited], phrases: Phrases, names: Sequence[str] = ()
) -> list[str]:
    """Return one summary for each candidate and component; each is named where there are several.

    ``names`` are those of the candidates, where there is more than one.
    """
    parts = by_component(cells)
    components = {component for _, component in parts}
    lines: list[str] = []
    for (candidate, component), part in parts.items():
        label = [names[candidate]] if candidate < len(names) else []
        label += [phrases.name("component", component)] if len(components) > 1 else []
        lines.append(_labelled(phrases, phrases.say("ui", "list_comma").join(label), summary(part, phrases)))
    return lines


def _labelled(phrases: Phrases, label: str | None, text: str) -> str:
    return phrases.say("ui", "label_colon", label=label, value=text) if label else text


def path_text(drawn: LayerMap, phrases: Phrases, name: str | None = None, *, found: bool = True) -> str:
    """Return which layers were paired, in words.

    ``name`` is the candidate's where there are several; without ``found`` the pairing is how strangers were compared.
    """
    text = phrases.say("ui", "layer_map_no_path")
    if drawn.pairs:
        key = "layer_map_path" if found else "layer_map_compared"
        text = phrases.say("ui", key, path=numbers.path(list(drawn.pairs)))
    return _labelled(phrases, name, text)
