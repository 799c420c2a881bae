"""A session with an honest server: answers, order, log, replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from filiation.endpoint.model import Answer, Call, Support, chat
from filiation.endpoint.replay import Replay
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import session
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw, log_softmax


def honest(seed: int = 1) -> Behaviour:
    return Behaviour(CategoricalLaw(seed), ids=True, ids_of=True, whole=True, prompt_logprobs="vllm")


def test_a_session_answers_every_call_and_a_replay_says_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    calls = [
        Call(r, chat(f"Question {i}?", max_tokens=3, top_logprobs=5), "t") for i in range(6) for r in "ab"
    ]
    with Adversary(honest(1)) as a, Adversary(honest(2)) as b, session({"a": a, "b": b}, log=log) as live:
        left = [live.allowance()]
        answers = live.ask(calls)
        left.append(live.allowance())
        records = live.records
        assert records["a"].capabilities.top_logprobs == -1
        assert records["a"].capabilities.token_logprob_ids is Support.SUPPORTED
        assert records["a"].returned_models == ("model-a",)
    assert all(isinstance(x, Answer) for x in answers)
    replay = Replay(log)
    assert [replay.allowance()] == left[:1]
    assert replay.ask(calls) == answers
    assert [replay.allowance()] == left[1:]
    assert replay.records == records


def test_the_logits_are_those_of_the_law() -> None:
    law = CategoricalLaw(1)
    with Adversary(honest(1)) as a, session({"a": a}) as live:
        (answer,) = live.ask([Call("a", chat("Hm?", top_logprobs=-1), "t")])
    assert isinstance(answer, Answer)
    assert answer.steps is not None
    exact = log_softmax(law.logits("user: Hm?\nassistant:"))
    got = {t.id: t.logprob for t in answer.steps[0].top}
    assert np.allclose([got[i] for i in range(len(exact))], exact, atol=1e-12)
