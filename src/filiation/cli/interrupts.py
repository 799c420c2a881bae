"""Ctrl-C ends the command with 130 at any moment, while it is still importing too.

An interrupt can be lost or disguised: raised while a C extension starts it becomes an ImportError, in a destructor it
is printed and forgotten. So the press itself is remembered here, and raised again until the command has ended.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

INTERRUPTED = 130
MESSAGE = "Interrupted. No file was left half-written."
#: After this many seconds an interrupt that was swallowed somewhere is raised again.
_AGAIN = 0.3
_ALARM: int | None = getattr(signal, "SIGALRM", None)  # not on Windows: there a lost interrupt stays lost

_pressed = False


def pressed() -> bool:
    """Whether Ctrl-C was pressed since the command began: then no exception is what it seems."""
    return _pressed


def watched(run: Callable[[], int], *, is_process: bool) -> int:
    """Run a command that returns its exit code; an interrupt that escapes it is told as one.

    ``is_process``: nothing comes after it, so that Ctrl-C may end the process at once when it is done. Otherwise
    the signals are handled afterwards as they were before.
    """
    global _pressed
    _pressed = False
    if not _may_watch():
        return run()
    before = {number: signal.getsignal(number) for number in _numbers()}
    hook = sys.unraisablehook
    sys.unraisablehook = _quiet(hook)
    for number in before:
        signal.signal(number, _interrupt)
    try:
        return run()
    except KeyboardInterrupt:
        return end()
    except Exception:
        if not _pressed:
            raise
        return end()
    finally:
        _stop_alarm()
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, _leave if is_process and number == signal.SIGINT else handler)


def end() -> int:
    """Say that the command was interrupted, and return its exit code; further presses end the process at once."""
    _stop_alarm()
    if _pressed:
        signal.signal(signal.SIGINT, _leave)
    os.write(2, f"{MESSAGE}\n".encode())
    return INTERRUPTED


def _may_watch() -> bool:
    """Whether the signal may be handled: in the main thread, where it is neither ignored nor handled elsewhere."""
    try:
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler and bool(
            signal.signal(signal.SIGINT, signal.default_int_handler)
        )
    except ValueError:  # not the main thread
        return False


def _numbers() -> tuple[int, ...]:
    return (signal.SIGINT,) if _ALARM is None else (signal.SIGINT, _ALARM)


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _pressed
    del number, frame
    _pressed = True
    if _ALARM is not None:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    os._exit(INTERRUPTED)


def _stop_alarm() -> None:
    if _ALARM is not None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _quiet(hook: Callable[[sys.UnraisableHookArgs], object]) -> Callable[[sys.UnraisableHookArgs], object]:
    """Return the hook without its traceback of an interrupt that came in a destructor: it is raised again anyway."""

    def report(unraisable: sys.UnraisableHookArgs, /) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)

    return report
