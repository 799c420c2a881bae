"""The tables of `docs/validation/null.md`, and what reports carry of them: what `benchmarks/run.py nulls` prints.

Read the text around the tables again.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

from benchmarks import nulls
from docs._generate.pages import ROOT

PAGE = "docs/validation/null.md"
DATA = "src/filiation/validation.json"
_NAMES = ("verdicts", "tests", "relabelled")


def measure(zoo: Path | None) -> tuple[dict[str, str], dict[str, Any]]:
    """Run the measurement (some minutes); ``zoo`` holds further strangers. Return its tables and its counts."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        record = nulls.table(zoo)
    return dict(zip(_NAMES, re.findall(r"(?:^\|.*\n?)+", out.getvalue(), re.M), strict=True)), record


def write_data(record: dict[str, Any]) -> None:
    """Write the counts where every report takes its ``validation`` from; what else it holds stays."""
    place = ROOT / DATA
    held = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    place.write_text(json.dumps({**held, **record}, sort_keys=True, indent=2) + "\n", encoding="utf-8")
