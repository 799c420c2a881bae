"""Progress of long reads: a bar on standard error, and only where a person is watching."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filiation.cli.output import Sink, is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

#: What the walk calls: (stage, bytes done, bytes in all or None).
Progress = Callable[[str, int, int | None], None]


@contextmanager
def progress(sink: Sink) -> Generator[Progress | None]:
    """Give a progress callback that draws, or None where nobody would see it. The bar is gone at the end."""
    if sink.quiet or not is_terminal():
        yield None
        return
    bars = _bars()
    tasks: dict[str, TaskID] = {}

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage not in tasks:
            for task in tasks.values():
                bars.update(task, visible=False)
            tasks[stage] = bars.add_task(_short(stage), total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield tell


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _short(stage: str, width: int = 44) -> str:
    from filiation.report.numbers import clean

    text = clean(stage)
    return text if len(text) <= width else f"{text[: width - 1]}…"
