"""``filiation render``."""

from __future__ import annotations

from pathlib import Path

import click

from filiation.cli.deliver import Wanted, deliver
from filiation.cli.options import file_option, language_option, quiet_option


@click.command(name="render")
@click.argument("report", type=click.Path(path_type=Path))
@file_option("--html", "Write a self-contained HTML report.")
@file_option("--markdown", "Write a markdown report.")
@language_option
@quiet_option
def command(report: Path, html: Path | None, markdown: Path | None, lang: str, quiet: bool) -> None:
    """Draw a stored REPORT (the JSON of compare or audit) without computing anything.

    The custody file that was written beside the report (report.custody.json) is drawn with it.

    \b
    Example:
      filiation render report.json --html report.zh.html --lang zh-CN
    """
    from filiation.evidence import to_json
    from filiation.report.custody import beside
    from filiation.report.reading import read_any

    wanted = Wanted(None, html, markdown, lang, quiet)
    wanted.check((str(report),))
    stored = read_any(report)
    deliver(stored, wanted, started=None, kept=beside(report, to_json(stored)))
