"""``filiation demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from filiation.cli.options import language_option
from filiation.cli.output import Sink, standard_output

if TYPE_CHECKING:
    from filiation.evidence import Report

#: Suspect and candidate of every comparison; the last two are the ones that must stay quiet about descent.
PAIRS = (
    ("fine-tuned", "base"),
    ("continued", "base"),
    ("moe-upcycled", "base"),
    ("laundered", "fine-tuned"),
    ("renamed", "fine-tuned"),
    ("same-init", "base"),
    ("twin", "base"),
)
#: The pair that is printed in full.
SHOWN = ("continued", "base")


@click.command(name="demo")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/demo"),
    show_default=True,
    help="Folder for the reports.",
)
@click.option("--models", type=click.Path(file_okay=False, path_type=Path), help="Folder of the demo models.")
@language_option
def command(out: Path, models: Path | None, lang: str) -> None:
    """Compare small models that were really trained, print each verdict, and write the reports (offline)."""
    from filiation.cli.deliver import Wanted, show, write_files
    from filiation.cli.progress import progress
    from filiation.comparison import compare_models
    from filiation.report.custody import now
    from filiation.report.numbers import clean
    from filiation.report.wording import phrases

    sink, said = Sink(), phrases(lang)
    folder = find_models(models)
    _make(out)
    sink.talk(said.say("demo", "intro", count=len(PAIRS)))
    shown: Report | None = None
    for suspect, candidate in PAIRS:
        started = now()
        with progress(sink) as tell:
            report = compare_models(str(folder / suspect), [str(folder / candidate)], progress=tell)
        stem = f"{suspect}--{candidate}"
        write_files(report, Wanted(str(out / f"{stem}.json"), out / f"{stem}.html", language=lang), started)
        _print_line(report, f"{suspect} / {candidate}", lang)
        shown = report if (suspect, candidate) == SHOWN else shown
    if shown is not None:
        sink.talk(f"\n{said.say('demo', 'details')} {' / '.join(SHOWN)}")
        show(shown, Wanted(language=lang))
    sink.talk(said.say("demo", "written", folder=clean(out)))
    sink.hint(f"open {out / f'{SHOWN[0]}--{SHOWN[1]}.html'} in a browser")


def find_models(named: Path | None) -> Path:
    """Return the folder of the demo models: the one that was named, the working folder's, or the checkout's.

    Raises:
        NotFoundError: it is nowhere; the wheel does not hold the models.
    """
    from filiation.errors import NotFoundError

    places = (
        [named] if named else [Path("examples/models"), Path(__file__).parents[3] / "examples" / "models"]
    )
    wanted = sorted({name for pair in PAIRS for name in pair})
    for place in places:
        if all((place / name).is_dir() for name in wanted):
            return place
    missing = [name for name in wanted if not (places[0] / name).is_dir()]
    raise NotFoundError(
        "The demo models were not found.",
        file=str(places[0]),
        reason=f"There is no {', '.join(missing)}. The installed package does not hold the models; the source does.",
        next_step="Run it in a checkout of the source, or: filiation demo --models CHECKOUT/examples/models",
    )


def _make(out: Path) -> None:
    from filiation.errors import StorageError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            "The folder for the reports could not be made.",
            file=str(out),
            reason=error.strerror,
            next_step="Name another with --out.",
        ) from error


def _print_line(report: Report, pair: str, lang: str) -> None:
    """Print one verdict as one line."""
    from filiation.report.terminal import one_line
    from filiation.report.wording import phrases

    line = one_line(report, phrases(lang))
    if standard_output().isatty():
        from rich.console import Console

        Console(highlight=False).print(f"{pair:<24}", line, soft_wrap=True)
    else:
        Sink().data(f"{pair:<24} {line.plain}")
