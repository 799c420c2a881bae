"""An inspection on the terminal: what a model is made of. Not a report: nothing is concluded."""

from __future__ import annotations

import io
import sys
from collections import Counter

from rich.console import Console, RenderableType

from filiation.anatomy.model import Anatomy
from filiation.evidence import ModelRecord, plain
from filiation.report.models import model_view
from filiation.report.numbers import MISSING, clean, ranges
from filiation.report.sentences import inference_text, reason_text, role_name
from filiation.report.terminal import MAX_WIDTH, WIDTH, bullets, facts, section, table
from filiation.report.wording import Phrases

_MOST = 12


def render(found: Anatomy, record: ModelRecord, phrases: Phrases, *, width: int = WIDTH) -> str:
    """Return the inspection as plain text of ``width`` columns."""
    with io.StringIO() as file:
        _print(found, record, phrases, Console(file=file, width=width, no_color=True, force_terminal=False))
        return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def on_screen(found: Anatomy, record: ModelRecord, phrases: Phrases) -> None:
    """Print the inspection to the terminal that standard output is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    console.width = min(console.width, MAX_WIDTH)
    _print(found, record, phrases, console)


def _print(found: Anatomy, record: ModelRecord, phrases: Phrases, console: Console) -> None:
    view = model_view(phrases, plain(record), "", clean(record.name))
    shown = tuple((label, value) for label, value in view.facts if value != MISSING)
    console.print()
    console.print(section(clean(record.name), facts(shown)))
    for component in found.components:
        console.print(_parts(found, component, phrases))
        console.print(_symmetries(found, component, phrases))
    if found.inferences:
        lines = [inference_text(phrases, i.what, i.basis) for i in found.inferences]
        console.print(section(phrases.say("ui", "inferred"), bullets(_cut(lines, phrases))))
    if found.rename_map:
        lines = [f"{clean(theirs)} → {clean(ours)}" for theirs, ours in found.rename_map.items()]
        console.print(section(phrases.name("derivation", "renamed"), bullets(_cut(lines, phrases))))
    if found.unnamed:
        lines = [clean(name) for name in found.unnamed]
        console.print(section(phrases.say("ui", "unnamed"), bullets(_cut(lines, phrases))))


def _cut(lines: list[str], phrases: Phrases) -> list[str]:
    more = len(lines) - _MOST
    return lines if more <= 0 else [*lines[:_MOST], phrases.say("ui", "more", count=more)]


def _title(found: Anatomy, component: str, words: str, phrases: Phrases) -> str:
    if len(found.components) == 1:
        return words
    return phrases.say("ui", "label_colon", label=phrases.name("component", component), value=words)


def _parts(found: Anatomy, component: str, phrases: Phrases) -> RenderableType:
    """One row per role: how many tensors, in which layers, of which shape."""
    parts = [p for p in found.parts if p.component == component]
    rows: list[tuple[str, ...]] = []
    for role in dict.fromkeys(p.role for p in parts):
        mine = [p for p in parts if p.role == role]
        layers = [p.layer for p in mine if p.layer is not None]
        (shape, _), *others = Counter(p.shape for p in mine).most_common()
        text = " × ".join(f"{n:,d}" for n in shape) + (" …" if others else "")
        rows.append(
            (role_name(phrases, role), f"{len(mine):,d}", ranges(layers) if layers else MISSING, text)
        )
    head = [phrases.say("ui", key) for key in ("part", "tensor_count", "layer", "shape")]
    return section(_title(found, component, phrases.say("ui", "parts"), phrases), table(head, rows))


def _symmetries(found: Anatomy, component: str, phrases: Phrases) -> RenderableType:
    rows = [
        (
            phrases.name("symmetry", str(ruling.symmetry)),
            phrases.say("ui", "holds" if ruling.holds else "holds_not"),
            reason_text(phrases, ruling.reason),
        )
        for ruling in found.rulings.get(component, ())
    ]
    head = [phrases.say("ui", key) for key in ("symmetry", "applies", "why")]
    return section(_title(found, component, phrases.say("ui", "symmetries"), phrases), table(head, rows))
