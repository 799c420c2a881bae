"""A model of one's own: the server's answers, and the child process that is started, awaited and ended."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from filiation.endpoint.budget import Budget
from filiation.endpoint.client import Endpoint
from filiation.endpoint.model import Answer, Ask, Call, Capabilities, Failure, Support, chat
from filiation.endpoint.serving import local
from filiation.endpoint.serving.generate import log_softmax
from filiation.endpoint.serving.http import ModelServer
from filiation.endpoint.session import Session, agreed
from filiation.errors import InputError, MissingExtraError, NotFoundError
from tests.endpoint.asking import patience
from tests.endpoint.numbers import NumpyModel

MODEL = NumpyModel()
ROOT = Path(__file__).parents[2]


@pytest.fixture
def live() -> Iterator[Session]:
    server = ModelServer(MODEL)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    endpoint = Endpoint("reference", server.host, "numbers", "local")
    with Session([endpoint], budget=Budget(), seed=1, consent=agreed, patience=patience()) as session:
        yield session
    server.shutdown()
    thread.join()
    server.server_close()


def one(live: Session, ask: Ask) -> Answer:
    (found,) = live.ask([Call("reference", ask, "t")])
    assert isinstance(found, Answer), found
    return found


def test_everything_can_be_asked_of_it(live: Session) -> None:
    assert live.records["reference"].capabilities == Capabilities(
        chat=True,
        completions=True,
        usage=True,
        top_logprobs=-1,
        token_logprob_ids=Support.SUPPORTED,
        prompt_logprobs=Support.SUPPORTED,
        prompt_ids=Support.SUPPORTED,
        seed=Support.SUPPORTED,
        n=Support.SUPPORTED,
    )


def test_log_probabilities_are_the_models(live: Session) -> None:
    found = one(live, Ask(prompt=(5, 6, 7), max_tokens=2, temperature=0.0, top_logprobs=-1))
    assert found.steps is not None
    exact = log_softmax(MODEL.logits([5, 6, 7])[-1])
    assert found.steps[0].chosen.id == int(exact.argmax())
    assert {t.id: t.logprob for t in found.steps[0].top} == dict(enumerate(exact.tolist()))
    after = log_softmax(MODEL.logits([5, 6, 7, int(exact.argmax())])[-1])
    assert found.steps[1].top[0].logprob == after.max()
    assert found.usage is not None
    assert (found.usage.prompt, found.usage.completion, found.finish) == (3, 2, "length")


def test_log_probabilities_of_chosen_tokens_and_of_the_prompt(live: Session) -> None:
    found = one(live, Ask(prompt=(5, 6, 7), token_ids=(40, 200)))
    assert found.steps is not None
    exact = log_softmax(MODEL.logits([5, 6, 7])[-1])
    assert {t.id: t.logprob for t in found.steps[0].top} == {40: exact[40], 200: exact[200]}
    prompted = one(live, Ask(prompt=(5, 6, 7), prompt_logprobs=True)).prompt_steps
    assert prompted is not None
    rows = log_softmax(MODEL.logits([5, 6, 7], every=True))
    assert [s.chosen.logprob for s in prompted] == [None, rows[0][6], rows[1][7]]


def test_sampling_follows_the_law_and_the_seed(live: Session) -> None:
    def draws(seed: int) -> tuple[str, ...]:
        return one(live, chat("Hm?", n=300, seed=seed, temperature=1.0)).texts

    drawn = draws(1)
    assert drawn == draws(1)
    assert drawn != draws(2)
    exact = np.exp(log_softmax(MODEL.logits(MODEL.encode_chat([{"role": "user", "content": "Hm?"}]))[-1]))
    most = int(exact.argmax())
    share = drawn.count(MODEL.words[most]) / 300
    assert abs(share - exact[most]) < 4 * np.sqrt(exact[most] / 300)


def test_it_stops_where_it_is_told_to(live: Session) -> None:
    long = one(live, chat("Hm?", max_tokens=20, seed=1))
    stop = long.text[8:11]
    short = one(live, chat("Hm?", max_tokens=20, seed=1, stop=(stop,)))
    assert (short.finish, short.text) == ("stop", long.text.partition(stop)[0])


@pytest.mark.parametrize(
    "ask",
    [Ask(prompt=(1, 2), token_ids=(5000,)), Ask(prompt=()), chat("x", temperature=-1.0), chat("x", n=0)],
)
def test_what_it_cannot_do_it_refuses(live: Session, ask: Ask) -> None:
    (found,) = live.ask([Call("reference", ask, "t")])
    assert isinstance(found, Failure)
    assert (found.code, found.status) == ("refused", 400)


def child(*words: str) -> list[str]:
    return [sys.executable, "-m", "tests.endpoint.numbers", *words]


def test_a_child_is_awaited_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with local.child(child(), "model", 60.0) as host:
        assert host.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{host}/health") as reply:
            assert reply.status == 200
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"{host}/health")


def test_a_child_that_ends_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with (
        pytest.raises(InputError, match=r"exit status 1\. It said: no such tensor"),
        local.child(child("fails"), "model", 60.0),
    ):
        pass


def test_a_child_that_is_never_ready_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    before = set(_children())
    with pytest.raises(InputError, match="not ready in time"), local.child(child("hangs"), "model", 1.0):
        pass
    assert set(_children()) <= before


def _children() -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("utf-8").split()


def test_a_model_that_is_not_there_or_has_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError), local.serve(tmp_path / "none.gguf"):
        pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(MissingExtraError, match="serve"), local.serve(tmp_path / "m.gguf"):
        pass
    (tmp_path / "m.gguf").unlink()
    with pytest.raises(MissingExtraError, match="lab"), local.serve(tmp_path):
        pass
