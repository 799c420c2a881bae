"""Ctrl-C, from outside, in the middle of a batch: the process ends at once, and the log is resumed to the same end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from filiation.endpoint.model import Answer
from filiation.endpoint.recorded import Recorded
from filiation.endpoint.replay import Replay
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.interrupted import CALLS, open_session
from tests.endpoint.laws import CategoricalLaw

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("fault", [faults.HalfOpen(), faults.throttled("500")])
def test_an_interrupted_session_is_resumed_to_its_end(tmp_path: Path, fault: faults.Fault) -> None:
    """Interrupted while a reply will never come, or while a wait is long: neither may hold the process."""
    log = tmp_path / "log"
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        server.behaviour.faults = [*[None] * 12, fault, fault, *[fault] * 30]
        command = [sys.executable, "-m", "tests.endpoint.interrupted", server.url, str(log)]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
            while len(server.seen) < 13 and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=60)
            finally:
                process.kill()
        assert b"KeyboardInterrupt" in said
        got = dict(Recorded.load(log).exchanges)
        assert 0 < len(got) <= 12
        server.behaviour.faults = []
        sent = len(server.seen)
        with open_session(server.url, log, resume=True) as live:
            answers = live.ask(CALLS)
        assert len(server.seen) - sent == len(CALLS) - len(got)
    assert all(isinstance(a, Answer) for a in answers)
    assert Replay(log).ask(CALLS) == answers
    assert {k: Recorded.load(log).exchanges[k] for k in got} == got
