"""What a measured zoo leaves behind: tables and figures of its page, error rates for reports, backgrounds.

All are copied from the folder that `filiation lab measure` (and `benchmarks.lab_real`) filled. Read the text around
the tables again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs._generate import null
from docs._generate.pages import ROOT
from filiation.evidence import plain

PAGE = "docs/validation/lab.md"
FIGURES = ("roc", "heat", "distance")
BACKGROUNDS = "src/filiation/likeness/backgrounds"
_KEPT = ("recipe", "zoo_sha256", "made_with", "models", "comparisons", "rates")


def tables(measured: Path) -> dict[str, str]:
    """Return the generated parts of the page; that of the real model where it was measured into the same folder."""
    head, rest = (measured / "tables.md").read_text(encoding="utf-8").split("## Rates", 1)
    rates, kinds = rest.split("## Each kind of child", 1)
    found = {"lab-rates": head + rates.strip(), "lab-tables": _deeper("## Each kind of child" + kinds)}
    real = measured / "real.md"
    return {**found, "lab-real": real.read_text(encoding="utf-8")} if real.is_file() else found


def _deeper(text: str) -> str:
    return re.sub(r"^##", "###", text, flags=re.M)


def write_data(measured: Path, day: str) -> None:
    """Write error rates and backgrounds of a measured zoo; older backgrounds are removed.

    Args:
        measured: the folder of `filiation lab measure`.
        day: when it was measured, as `2026-11-22`.
    """
    found, likeness = _read(measured / "validation.json"), _read(measured / "backgrounds.json")
    record = {"version": found["filiation"], "measured": day, **{key: found[key] for key in _KEPT}}
    record["rates"] = plain(found["rates"])  # as reports print them
    null.write_data({"lab": {**record, "likeness": _ranges(likeness["statistics"])}})
    folder = ROOT / BACKGROUNDS
    folder.mkdir(exist_ok=True)
    for old in folder.glob("lab-*.json"):
        old.unlink()
    text = json.dumps({"measured": day, **likeness}, indent=1)
    (folder / f"lab-{day}.json").write_text(text + "\n", encoding="utf-8")


def write_figures(measured: Path) -> None:
    """Copy the figures of a measured zoo beside its page."""
    for name in FIGURES:
        shutil.copyfile(measured / f"{name}.svg", ROOT / f"docs/validation/lab-{name}.svg")


def _ranges(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the range of each statistic over independent pairs of one family and one shape."""
    found: dict[str, Any] = {}
    for name, strata in statistics.items():
        if families := strata.get("one_shape"):
            entries = list(families.values())
            found[name] = {
                "low": min(entry["least"] for entry in entries),
                "high": max(entry["largest"] for entry in entries),
                "pairs": sum(entry["pairs"] for entry in entries),
                "families": len(entries),
            }
    return found


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
