"""The picture of a report in the README: the real page of two demo models, as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from docs._generate.pages import ROOT
from filiation.comparison import compare_models
from filiation.report import renderer
from filiation.report.wording import phrases

PICTURE = ROOT / "docs" / "img" / "report.png"
MAX_BYTES = 300_000
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_SIZE = "1000,1180"


def draw() -> None:
    """Write the picture.

    Raises:
        FileNotFoundError: there is no chromium on this machine.
        ValueError: the picture is larger than it may be.
    """
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise FileNotFoundError("no chromium on this machine: apt-get install chromium")
    report = compare_models("examples/models/continued", ["examples/models/base"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "report.html").write_text(
            renderer("html").render(report, phrases("en"), None), encoding="utf-8"
        )
        command = [browser, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={_SIZE}"]
        command += [f"--screenshot={folder / 'report.png'}", (folder / "report.html").as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        if (folder / "report.png").stat().st_size > MAX_BYTES:
            raise ValueError(f"the picture is larger than {MAX_BYTES} bytes")
        shutil.copy(folder / "report.png", PICTURE)
