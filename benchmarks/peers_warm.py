"""Keep one command-line program loaded and run it for pair after pair, each in a process of its own. POSIX only.

    ENVIRONMENT/bin/python -I benchmarks/peers_warm.py PROGRAM

runs inside the environment of a tool, which need not have `filiation`, so only the standard library is used. What a
tool takes to load (several seconds where it loads torch) is measured once, on the first line that is printed; each
line read asks for one run, each further line printed says what that run took.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any


def load(program: str) -> Callable[[], Any]:
    """Return what a console script of this environment calls, or what ``module:function`` names."""
    if ":" in program:
        module, _, function = program.partition(":")
        return getattr(importlib.import_module(module), function)
    (script,) = importlib.metadata.entry_points(group="console_scripts", name=program)
    return script.load()


def run(main: Callable[[], Any], program: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run the program once in a fork of this process: its exit status, seconds, processor seconds, peak MiB."""
    began, late = time.monotonic(), False
    pid = os.fork()
    if pid == 0:
        _inside(main, [program, *job["arguments"]], job["out"], job["err"])

    def over(number: int, frame: FrameType | None) -> None:
        nonlocal late
        late = True
        os.kill(pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, float(job["limit"]))
    _, status, usage = os.wait4(pid, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - began,
        "processor": usage.ru_utime + usage.ru_stime,
        # Linux counts kibibytes, macOS bytes. What the loaded program held before is part of it.
        "peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
        "late": late,
    }


def _inside(main: Callable[[], Any], argv: list[str], out: str, err: str) -> None:
    """Be the program, in the fork; never returns."""
    code = 70
    try:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.argv = argv
        code = _status(main())
    except SystemExit as end:
        code = _status(end.code)
    except BaseException:  # noqa: BLE001 - whatever a tool raises is its answer
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _status(returned: Any) -> int:
    return returned if isinstance(returned, int) else int(returned is not None)


def serve(program: str) -> None:
    """Load the program, then run it for every line of standard input."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a tool prints while it loads is no answer
    began = time.monotonic()
    main = load(program)
    print(json.dumps({"loading": time.monotonic() - began}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(main, program, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
