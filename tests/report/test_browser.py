"""The page in a real browser: nothing is requested, nothing sticks out, light, dark and on a telephone."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from filiation.evidence import Report
from filiation.report import renderer
from filiation.report.wording import LANGUAGES, phrases
from tests.report.samples import full_report, hostile_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="there is no chromium on this machine (apt-get install chromium)"
    ),
]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--allow-file-access-from-files",
    "--hide-scrollbars",
]

# The page forbids all scripts, so it is measured from outside, in a frame of the width of a window.
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" src="page.html" style="border:0;width:{width}px;height:2000px"></iframe>
<script>
document.getElementById("page").addEventListener("load", () => {{
  const inner = document.getElementById("page").contentDocument, root = inner.documentElement;
  const out = [...inner.body.querySelectorAll("*")].filter(e => !e.closest(".scroll") && !e.closest("svg")
    && !e.classList.contains("skip") && e.getBoundingClientRect().right > root.clientWidth + 1);
  const wide = [...inner.querySelectorAll(".stacked, .files")]
    .filter(e => e.parentElement.scrollWidth > e.parentElement.clientWidth + 1);
  const cut = [...inner.querySelectorAll("dd, p, li, h1, h2, h3")].filter(e => e.scrollWidth > e.clientWidth + 1);
  document.title = JSON.stringify({{
    width: root.clientWidth, scroll: root.scrollWidth,
    wide: wide.map(e => e.parentElement.getAttribute("aria-label")),
    out: out.map(e => e.tagName + "." + e.className), cut: cut.map(e => e.textContent.slice(0, 60)),
    scripts: inner.querySelectorAll("script:not([type])").length,
  }});
}});
</script>"""


def browse(folder: Path, *arguments: str) -> str:
    """Run the browser with an empty profile and return what it prints."""
    assert CHROMIUM is not None
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *FLAGS, profile, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def put(folder: Path, report: Report, language: str = "en") -> Path:
    page = folder / "page.html"
    page.write_text(renderer("html").render(report, phrases(language)), encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "report", [full_report(), full_report(80, 8), hostile_report()], ids=["24", "80", "hostile"]
)
def test_nothing_sticks_out(report: Report, language: str, width: int, tmp_path: Path) -> None:
    put(tmp_path, report, language)
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width), encoding="utf-8")
    dom = browse(
        tmp_path, "--virtual-time-budget=3000", "--window-size=1400,2000", "--dump-dom", frame.as_uri()
    )
    (title,) = re.findall(r"<title>(.*?)</title>", dom)
    measured = json.loads(title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert measured["width"] == width
    assert measured["scroll"] <= width, measured
    assert not measured["out"]
    assert not measured["cut"]
    assert not measured["wide"]
    assert measured["scripts"] == 0


@pytest.mark.parametrize("report", [full_report(), hostile_report()], ids=["full", "hostile"])
def test_nothing_is_requested(report: Report, tmp_path: Path) -> None:
    page, log = put(tmp_path, report), tmp_path / "net.json"
    browse(tmp_path, f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri())
    written = log.read_text(encoding="utf-8", errors="replace")
    assert "evil.example" not in written
    asked = set(re.findall(r'"url":"(https?://[^"]+)"', written))
    assert not {
        url for url in asked if "google" not in url and "gvt1" not in url
    }  # the browser's own errands


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_readers_scheme(scheme: str, tmp_path: Path) -> None:
    page, picture = put(tmp_path, full_report(6, 2)), tmp_path / "page.png"
    chosen = f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"
    browse(tmp_path, chosen, "--window-size=600,800", f"--screenshot={picture}", page.as_uri())
    assert corner(picture) == ({"light": (0xF6, 0xF7, 0xF8), "dark": (0x10, 0x14, 0x18)}[scheme])


def corner(picture: Path) -> tuple[int, int, int]:
    """The colour of the top left pixel of a PNG (its first pixel needs no filter)."""
    import struct
    import zlib

    data = picture.read_bytes()[8:]
    packed = b""
    while data:
        (length,), kind = struct.unpack(">I", data[:4]), data[4:8]
        packed += data[8 : 8 + length] if kind == b"IDAT" else b""
        data = data[12 + length :]
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue


def test_it_prints_on_paper(tmp_path: Path) -> None:
    page, paper = put(tmp_path, full_report(6, 2)), tmp_path / "page.pdf"
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri())
    pages = len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))
    assert 2 <= pages <= 8
