"""``filiation corpus``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group(name="corpus")
def command() -> None:
    """Build a reference corpus: fingerprints of the model code of public releases, against which an audit ranks.

    A corpus file holds hashes, names of definitions and copyright lines, no code.
    """


@command.command(name="build")
@click.argument("wheels", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the files. [here]",
)
@click.option("--sha256", multiple=True, metavar="HEX", help="What each wheel's SHA-256 has to be, in order.")
def build(wheels: tuple[Path, ...], out: Path, sha256: tuple[str, ...]) -> None:
    """Build a corpus file from each of WHEELS (transformers, vllm ...): read, fingerprinted, never imported.

    \b
    Example:
      pip download --no-deps transformers==4.44.2
      filiation corpus build transformers-4.44.2-py3-none-any.whl --out corpus
      filiation audit ./model --against corpus/transformers-4.44.2.npz.xz
    """
    from filiation.cli.output import Sink
    from filiation.errors import UsageError
    from filiation.report.writing import write_bytes
    from filiation.source.corpus import build_wheel, dump

    if sha256 and len(sha256) != len(wheels):
        raise UsageError(
            f"There are {len(wheels)} wheels and {len(sha256)} digests.",
            next_step="Give --sha256 once for each wheel, in order, or not at all.",
        )
    sink = Sink()
    out.mkdir(parents=True, exist_ok=True)
    for number, wheel in enumerate(wheels):
        made = build_wheel(wheel, sha256=sha256[number] if sha256 else None)
        path = out / f"{made.package}-{made.version}.npz.xz"
        write_bytes(path, dump(made))
        sink.talk(
            f"{made.name} of {made.released}: {len(made.entries)} files, {path.stat().st_size:,d} bytes"
        )
        sink.data(str(path))
