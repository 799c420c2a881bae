"""Processes of their own for what takes long: one thread each, none outlives the command that started it."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path

from filiation.errors import InputError, StorageError

_THREADS = "OMP_NUM_THREADS"


@contextmanager
def workers(count: int, niceness: int = 0) -> Generator[ProcessPoolExecutor]:
    """Give processes that make things; left by an error or by Ctrl-C, the block ends them whatever they do.

    Args:
        count: processes at a time.
        niceness: by how much they give way to others.

    Raises:
        InputError: a process was ended from outside.
    """
    strangers, threads = set(active_children()), os.environ.get(_THREADS)
    # Read when numpy and torch are imported: it must stand there before a process begins.
    os.environ[_THREADS] = "1"
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (niceness,))
    try:
        yield pool
    except BaseException as error:
        # Shutting down waits for what runs, minutes of training; and an interrupted wait would never come back.
        for child in set(active_children()) - strangers:
            child.kill()
        if isinstance(error, BrokenProcessPool):
            raise _ended() from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        if threads is None:
            os.environ.pop(_THREADS, None)
        else:
            os.environ[_THREADS] = threads


def _ended() -> InputError:
    return InputError(
        "A process of the lab was ended from outside.",
        reason="Most often the memory of the machine did not suffice.",
        next_step="Run the same command again, it goes on where it stopped; --processes 1 needs less memory.",
    )


def _begin(niceness: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(niceness)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the command has ended: a second run would otherwise write beside it."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Name the file where writing fails.

    Raises:
        StorageError: the disk is full, or may not be written to.
    """
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error.strerror or str(error)) from error


def cannot_write(path: Path, reason: str) -> StorageError:
    """Return the error of a file that cannot be written."""
    return StorageError(
        "Writing failed.",
        file=str(path),
        reason=reason,
        next_step="Free some space, or write to another disk; the same command goes on where it stopped.",
    )


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
