"""The audit's page in a real browser: nothing is requested, nothing sticks out, on a desk and on a telephone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from filiation.auditing import Audited
from filiation.auditing.excerpts import excerpts
from filiation.report.audit import html
from filiation.report.wording import LANGUAGES, phrases
from tests.report import test_browser
from tests.report.test_browser import FRAME, browse

pytestmark = test_browser.pytestmark


def put(folder: Path, found: Audited, language: str = "en") -> Path:
    page = folder / "page.html"
    page.write_text(html.render(found.report, phrases(language), excerpts=excerpts(found)), encoding="utf-8")
    return page


@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("which", ["audited", "hostile"])
def test_nothing_sticks_out(
    which: str, language: str, width: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    put(tmp_path, request.getfixturevalue(which), language)
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
    assert measured["scripts"] == 0


def test_nothing_is_requested(hostile: Audited, tmp_path: Path) -> None:
    page, log = put(tmp_path, hostile), tmp_path / "net.json"
    browse(tmp_path, f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", page.as_uri())
    assert "evil.example" not in log.read_text(encoding="utf-8", errors="replace")
