"""The output sink: standard output is data, standard error is talk."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

from filiation.errors import StorageError


class PipeClosedError(Exception):
    """Whoever reads the output has left (``| head``)."""


@dataclass(frozen=True)
class Sink:
    """Where a command's words go.

    Attributes:
        quiet: no talk but errors.
        machine: standard output carries JSON; hints and summaries stay away from it.
    """

    quiet: bool = False
    machine: bool = False

    def data(self, text: str) -> None:
        """Write a result to standard output, as UTF-8 whatever the locale is."""
        if not text.endswith("\n"):
            text += "\n"
        stream = standard_output()
        binary = getattr(stream, "buffer", None)
        stream.flush()
        if binary is None:
            stream.write(text)
        else:
            binary.write(text.encode())
        stream.flush()

    def talk(self, text: str) -> None:
        """Say something to a person, on standard error."""
        if not self.quiet:
            _to_stderr(text)

    def hint(self, text: str) -> None:
        """Propose what to do next; only where a person is reading the result."""
        if not self.quiet and not self.machine:
            _to_stderr(f"hint: {text}")


def standard_output() -> TextIO:
    """Return standard output.

    Raises:
        StorageError: the command was started without one (``>&-``).
    """
    stream = open_or_none(sys.stdout)
    if stream is None:
        raise StorageError(
            "There is no standard output to write to.",
            reason="It was closed before the command began.",
            next_step="Leave it open, or send it to a file.",
        )
    return stream


def open_or_none(stream: TextIO | None) -> TextIO | None:
    """Return a standard stream as what it is: Python has None in place of one that was closed at the start."""
    return stream


def _to_stderr(text: str) -> None:
    stream = open_or_none(sys.stderr)
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def complain(text: str) -> None:
    """Say what went wrong, whatever was asked to be quiet."""
    _to_stderr(text)


def is_terminal() -> bool:
    """Whether a person is watching standard error, so that progress may be drawn there."""
    stream = open_or_none(sys.stderr)
    return stream is not None and stream.isatty()
