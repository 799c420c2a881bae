"""What is said before the first request: to the user, who has to agree, and in the first line of the log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filiation._version import __version__
from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.log import LOG_SCHEMA
from filiation.endpoint.recorded import Recorded
from filiation.errors import LogError, UsageError
from filiation.evidence import plain


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the user is asked to agree to before anything is sent.

    Attributes:
        endpoints: role, address and model of each; ``keys`` names the source of each key that will be sent.
        budget: the most that will be used.
        log: where everything is written down.
    """

    endpoints: tuple[tuple[str, str, str], ...]
    keys: tuple[tuple[str, str], ...]
    budget: Budget
    log: Path | None


def agreed(_: Announcement) -> bool:
    """Return True: for a user who has agreed beforehand (``--yes``)."""
    return True


def commitment(seed: int) -> str:
    """Return the SHA-256 that commits to a seed: published before the requests, with the seed after them."""
    return hashlib.sha256(f"filiation probe seed {seed}".encode()).hexdigest()


def run_record(
    endpoints: Sequence[Endpoint], budget: Budget, seed: int, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the first line of a log: what a replay and a resumed session need to know of the run."""
    described = [
        {
            "role": e.role,
            "locator": e.locator,
            "model": e.model,
            "dialect": e.speaks,
            "stream": e.stream,
            "extra": dict(e.extra),
            "key": None if e.key is None else str(e.key),
        }
        for e in endpoints
    ]
    return {
        "kind": "run",
        "schema": LOG_SCHEMA,
        "tool": {"name": "filiation", "version": __version__},
        "seed": seed,
        "commitment": commitment(seed),
        "budget": plain(budget),
        "endpoints": described,
        "about": plain(about),
    }


def resumed_log(log: Path | None, run: Mapping[str, Any]) -> Recorded:
    """Return the log of the interrupted session, if it is of this run.

    Raises:
        UsageError: no log is named. LogError: it is none, or of another run.
    """
    if log is None:
        raise UsageError("A session is resumed from its log.", next_step="Name the log.")
    recorded = Recorded.load(log)
    differs = sorted(k for k in run if recorded.run.get(k) != run[k])
    if differs:
        raise LogError(
            "The log is of another run.",
            file=str(log),
            reason=f"It was written with another: {', '.join(differs)}.",
            next_step="Give the options of the run that wrote it; another budget needs a new log.",
        )
    return recorded
