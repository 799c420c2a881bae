"""Replay and resume: the same answers, allowances and refusals as live, byte for byte, or a clear error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Answer, Asker, Call, chat
from filiation.endpoint.replay import Replay
from filiation.endpoint.session import Session, agreed
from filiation.errors import AccessDeniedError, BudgetError, LogError, UsageError
from filiation.evidence import plain
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import patience, session
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

Servers = dict[str, Adversary]
BUDGET = Budget(requests=80, tokens=60_000, seconds=1e6, concurrency=3)


@pytest.fixture
def servers() -> Iterator[Servers]:
    with (
        Adversary(Behaviour(CategoricalLaw(1), whole=True)) as a,
        Adversary(Behaviour(CategoricalLaw(2), name="other")) as b,
    ):
        yield {"suspect": a, "reference": b}


def adaptive(asker: Asker, stop: Callable[[int], None] = lambda _: None) -> bytes:
    """Play a test that plans by what it hears: by answers, failures, allowances and refusals."""
    heard: list[Any] = []
    for round_ in range(8):
        stop(round_)
        left = asker.allowance()
        size = 2 + sum(len(str(h)) for h in heard) % 5
        calls = [
            Call(role, chat(f"{round_}/{i}", max_tokens=2, temperature=1.0, top_logprobs=3), "t")
            for i in range(size)
            for role in ("suspect", "reference")
        ]
        try:
            heard.append(plain([left, list(asker.ask(calls))]))
        except BudgetError as error:
            heard.append([plain(left), str(error)])
    heard.append(plain(dict(asker.records)))
    return json.dumps(heard, sort_keys=True, default=repr).encode()


def without_bytes(asker: Asker) -> Asker:
    """`plain` has no word for bytes; answers are compared without them here, and with them elsewhere."""

    class Plainer:
        @property
        def records(self):  # type: ignore[no-untyped-def]
            return asker.records

        def ask(self, calls):  # type: ignore[no-untyped-def]
            return tuple(replace(a, steps=None) if isinstance(a, Answer) else a for a in asker.ask(calls))

        def allowance(self):  # type: ignore[no-untyped-def]
            return asker.allowance()

    return Plainer()


def test_a_replay_is_the_session_byte_for_byte(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with session(servers, log=log, budget=BUDGET) as live:
        for server in servers.values():
            server.behaviour.faults = [
                None,
                faults.throttled("1"),
                None,
                faults.Status(400),
                faults.Drop(),
                None,
            ]
        first = adaptive(without_bytes(live))
    assert b"The budget does not allow" in first
    before = log.read_bytes()
    assert adaptive(without_bytes(Replay(log))) == first
    assert adaptive(without_bytes(Replay(log))) == first
    assert log.read_bytes() == before
    assert Replay(log).finished


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [0, 1, 3, 5])
@pytest.mark.parametrize("torn", [0, 40])
def test_a_resumed_session_ends_as_if_nothing_had_happened(
    servers: Servers, tmp_path: Path, at: int, torn: int
) -> None:
    def stop(round_: int) -> None:
        if round_ == at:
            raise Interrupted

    log = tmp_path / "log"
    with pytest.raises(Interrupted), session(servers, log=log, budget=BUDGET) as live:
        adaptive(without_bytes(live), stop)
    assert not Replay(log).finished
    if torn:  # killed while it wrote
        log.write_bytes(log.read_bytes()[:-torn])
    sent = sum(len(s.seen) for s in servers.values())
    with session(servers, log=log, budget=BUDGET, resume=True) as live:
        resumed = adaptive(without_bytes(live))
        spent = live.spent()
    assert adaptive(without_bytes(Replay(log))) == resumed
    again = sum(len(s.seen) for s in servers.values()) - sent
    assert spent.requests == sent + again - (1 if torn and at else 0) or torn
    assert spent.requests <= 80


def test_a_finished_session_resumed_sends_nothing(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with session(servers, log=log, budget=BUDGET) as live:
        first = adaptive(without_bytes(live))
    sent = [len(s.seen) for s in servers.values()]
    with session(servers, log=log, budget=BUDGET, resume=True, consent=lambda _: False) as live:
        assert adaptive(without_bytes(live)) == first
    assert [len(s.seen) for s in servers.values()] == sent


def test_a_batch_of_which_a_part_is_in_the_log_is_completed(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    calls = [Call("suspect", chat(f"{i}", temperature=1.0), "t") for i in range(8)]
    with session(servers, log=log) as live:
        first = live.ask(calls)
    kept = [line for line in log.read_bytes().splitlines(keepends=True) if b'"finished"' not in line]
    log.write_bytes(b"".join(kept[:-3]))
    sent = len(servers["suspect"].seen)
    with session(servers, log=log, resume=True) as live:
        second = live.ask(calls)
    assert len(servers["suspect"].seen) == sent + 3
    assert sum(a == b for a, b in zip(first, second, strict=True)) >= 5
    assert Replay(log).ask(calls) == second


def test_a_denied_request_is_asked_again_after_the_key_was_mended(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    calls = [Call("suspect", chat("?"), "t")]
    with session(servers, log=log) as live:
        servers["suspect"].behaviour.faults = [faults.Status(401)]
        with pytest.raises(AccessDeniedError):
            live.ask(calls)
    with pytest.raises(AccessDeniedError):
        Replay(log).ask(calls)
    with session(servers, log=log, resume=True) as live:
        (answer,) = live.ask(calls)
    assert isinstance(answer, Answer)
    assert Replay(log).ask(calls) == (answer,)


def test_a_replay_of_another_run_is_an_error(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with session(servers, log=log) as live:
        live.ask([Call("suspect", chat("?"), "t")])
    with pytest.raises(LogError, match="another request"):
        Replay(log).ask([Call("suspect", chat("!"), "t")])
    with pytest.raises(LogError, match="does not hold the request"):
        Replay(log).ask([Call("suspect", chat("?"), "t"), Call("suspect", chat("?"), "t")])
    with pytest.raises(LogError, match="role 'nobody'"):
        Replay(log).ask([Call("nobody", chat("?"), "t")])
    with pytest.raises(LogError, match="budget"):
        Replay(log).allowance()


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"budget": Budget(requests=9999)}, {"about": {"tests": ["x"]}}]
)
def test_a_log_is_resumed_by_its_own_run_alone(
    servers: Servers, tmp_path: Path, change: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    with session(servers, log=log):
        pass
    before = log.read_bytes()
    with pytest.raises(LogError, match="another run"):
        session(servers, log=log, resume=True, **change)
    assert log.read_bytes() == before


def test_the_options_of_a_run_are_kept_for_its_replay(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with session(servers, log=log, seed=77, about={"tests": ["tokenizer"], "alpha": 0.01}):
        pass
    assert Replay(log).about == {"tests": ["tokenizer"], "alpha": 0.01}
    assert Replay(log).seed == 77


def test_resuming_needs_a_log(servers: Servers) -> None:
    with pytest.raises(UsageError, match="resumed from its log"):
        session(servers, resume=True)


def test_answers_of_a_replay_hold_every_bit(servers: Servers, tmp_path: Path) -> None:
    """Log-probabilities and bytes too, of the whole vocabulary."""
    log = tmp_path / "log"
    calls = [
        Call("suspect", chat(f"{i}", top_logprobs=-1, max_tokens=m), "t") for i, m in enumerate((1, 5, 9))
    ]
    with session(servers, log=log) as live:
        answers = live.ask(calls)
    assert "packed" in log.read_text("utf-8")
    assert Replay(log).ask(calls) == answers
    assert repr(Replay(log).ask(calls)) == repr(answers)


def test_a_model_of_ones_own_may_be_served_on_another_port_when_resumed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    calls = [Call("reference", chat("?"), "t")]
    found: list[Any] = []
    for resume in (False, True):
        with Adversary(Behaviour(CategoricalLaw(1))) as server:
            endpoint = Endpoint("reference", server.url, "m", known_as="local:m.gguf")
            with Session(
                [endpoint],
                budget=Budget(),
                seed=1,
                consent=agreed,
                log=log,
                resume=resume,
                patience=patience(),
            ) as live:
                found.append([live.ask(calls), live.records])
    assert found[0] == found[1]
    assert found[0][1]["reference"].locator == "local:m.gguf"
    assert "127.0.0.1" not in log.read_text("utf-8")


def test_patience_is_no_part_of_a_run(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with session(servers, log=log):
        pass
    assert isinstance(session(servers, log=log, resume=True, patience=patience(attempts=2)), Session)
