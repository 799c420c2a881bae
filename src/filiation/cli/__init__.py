"""The command line: one command a file, each parses, calls and renders. Nothing heavy is imported for ``--help``.

This module imports next to nothing: what it imported before :func:`main` runs, Ctrl-C could break into unguarded.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from filiation.cli.interrupts import watched

#: How the linear algebra of numpy is told its number of threads. One: in products of small matrices threads wait for
#: one another longer than they save (four times the time on a busy machine), and sums that are split by the number of
#: processors would differ between machines.
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def _one_thread() -> None:
    """Ask the linear algebra for one thread, unless the caller has said how many; numpy is not imported yet."""
    if "OMP_NUM_THREADS" not in os.environ:
        for name in _THREADS:
            os.environ.setdefault(name, "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; every failure goes through one map."""
    if arguments is None:  # this process is the command's own
        _one_thread()
        gc.disable()  # while modules are imported there is nothing to collect; see filiation.cli.lazy.imported
    given = list(sys.argv[1:] if arguments is None else arguments)
    return watched(lambda: _run(given), is_process=arguments is None)


def _run(given: list[str]) -> int:
    from filiation.cli.failures import guarded
    from filiation.cli.root import program

    return guarded(lambda: program.main(given, prog_name="filiation", standalone_mode=False), given)
