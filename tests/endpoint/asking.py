"""Sessions for tests: a patient clock that does not wait, and askers without HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.patience import Patience
from filiation.endpoint.session import Session, agreed
from tests.endpoint.adversary import Adversary


class FakeTime:
    """A clock that moves when someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


def patience(time: FakeTime | None = None, **options: Any) -> Patience:
    """Waits take no time; a try may take 30 s at most."""
    time = time or FakeTime()
    settings: dict[str, Any] = {"sleep": time.sleep, "clock": time.clock, "silence": 20.0, "deadline": 30.0}
    return Patience(**{**settings, **options})


def session(
    servers: dict[str, Adversary],
    *,
    log: Path | None = None,
    seed: int = 1,
    budget: Budget | None = None,
    **options: Any,
) -> Session:
    """Return a session that asks one server a role; enter it to start."""
    endpoints = [Endpoint(role, server.url, f"model-{role}") for role, server in servers.items()]
    options = {"patience": patience(), "consent": agreed, **options}
    return Session(endpoints, budget=budget or Budget(concurrency=2), seed=seed, log=log, **options)
