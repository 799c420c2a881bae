"""The other commands: help, version, schema, render, inspect, demo, lab; progress bars only for people."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest

from filiation import __version__
from filiation.cli.demo import PAIRS, SHOWN, find_models
from filiation.cli.output import Sink
from filiation.cli.progress import progress
from filiation.cli.root import COMMANDS, program
from filiation.errors import NotFoundError
from filiation.evidence import to_json
from tests.cli.conftest import FakeWalk, Ran
from tests.report.samples import full_report

Run = Callable[..., Ran]


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    done = run("--help")
    assert done.code == 0
    assert all(f"\n  {name} " in done.out for name in COMMANDS)
    assert all(f"\n    {code}  " in done.out for code in range(6))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_one_line(name: str, run: Run) -> None:
    done = run(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: filiation {name}")
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name


def test_version(run: Run) -> None:
    assert run("--version").out == f"filiation {__version__}\n"


def test_without_a_command_help_is_shown(run: Run) -> None:
    done = run()
    assert done.code == 2
    assert "Commands:" in done.out + done.err


def test_the_printed_schema_is_one_and_fits_a_report(run: Run) -> None:
    schema = json.loads(run("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(to_json(full_report())))


def test_a_stored_report_is_drawn_again(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    stored, html = tmp_path / "r.json", tmp_path / "r.html"
    stored.write_text(to_json(full_report()), encoding="utf-8")
    done = run("render", stored, "--html", html, "--lang", "zh-CN")
    assert done.code == 0
    assert "与同源相符" in done.out
    assert '<html lang="zh-CN">' in html.read_text(encoding="utf-8")
    assert not walk.calls
    assert run("render", stored, "--html", stored).code == 2
    assert run("render", tmp_path / "none.json").code == 4


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for pair in PAIRS:
        for name in pair:
            (tmp_path / "models" / name).mkdir(parents=True, exist_ok=True)
    return tmp_path / "models"


def test_the_demo_prints_every_verdict_and_writes_every_report(
    run: Run, walk: FakeWalk, models: Path, tmp_path: Path
) -> None:
    done = run("demo", "--models", models, "--out", tmp_path / "out")
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[: len(PAIRS)]] == [f"{s} / {c}" for s, c in PAIRS]
    assert all("Consistent with common origin" in line for line in lines[: len(PAIRS)])
    assert "What this evidence cannot show" in done.out
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert written == {f"{s}--{c}{end}" for s, c in PAIRS for end in (".json", ".custody.json", ".html")}
    assert [(Path(c["suspect"]).name, Path(c["candidates"][0]).name) for c in walk.calls] == list(PAIRS)
    assert SHOWN in PAIRS


def test_without_the_demo_models_it_says_how_to_get_them(run: Run, walk: FakeWalk, tmp_path: Path) -> None:
    done = run("demo", "--models", tmp_path, "--out", tmp_path / "out")
    assert done.code == 4
    assert "does not hold the models" in done.err
    assert "checkout of the source" in done.err
    assert not (tmp_path / "out").exists()


def test_the_models_of_the_working_folder_come_first(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").mkdir()
    models.rename(tmp_path / "examples" / "models")
    monkeypatch.chdir(tmp_path)
    assert find_models(None) == Path("examples/models")
    with pytest.raises(NotFoundError):
        find_models(tmp_path)


class Screen(io.StringIO):
    """A standard error that a person is watching."""

    def isatty(self) -> bool:
        return True


def test_progress_is_drawn_for_people_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress(Sink()) as tell:
        assert tell is None
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with progress(Sink(quiet=True)) as tell:
        assert tell is None
    with progress(Sink(machine=True)) as tell:
        assert tell is not None
        tell("opening org/[bold]model\x1b[31m", 0, None)
        tell("exact tests", 512, 1024)
        tell("exact tests", 1024, 1024)
    assert "exact tests" in screen.getvalue()
    assert "\x1b[31m" not in screen.getvalue().replace("\x1b[31m━", "")


def test_lab_says_which_extra_is_missing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run("lab", "demo-models", "--out", tmp_path)
    assert done.code == 2
    assert 'pip install "filiation[lab]"' in done.err
