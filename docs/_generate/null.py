"""The tables of `docs/validation/null.md`: what `benchmarks/run.py nulls` prints. Read the text around them again."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from benchmarks import nulls

PAGE = "docs/validation/null.md"
_NAMES = ("verdicts", "tests", "relabelled")


def parts(zoo: Path | None) -> dict[str, str]:
    """Run the measurement (some minutes) and return its tables; ``zoo`` holds further strangers."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        nulls.table(zoo)
    return dict(zip(_NAMES, re.findall(r"(?:^\|.*\n?)+", out.getvalue(), re.M), strict=True))
