"""Where a report goes: files, written whole or not at all, and standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filiation.cli.options import STDOUT
from filiation.cli.output import Sink, standard_output
from filiation.errors import UsageError

if TYPE_CHECKING:
    from filiation.auditing import AuditReport
    from filiation.evidence import Report
    from filiation.probing.records import ProbeReport
    from filiation.report.custody import Custody


@dataclass(frozen=True)
class Wanted:
    """What the caller asked for.

    ``json_to`` is None, ``-`` (standard output) or a file; ``others`` are files of further renderers, by name.
    """

    json_to: str | None = None
    html: Path | None = None
    markdown: Path | None = None
    language: str = "en"
    quiet: bool = False
    others: tuple[tuple[str, Path], ...] = ()

    @property
    def sink(self) -> Sink:
        """Where words go: under ``--json`` standard output is for the machine."""
        return Sink(quiet=self.quiet, machine=self.json_to == STDOUT)

    @property
    def json_file(self) -> Path | None:
        """The JSON file, if one was named."""
        return None if self.json_to in (None, STDOUT) else Path(str(self.json_to))

    @property
    def drawn(self) -> tuple[tuple[str, Path], ...]:
        """The files that a renderer writes, beside the JSON: its name and where to."""
        own = (("html", self.html), ("markdown", self.markdown))
        return (*((name, path) for name, path in own if path is not None), *self.others)

    def check(self, inputs: Sequence[str]) -> None:
        """Refuse what cannot be written, before anything long is computed.

        Raises:
            UsageError: an output is, or lies inside, an input, or two outputs are one file.
            StorageError: an output cannot be written.
        """
        from filiation.report.writing import check_writable

        standard_output()
        files = [*filter(None, [self.json_file]), *(path for _, path in self.drawn)]
        if len({path.resolve() for path in files}) < len(files):
            raise UsageError(
                "Two outputs have the same file name.", next_step="Give each output a file of its own."
            )
        taken = {Path(name).resolve() for name in inputs if "://" not in name}
        for path in files:
            if path.resolve() in taken:
                raise UsageError(
                    f"The output '{path}' is one of the inputs.",
                    next_step="Name another file for the output.",
                )
            if taken & set(path.resolve().parents):
                raise UsageError(
                    f"The output '{path}' lies in the folder of an input model.",
                    reason="It could overwrite a file of the model, and would belong to it afterwards.",
                    next_step="Name a file outside the models' folders.",
                )
            check_writable(path)


def deliver(
    report: Report | AuditReport | ProbeReport,
    wanted: Wanted,
    started: datetime | None,
    drawing: Mapping[str, Any] | None = None,
    kept: Custody | None = None,
) -> None:
    """Write every file that was asked for, and the report itself to standard output.

    ``started`` is when the walk began; None for a stored report, which keeps the custody it has (``kept``). ``drawing``
    is what the HTML renderer is given beside the report.
    """
    for path in write_files(report, wanted, started, drawing, kept):
        wanted.sink.talk(f"wrote {path}")
    show(report, wanted)


def write_files(
    report: Report | AuditReport | ProbeReport,
    wanted: Wanted,
    started: datetime | None,
    drawing: Mapping[str, Any] | None = None,
    kept: Custody | None = None,
) -> tuple[Path, ...]:
    """Write the JSON with its custody beside it and what the renderers draw; return what was written."""
    if wanted.json_file is None and not wanted.drawn:
        return ()
    from filiation.evidence import to_json
    from filiation.report import renderer
    from filiation.report.custody import custody, custody_path, now
    from filiation.report.wording import phrases
    from filiation.report.writing import write

    canonical = to_json(report)
    kept = kept if started is None else custody(canonical, started, now())
    written: list[Path] = []
    if wanted.json_file is not None:
        write(wanted.json_file, canonical)
        written.append(wanted.json_file)
        if kept is not None:
            write(custody_path(wanted.json_file), kept.to_json())
    for name, path in wanted.drawn:
        more = drawing or {} if name == "html" else {}
        text = renderer(name, report.schema).render(report, phrases(wanted.language), kept, **more)
        write(path, text)
        written.append(path)
    return tuple(written)


def show(report: Report | AuditReport | ProbeReport, wanted: Wanted) -> None:
    """Print the report: JSON for the machine, the answer in one word when quiet, else text for the terminal."""
    if wanted.json_to == STDOUT:
        from filiation.evidence import to_json

        wanted.sink.data(to_json(report))
    elif wanted.quiet:
        wanted.sink.data(_word(report))
    else:
        _print(report, wanted)


def _word(report: Report | AuditReport | ProbeReport) -> str:
    from filiation.evidence import AuditVerdict

    verdict = report.verdict
    return verdict.outcome if isinstance(verdict, AuditVerdict) else str(verdict.relation)


def _print(report: Report | AuditReport | ProbeReport, wanted: Wanted) -> None:
    from filiation.report import printer_of, terminal
    from filiation.report.wording import phrases

    said, printer = phrases(wanted.language), printer_of(report.schema)
    if standard_output().isatty():
        printer.on_screen(report, said)
    else:
        wanted.sink.data(printer.render(report, said, width=terminal.columns()))
