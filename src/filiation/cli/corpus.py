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
@click.option(
    "--together",
    is_flag=True,
    help="One file for all, named after the package: releases share what did not change.",
)
def build(wheels: tuple[Path, ...], out: Path, sha256: tuple[str, ...], together: bool) -> None:
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
    made = [build_wheel(w, sha256=sha256[n] if sha256 else None) for n, w in enumerate(wheels)]
    made.sort(key=lambda r: (r.released, r.name))
    groups = {made[-1].package: made} if together else {f"{r.package}-{r.version}": [r] for r in made}
    for name, releases in groups.items():
        path = out / f"{name}.npz.xz"
        write_bytes(path, dump(*releases))
        for each in releases:
            sink.talk(f"{each.name} of {each.released}: {len(each.entries)} files")
        sink.talk(f"{path.name}: {path.stat().st_size:,d} bytes")
        sink.data(str(path))
