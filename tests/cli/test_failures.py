"""One map from exception to message and exit code; nothing half-written when a person presses Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from filiation import errors
from filiation.cli.failures import as_filiation_error, guarded, wants_json
from tests.cli.conftest import FakeWalk, Ran

Run = Callable[..., Ran]


def every_error() -> list[type[errors.FiliationError]]:
    found: list[type[errors.FiliationError]] = [errors.FiliationError]
    for kind in found:
        found += kind.__subclasses__()
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda k: k.__name__)
def test_our_own_errors_keep_their_code(
    kind: type[errors.FiliationError], capfd: pytest.CaptureFixture[str]
) -> None:
    error = kind("a", "b", "c") if kind is errors.MissingExtraError else kind("It failed.", reason="because")

    def fail() -> None:
        raise error

    assert guarded(fail, ["--json"]) == kind.exit_code
    out, err = capfd.readouterr()
    assert json.loads(out) == error.envelope()
    assert error.message in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (click.UsageError("no such option"), 2, "no such option"),
        (click.BadParameter("is no number"), 2, "is no number"),
        (PermissionError(errno.EACCES, "Permission denied", "weights.bin"), 4, "weights.bin"),
        (OSError(errno.ENOSPC, "No space left on device", "r.json"), 4, "Free some space"),
        (MemoryError(), 4, "memory"),
        (ZeroDivisionError("division by zero"), 5, "Internal error: ZeroDivisionError"),
    ],
)
def test_other_errors_are_sorted_by_kind(error: Exception, code: int, words: str) -> None:
    known = as_filiation_error(error)
    assert known.exit_code == code
    assert words in str(known)


def test_an_internal_error_says_where_and_shows_all_when_asked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.delenv("FILIATION_DEBUG", raising=False)
    assert guarded(fail, []) == 5
    out, err = capfd.readouterr()
    assert out == ""
    assert "raised in test_failures.py" in err
    assert "Traceback" not in err
    monkeypatch.setenv("FILIATION_DEBUG", "1")
    guarded(fail, [])
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), click.exceptions.Abort()])
def test_an_interrupt_is_130(stop: BaseException, capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise stop

    assert guarded(fail, ["--json"]) == 130
    out, err = capfd.readouterr()
    assert out == ""
    assert "No file was left half-written" in err


def test_wants_json() -> None:
    assert wants_json(["compare", "--json", "S"])
    assert wants_json(["compare", "--json=r.json"])
    assert not wants_json(["compare", "--", "--json"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare"], "Missing argument 'SUSPECT'"),
        (["compare", "S"], "Missing argument 'CANDIDATES"),
        (["compare", "S", "C", "--budget", "much"], "no number of bytes"),
        (["compare", "S", "C", "--fail-if", "descended"], "descended"),
        (["compare", "S", "C", "--lang", "fr"], "zh-CN"),
        (["nonsense"], "No such command"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_wrong_call_is_2_and_names_the_help(
    arguments: list[str], words: str, run: Run, walk: FakeWalk
) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert words in done.err
    assert "Usage:" in done.err
    assert "--help" in done.err
    assert not walk.calls


SLOW = """
import sys, time
import filiation.comparison
def slow(*args, **kwargs):
    print("reading", file=sys.stderr, flush=True)
    time.sleep(60)
filiation.comparison.compare_models = slow
from filiation.cli import main
sys.exit(main(["compare", "S", "C", "--json", sys.argv[1], "--html", sys.argv[2]]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX does")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path / "r.json"), str(tmp_path / "r.html")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.stderr is not None
    assert done.stderr.readline() == "reading\n"
    done.send_signal(signal.SIGINT)
    out, err = done.communicate(timeout=30)
    assert done.returncode == 130
    assert out == ""
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


MODELS = Path(__file__).parents[2] / "examples" / "models"


@pytest.mark.skipif(os.name == "nt", reason="pipes break as POSIX does")
@pytest.mark.parametrize("errors_too", [True, False])
@pytest.mark.parametrize("suspect", ["continued", "nowhere"])
def test_a_pipe_that_broke_is_no_result_of_a_policy(suspect: str, errors_too: bool) -> None:
    command = ["compare", str(MODELS / suspect), str(MODELS / "base"), "--fail-if", "common-origin"]
    reading, writing = os.pipe()
    os.close(reading)  # the reader is gone before the first word
    done = subprocess.run(
        [sys.executable, "-m", "filiation.cli", *command],
        stdout=writing,
        stderr=writing if errors_too else subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    nothing_to_say = suspect == "nowhere" and not errors_too  # standard output was never written to
    assert done.returncode == (4 if nothing_to_say else 141)
    assert errors_too or b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes break as POSIX does")
def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m filiation.cli schema | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert done.stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="shells close streams as POSIX does")
@pytest.mark.parametrize("options", ["", "--json", "--json --html r.html", "--quiet"])
def test_a_closed_standard_output_is_told(options: str, tmp_path: Path) -> None:
    models = f"{MODELS / 'continued'} {MODELS / 'base'}"
    command = f"{sys.executable} -m filiation.cli compare {models} {options} >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == errors.StorageError.exit_code
    assert done.stderr.startswith("Error: There is no standard output to write to.")
    assert "next step: " in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="shells close streams as POSIX does")
@pytest.mark.parametrize(("words", "code"), [("schema", 0), ("inspect nowhere", 4), ("nonsense", 2)])
def test_nobody_need_hear_the_talk(words: str, code: int) -> None:
    command = f"{sys.executable} -m filiation.cli {words} 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=False)
    assert done.returncode == code
    assert bool(done.stdout) == (code == 0)
