"""The order of requests: drawn, balanced between endpoints, and never the caller's."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.endpoint.budget import Budget
from filiation.endpoint.model import Call, Capabilities, chat
from filiation.endpoint.order import sending_order
from filiation.errors import UsageError
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import session
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

calls = st.lists(
    st.builds(lambda r, t: Call(r, chat(t), "t"), st.sampled_from("abc"), st.sampled_from("xyz"))
)


@given(calls, st.integers(0, 99), st.integers(0, 9))
def test_every_call_is_sent_once_in_an_order_that_the_seed_fixes(
    batch: list[Call], seed: int, turn: int
) -> None:
    order = sending_order(batch, seed, turn)
    assert sorted(order) == list(range(len(batch)))
    assert order == sending_order(batch, seed, turn)


def test_equal_requests_to_two_endpoints_stand_next_to_each_other_in_either_order() -> None:
    batch = [Call(r, chat(f"{i}"), "t") for r in "ab" for i in range(200)]
    order = [batch[i] for i in sending_order(batch, 3, 0)]
    firsts: Counter[str] = Counter()
    for one, other in zip(order[::2], order[1::2], strict=True):
        assert one.ask == other.ask
        assert {one.role, other.role} == {"a", "b"}
        firsts[one.role] += 1
    assert 70 < firsts["a"] < 130
    assert [c.ask for c in order[::2]] != [c.ask for c in batch[:200]]


def test_each_batch_has_an_order_of_its_own() -> None:
    batch = [Call("a", chat(f"{i}"), "t") for i in range(30)]
    assert len({tuple(sending_order(batch, seed, turn)) for seed in range(3) for turn in range(3)}) == 9


def test_requests_leave_in_that_order_and_answers_return_in_the_callers() -> None:
    batch = [Call("a", chat(f"q{i}"), "t") for i in range(30)]
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        known = {"a": Capabilities(chat=True, completions=True)}
        with session({"a": server}, seed=5, budget=Budget(concurrency=1), capabilities=known) as live:
            answers = live.ask(batch)
    sent = [s.body["messages"][0]["content"] for s in server.seen]
    assert sent == [batch[i].ask.messages[0].text for i in sending_order(batch, 5, 0)]
    assert [a.request for a in answers] == [f"a#{i}" for i in range(1, 31)]


def test_roles_must_be_known_and_differ() -> None:
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        known = {"a": Capabilities(chat=True, completions=True)}
        with (
            session({"a": server}, capabilities=known) as live,
            pytest.raises(UsageError, match="No endpoint has this role"),
        ):
            live.ask([Call("b", chat("?"), "t")])
        assert server.seen == []
    with pytest.raises(UsageError, match="role of its own"):
        session({})
