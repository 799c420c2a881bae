"""One map from exception to message and exit code."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from filiation.cli import interrupts
from filiation.cli.output import PipeClosedError, Sink, complain, open_or_none
from filiation.errors import FiliationError, InputError, StorageError, UsageError

BROKEN_PIPE = 141


def guarded(run: Callable[[], Any], arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; failures become a message on standard error.

    Under ``--json`` a failure is also the error envelope on standard output.
    """
    try:
        return _told(run, arguments)
    except (BrokenPipeError, PipeClosedError):
        return _nobody_reads()


def _told(run: Callable[[], Any], arguments: Sequence[str]) -> int:
    try:
        result = run()
    except (KeyboardInterrupt, click.exceptions.Abort):
        return interrupts.end()
    except (BrokenPipeError, PipeClosedError):
        raise
    except Exception as error:  # noqa: BLE001 - the one place where every failure gets its words
        if interrupts.pressed():
            return interrupts.end()
        return _failed(error, arguments)
    return result if isinstance(result, int) else 0


def _nobody_reads() -> int:
    """Return the exit code of a program whose reader left (``| head``): no result, whatever was found."""
    for stream in filter(None, map(open_or_none, (sys.stdout, sys.stderr))):
        try:
            stream.flush()
        except OSError:  # python flushes once more at exit, and would then end with a code of its own
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return BROKEN_PIPE


def _failed(error: Exception, arguments: Sequence[str]) -> int:
    known = as_filiation_error(error)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        complain(error.ctx.get_usage())
    complain(f"Error: {known}")
    if known.exit_code == FiliationError.exit_code:
        _show_origin(error)
    if wants_json(arguments) and open_or_none(sys.stdout) is not None:
        Sink(machine=True).data(json.dumps(known.envelope(), sort_keys=True, ensure_ascii=False, indent=2))
    return known.exit_code


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the caller asked for JSON, so that a failure must be JSON too."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(word == "--json" or word.startswith("--json=") for word in options)


def as_filiation_error(error: Exception) -> FiliationError:
    """Return what a failure is to the caller: our own errors as they are, others by kind."""
    if isinstance(error, FiliationError):
        return error
    if isinstance(error, click.UsageError):
        return UsageError(error.format_message(), next_step=_help_for(error))
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message())
    if isinstance(error, OSError):
        return _os_error(error)
    if isinstance(error, MemoryError):
        return InputError(
            "The memory of this machine does not suffice.",
            next_step="Leave out --full, or set --budget, so that less is read at once.",
        )
    return FiliationError(
        f"Internal error: {type(error).__name__}: {error}",
        next_step="Please report it with the command and the traceback (set FILIATION_DEBUG=1 to see all of it).",
    )


def _os_error(error: OSError) -> FiliationError:
    file = str(error.filename) if error.filename else None
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return StorageError(
            "Writing failed.",
            file=file,
            reason=reason,
            next_step="Free some space, or write to another disk.",
        )
    return InputError(
        "A file could not be read.", file=file, reason=reason, next_step="Check its path and permissions."
    )


def _help_for(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx is not None else "filiation"
    return f"{command} --help"


def _show_origin(error: Exception) -> None:
    """For what is our own mistake: the last frame, or all of them when asked."""
    import traceback

    if os.environ.get("FILIATION_DEBUG"):
        complain("".join(traceback.format_exception(error)))
        return
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        last = frames[-1]
        complain(f"  raised in {os.path.basename(last.filename)}:{last.lineno} {last.name}")
