"""The lab's commands: help without any extra, plain errors, one line of data."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from filiation.cli import main
from tests.lab.zoos import written

NO_TORCH = importlib.util.find_spec("torch") is None


def test_help_names_every_command(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "--help"]) == 0
    text = capfd.readouterr().out
    assert all(name in text for name in ("breed", "measure", "demo-models"))


@pytest.mark.skipif(not NO_TORCH, reason="torch is installed here")
def test_breeding_without_the_extra_says_what_to_install(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["lab", "breed", "smoke", "--out", str(tmp_path / "zoo")]) == 2
    assert "filiation[lab]" in capfd.readouterr().err
    assert not (tmp_path / "zoo").exists()


def test_measuring_what_is_no_zoo_says_how_to_breed_one(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["lab", "measure", str(tmp_path), "--out", str(tmp_path / "m")]) == 4
    assert "filiation lab breed" in capfd.readouterr().err


def test_measuring_prints_where_the_tables_are(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    zoo = written(tmp_path / "zoo")
    options = ["--out", str(tmp_path / "m"), "--only", "derived", "--only", "quiet", "--processes", "1"]
    assert main(["lab", "measure", str(zoo), *options]) == 0
    captured = capfd.readouterr()
    assert captured.out.strip() == str(tmp_path / "m" / "tables.md")
    assert "measured before" in captured.err
    text = (tmp_path / "m" / "tables.md").read_text(encoding="utf-8")
    assert "true pairs with the right relation" in text
    assert "none measured" in text
