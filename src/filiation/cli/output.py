"""The output sink: standard output is data, standard error is talk."""

from __future__ import annotations

import sys
from dataclasses import dataclass


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
        binary = getattr(sys.stdout, "buffer", None)
        sys.stdout.flush()
        if binary is None:
            sys.stdout.write(text)
        else:
            binary.write(text.encode())
        sys.stdout.flush()

    def talk(self, text: str) -> None:
        """Say something to a person, on standard error."""
        if not self.quiet:
            _to_stderr(text)

    def hint(self, text: str) -> None:
        """Propose what to do next; only where a person is reading the result."""
        if not self.quiet and not self.machine:
            _to_stderr(f"hint: {text}")


def _to_stderr(text: str) -> None:
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """Say what went wrong, whatever was asked to be quiet."""
    _to_stderr(text)


def is_terminal() -> bool:
    """Whether a person is watching standard error, so that progress may be drawn there."""
    return sys.stderr.isatty()
