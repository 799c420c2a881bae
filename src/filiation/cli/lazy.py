"""A command group that imports a command when it is called, so that ``--help`` costs next to nothing."""

from __future__ import annotations

import gc
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from filiation.cli.output import PipeClosedError


@contextmanager
def _telling_of_pipes() -> Generator[None]:
    """Rename a broken pipe: click would end the program with 1, and rich does, which is what an unmet policy says."""
    try:
        yield
    except BrokenPipeError as error:
        raise PipeClosedError from error
    except SystemExit as left:
        if isinstance(left.__context__, BrokenPipeError):
            raise PipeClosedError from left
        raise


def imported() -> None:
    """Let the collector run again after :func:`filiation.cli.main` stopped it; it need not look through imports."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own, each offering ``command``.

    Args:
        commands_at: name of each command, its module and its one-line help. A module that sets ``IMPORTS_LATER``
            calls :func:`imported` itself, after what it imports when it is called.
    """

    def __init__(self, *args: Any, commands_at: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are declared: the main one first."""
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in self.commands_at:
            return None
        module = import_module(self.commands_at[cmd_name][0])
        if not getattr(module, "IMPORTS_LATER", False):
            imported()
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the words of the command; ``--help`` is printed here."""
        with _telling_of_pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _telling_of_pipes():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in self.commands_at.items()])
