"""Write the generated parts of the documents anew.

python -m docs._generate                tables
python -m docs._generate --transcripts  tables, and what the commands of the pages print
python -m docs._generate --null ZOO     what independent models show: the tables, and what reports carry of them
python -m docs._generate --lab MEASURED what `filiation lab measure` found: its page, and what reports carry of it
python -m docs._generate --picture      the picture of the report (needs chromium)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from docs._generate import families, lab, null, picture, report_keys, support_matrix, transcripts
from docs._generate.pages import ROOT, with_part

GENERATORS = (support_matrix, families, report_keys)


def pages() -> list[Path]:
    """Return the documents that may hold commands."""
    return [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def main() -> int:
    """Write what differs; say what was written and what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m docs._generate")
    parser.add_argument("--transcripts", action="store_true", help="also run the commands of the pages")
    parser.add_argument("--picture", action="store_true", help="also draw the report")
    parser.add_argument("--null", type=Path, metavar="ZOO", help="also measure the null again")
    parser.add_argument("--lab", type=Path, metavar="MEASURED", help="also take over a measured zoo")
    parser.add_argument(
        "--day", default=date.today().isoformat(), help="when the zoo was measured (default: today)"
    )
    options = parser.parse_args()
    for module in GENERATORS:
        _fill(module.PAGE, module.parts())
    if options.null is not None:
        tables, record = null.measure(options.null)
        _fill(null.PAGE, tables)
        null.write_data(record)
    if options.lab is not None:
        _fill(lab.PAGE, lab.tables(options.lab))
        lab.write_data(options.lab, options.day)
        lab.write_figures(options.lab)
    problems = [p for page in pages() for p in _rerun(page)] if options.transcripts else []
    if options.picture:
        picture.draw()
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _fill(page: str, parts: Mapping[str, str]) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    for name, content in parts.items():
        text = with_part(text, name, content)
    _write(path, text)


def _rerun(page: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        text, problems = transcripts.rerun(page.read_text(encoding="utf-8"), Path(folder))
    _write(page, text)
    return [f"{page.relative_to(ROOT)}: {p}" for p in problems]


def _write(page: Path, text: str) -> None:
    if text != page.read_text(encoding="utf-8"):
        page.write_text(text, encoding="utf-8")
        sys.stderr.write(f"wrote {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    raise SystemExit(main())
