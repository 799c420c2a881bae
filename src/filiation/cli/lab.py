"""``filiation lab``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="lab")
def command() -> None:
    """Breed small lineages whose kinship is known (extra: lab). filiation's own tests rest on them."""


@command.command(name="breed")
@click.argument("recipe")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the zoo."
)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True, help="Models at a time.")
@click.option(
    "--nice", type=click.IntRange(0, 19), default=10, show_default=True, help="Give way to other programs."
)
def breed(recipe: str, out: Path, processes: int, nice: int) -> int:
    """Make every model of RECIPE (smoke, standard, large, or a TOML file); goes on where it stopped.

    smoke takes about two minutes on two free cores, standard at most three hours, large days. Trains on a GPU where
    torch sees one, which was never tried: none was at hand. Needs torch and transformers (extra: lab).
    """
    from filiation.cli.output import Sink
    from filiation.lab.breed import breed as run
    from filiation.lab.needs import needed
    from filiation.lab.recipe import load_recipe

    needed("Breeding a zoo", "torch", "tokenizers", "transformers")
    outcome = run(load_recipe(recipe), out, processes=processes, niceness=nice, say=Sink().talk)
    return 1 if outcome.failed else 0


@command.command(name="measure")
@click.argument("zoo", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the tables."
)
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True, help="Pairs at a time.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["derived", "joint", "quiet", "initialisation", "fixture", "independent", "stranger"]),
    help="Measure these alone.",
)
@click.option("--again", is_flag=True, help="Measure anew what another state of the source measured.")
def measure(zoo: Path, out: Path, processes: int, only: tuple[str, ...], again: bool) -> None:
    """Compare every pair of a bred ZOO whose answer is known; writes tables, figures, rates and backgrounds.

    Every child with what it was made from, every two independent models, pairs made alike without kinship, every
    child with four strangers. Goes on where it stopped. Needs no torch.
    """
    from filiation.cli.output import Sink
    from filiation.lab import tables
    from filiation.lab.kin import Zoo
    from filiation.lab.measure import measure as run

    sink, bred = Sink(), Zoo(zoo)
    rows = run(bred, out, processes=processes, only=only, newest=again, say=sink.talk)
    tables.write(bred, rows, out)
    sink.data(str(out / "tables.md"))


@command.command(name="demo-models")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the models."
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Folder for unfinished runs.")
@click.option(
    "--zoo", type=click.Path(file_okay=False, path_type=Path), help="Also breed the twins, into this folder."
)
def demo_models(out: Path, state: Path | None, zoo: Path | None) -> int:
    """Train the demo models again (about twenty minutes on one core; needs torch)."""
    from filiation.lab import demo_models

    options = [("--out", out), ("--state", state), ("--zoo", zoo)]
    return demo_models.main(
        [word for flag, path in options if path is not None for word in (flag, str(path))]
    )
