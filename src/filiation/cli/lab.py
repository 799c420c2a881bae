"""``filiation lab``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="lab")
def command() -> None:
    """Breed small lineages whose kinship is known (extra: lab). filiation's own tests rest on them."""


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
