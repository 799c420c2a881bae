"""Ctrl-C at any moment of a real process: 130 and one line, whatever was being imported or read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from filiation.cli.interrupts import MESSAGE, pressed, watched

MODELS = Path(__file__).parents[2] / "examples" / "models"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are sent as POSIX does")

RUN = """
import sys
from filiation.cli import main
sys.argv = ["filiation", *sys.argv[1:]]
print("up", file=sys.stderr, flush=True)
sys.exit(main())
"""


def interrupted(code: str, arguments: list[str], delay: float) -> tuple[int, str, str]:
    done = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stderr is not None
    assert done.stderr.readline() == "up\n"
    time.sleep(delay)
    done.send_signal(signal.SIGINT)
    out, err = done.communicate(timeout=60)
    return done.returncode, out, err.lstrip("\n")  # click ends the line that shows ^C


@pytest.mark.parametrize("delay", [0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5])
def test_ctrl_c_while_importing_and_reading(delay: float, tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    # Seven candidates: long enough that no delay here is past the end.
    names = ("base", "continued", "laundered", "moe-upcycled", "renamed", "same-init", "twin")
    models = [str(MODELS / name) for name in ("fine-tuned", *names)]
    code, out, err = interrupted(RUN, ["compare", *models, "--json", str(file)], delay)
    assert (code, out, err) == (130, "", f"{MESSAGE}\n")
    assert not list(tmp_path.iterdir())


DISGUISED = """
import sys, time
from filiation.cli import failures, main
import filiation.cli.root as root

class Destroyed:
    def __del__(self):
        time.sleep(60)

def program(*args, **kwargs):
    print("up", file=sys.stderr, flush=True)
    if sys.argv[1] == "import":
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            raise ImportError("the extension failed to import")
    if sys.argv[1] == "swallow":
        try:
            time.sleep(60)
        except BaseException:
            pass
        time.sleep(60)
    if sys.argv[1] == "destructor":
        Destroyed()
        time.sleep(60)

root.program.main = program
sys.exit(main())
"""


@pytest.mark.parametrize("way", ["import", "swallow", "destructor"])
def test_an_interrupt_that_is_swallowed_or_disguised_still_ends_the_command(way: str) -> None:
    assert interrupted(DISGUISED, [way], 0.05) == (130, "", f"{MESSAGE}\n")


ESCAPES = """
import sys, time
import filiation.cli as cli
def slow(given):
    print("up", file=sys.stderr, flush=True)
    time.sleep(60)
cli._run = slow
sys.exit(cli.main())
"""


def test_an_interrupt_before_the_command_has_begun() -> None:
    assert interrupted(ESCAPES, [], 0.02) == (130, "", f"{MESSAGE}\n")


def test_signals_are_handled_afterwards_as_before() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM), sys.unraisablehook

    def press() -> int:
        signal.raise_signal(signal.SIGINT)
        return 0

    assert watched(press, is_process=False) == 130
    assert pressed()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM), sys.unraisablehook) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert watched(lambda: 3, is_process=False) == 3
    assert not pressed()


def test_other_failures_pass() -> None:
    def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        watched(fail, is_process=False)
