"""``filiation inspect``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from filiation.cli.options import STDOUT, JsonCommand, json_option, language_option
from filiation.cli.output import Sink, standard_output

if TYPE_CHECKING:
    from filiation.anatomy import Anatomy
    from filiation.evidence import ModelRecord


@click.command(name="inspect", cls=JsonCommand)
@click.argument("model")
@click.option("--base", metavar="B", help="The base model, where MODEL is an adapter.")
@json_option
@language_option
def command(model: str, base: str | None, json_to: str | None, lang: str) -> None:
    """Show what MODEL is made of: parts, symmetries, types, sizes, digest, and what was inferred.

    Headers are read, and small files once more for their digest; no weights are compared.
    """
    from pathlib import Path

    from filiation import anatomy, checkpoint
    from filiation.checkpoint.record import model_record
    from filiation.cli.progress import progress
    from filiation.evidence import plain
    from filiation.report.writing import check_writable, write

    sink = Sink(machine=json_to == STDOUT)
    if json_to not in (None, STDOUT):
        check_writable(Path(str(json_to)))
    with progress(sink) as tell:
        if tell is not None:
            tell(f"opening {model}", 0, None)
        found = anatomy.dissect(checkpoint.open(model, base=base))
    geometry = {component: plain(sizes) for component, sizes in found.geometry.items()}
    record = model_record(found.checkpoint, found.family, geometry, tuple(i.what for i in found.inferences))
    if json_to is None:
        _show(found, record, lang)
        return
    text = _document(record, anatomy.describe(found))
    if json_to == STDOUT:
        sink.data(text)
    else:
        write(Path(json_to), text)
        sink.talk(f"wrote {json_to}")


def _document(record: ModelRecord, described: object) -> str:
    """The JSON of an inspection: the model as a report has it, and its anatomy."""
    from filiation._version import __version__
    from filiation.evidence import plain

    document = {
        "tool": {"name": "filiation", "version": __version__},
        "model": plain(record),
        "anatomy": plain(described),
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False, indent=2) + "\n"


def _show(found: Anatomy, record: ModelRecord, lang: str) -> None:
    from filiation.report import anatomy as drawn
    from filiation.report.terminal import columns
    from filiation.report.wording import phrases

    if standard_output().isatty():
        drawn.on_screen(found, record, phrases(lang))
    else:
        Sink().data(drawn.render(found, record, phrases(lang), width=columns()))
