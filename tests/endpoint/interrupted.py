"""A session in a process of its own, to be interrupted from outside: `python -m tests.endpoint.interrupted URL LOG`."""

from __future__ import annotations

import sys
from pathlib import Path

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Call, Capabilities, chat
from filiation.endpoint.session import Session, agreed

CALLS = [Call("a", chat(f"Question {i}?"), "t") for i in range(40)]
KNOWN = {"a": Capabilities(chat=True, completions=True)}


def open_session(url: str, log: Path, *, resume: bool = False) -> Session:
    return Session(
        [Endpoint("a", url, "m")],
        budget=Budget(concurrency=2),
        seed=1,
        consent=agreed,
        log=log,
        resume=resume,
        capabilities=KNOWN,
    )


if __name__ == "__main__":
    with open_session(sys.argv[1], Path(sys.argv[2])) as live:
        live.ask(CALLS)
