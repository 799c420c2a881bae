"""The picture of a report in the README: the real page of two demo models in a browser, its top and its maps."""

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
    "--allow-file-access-from-files",
)
_SIZE = "1420,1004"
_FRAMES = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #fff; display: flex; gap: 16px }
div { width: 700px; height: 1000px; overflow: hidden; border: 1px solid #ccc }
iframe { border: 0; width: 1000px; height: 1430px; transform: scale(.7); transform-origin: 0 0 }
</style><div><iframe src="report.html"></iframe></div><div><iframe src="report.html#map"></iframe></div>"""


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
        (folder / "frames.html").write_text(_FRAMES, encoding="utf-8")
        command = [browser, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--window-size={_SIZE}"]
        command += [f"--screenshot={folder / 'report.png'}", (folder / "frames.html").as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        if (folder / "report.png").stat().st_size > MAX_BYTES:
            raise ValueError(f"the picture is larger than {MAX_BYTES} bytes")
        shutil.copy(folder / "report.png", PICTURE)
