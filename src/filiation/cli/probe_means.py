"""What a probe may use, as its options say: the budget, the log, and a person's consent."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from filiation.cli.deliver import Wanted
    from filiation.cli.output import Sink
    from filiation.endpoint.session import Announcement
    from filiation.probing.request import Request
    from filiation.probing.walk import Means


def means_of(request: Request, given: dict[str, Any], wanted: Wanted) -> Means:
    """Return log, budget and consent as the options say.

    Raises:
        UsageError: a price is none, or --resume has no log.
    """
    from datetime import UTC, datetime

    from filiation.endpoint.budget import Budget
    from filiation.endpoint.session import agreed
    from filiation.errors import UsageError
    from filiation.probing.walk import Means

    log: Path | None = given["log"]
    if given["resume"] and log is None:
        raise UsageError("--resume needs the log.", next_step="Name it with --log.")
    log = log or Path(f"probe-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl")
    budget = Budget(
        requests=given["max_requests"],
        tokens=given["max_tokens"],
        seconds=given["max_seconds"],
        money=given["max_money"],
        concurrency=given["concurrency"],
        prices=_prices(request, given["prices"]),
    )
    wanted.sink.talk(f"every exchange goes to {log}")
    return Means(log, budget, agreed if given["yes"] else _ask(wanted.sink), given["resume"])


def _prices(request: Request, entries: tuple[str, ...]) -> dict[str, Any]:
    from filiation.endpoint.budget import Price
    from filiation.errors import UsageError

    prices = {p.role: Price() for p in request.parties() if p.is_local} if entries else {}
    for entry in entries:
        role, mark, figures = entry.partition("=")
        role, figures = (role, figures) if mark else ("suspect", entry)
        into, _, out = figures.partition(":")
        try:
            prices[role] = Price(float(into), float(out or into))
        except ValueError as error:
            raise UsageError(
                f"'{entry}' is no price.", next_step="Write for example:  --price 0.15:0.60"
            ) from error
    return prices


def _ask(sink: Sink) -> Any:
    """Ask the person at the terminal; where there is none, refuse."""

    def consent(announced: Announcement) -> bool:
        import sys

        for role, address, model in announced.endpoints:
            sink.talk(f"{role}: {model} at {address}")
        for role, source in announced.keys:
            sink.talk(f"{role}: the key of {source} will be sent to it")
        bounds = {"requests": announced.budget.requests, "tokens": announced.budget.tokens}
        bounds |= {"seconds": announced.budget.seconds, "money": announced.budget.money}
        said = ", ".join(f"{value:g} {name}" for name, value in bounds.items() if value is not None)
        sink.talk(f"at most {said}" if said else "without a bound")
        return sys.stdin.isatty() and click.confirm("Send these requests?", err=True)

    return consent


@contextmanager
def hint_at_resuming(sink: Sink, log: Path | None) -> Generator[None]:
    """After Ctrl-C, say how to go on: every exchange is in the log."""
    try:
        yield
    except KeyboardInterrupt:
        sink.hint(f"to go on, the same command with:  --log {log or 'LOG'} --resume")
        raise
