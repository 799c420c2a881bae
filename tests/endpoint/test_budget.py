"""The budget refuses before anything is sent, and is not exceeded by what is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiation.endpoint.budget import Budget, Ledger, Price
from filiation.endpoint.model import Answer, Ask, Call, Capabilities, Usage, chat
from filiation.endpoint.session import Announcement, Session
from filiation.errors import BudgetError, ConsentError, UsageError
from tests.endpoint import faults
from tests.endpoint.adversary import Adversary
from tests.endpoint.asking import FakeTime, patience, session
from tests.endpoint.behaviour import Behaviour
from tests.endpoint.laws import CategoricalLaw

KNOWN = {"a": Capabilities(chat=True, completions=True)}
CALLS = [Call("a", chat(f"Question {i}?", max_tokens=4), "t") for i in range(10)]


def asking(server: Adversary, budget: Budget, **options: object) -> Session:
    return session({"a": server}, budget=budget, capabilities=KNOWN, **options)


@pytest.mark.parametrize(
    ("budget", "what"),
    [
        (Budget(requests=9), "requests"),
        (Budget(tokens=300), "tokens"),
        (Budget(money=0.000_1, prices={"a": Price(prompt=3.0, completion=15.0)}), "money"),
        (Budget(money=0.009, prices={"a": Price(request=0.001)}), "money"),
        (Budget(seconds=0), "time"),
    ],
)
def test_a_batch_that_may_exceed_the_budget_is_refused_whole(budget: Budget, what: str) -> None:
    with Adversary(Behaviour(CategoricalLaw(1))) as server, asking(server, budget) as live:
        with pytest.raises(BudgetError, match=what):
            live.ask(CALLS)
        assert server.seen == []
        assert live.spent().requests == 0


def test_what_is_left_after_answers_is_what_they_really_used() -> None:
    budget = Budget(requests=30, tokens=5000, money=1.0, prices={"a": Price(10.0, 20.0, 0.001)})
    with Adversary(Behaviour(CategoricalLaw(1))) as server, asking(server, budget) as live:
        answers = live.ask(CALLS)
        left, spent = live.allowance(), live.spent()
    prompt = sum(a.usage.prompt or 0 for a in answers if isinstance(a, Answer) and a.usage)
    assert (spent.requests, spent.prompt_tokens, spent.completion_tokens) == (10, prompt, 40)
    assert spent.by_role == {"a": 10}
    assert (left.requests, left.tokens) == (20, 5000 - prompt - 40)
    assert left.money == pytest.approx(1 - (10 * prompt + 20 * 40) / 1e6 - 0.01)


def test_retries_count_as_requests() -> None:
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        server.behaviour.faults = [faults.throttled("0"), faults.Drop()]
        with asking(server, Budget(requests=30, concurrency=1)) as live:
            live.ask(CALLS)
            assert live.spent().requests == len(server.seen) == 12
            assert live.allowance().requests == 18


def test_without_stated_usage_the_bound_is_booked() -> None:
    behaviour = Behaviour(CategoricalLaw(1), rewrite=lambda _: None)
    with Adversary(behaviour) as server, asking(server, Budget(tokens=10_000)) as live:
        live.ask(CALLS)
        assert live.spent().prompt_tokens >= 10 * len("Question 0?")
        assert live.spent().completion_tokens == 40


def test_a_hidden_prompt_is_expected_once_it_was_seen() -> None:
    """The first answer shows 5,000 hidden tokens; from then on every request is expected to cost them."""
    with Adversary(Behaviour(CategoricalLaw(1), offset=5000)) as server:
        with asking(server, Budget(tokens=12_000)) as live:
            live.ask(CALLS[:2])
            with pytest.raises(BudgetError, match="tokens"):
                live.ask(CALLS[:1])
        assert len(server.seen) == 2


def test_the_seconds_run_while_requests_are_sent() -> None:
    time = FakeTime()
    with Adversary(Behaviour(CategoricalLaw(1))) as server:
        server.behaviour.faults = [faults.throttled("30")]
        with asking(server, Budget(seconds=100, concurrency=1), patience=patience(time)) as live:
            time.now += 500  # before the first request nothing is counted
            live.ask(CALLS[:1])
            assert live.allowance().seconds == 70.0
            time.now += 80
            with pytest.raises(BudgetError, match="time is used up"):
                live.ask(CALLS[:1])


def test_a_bound_on_money_needs_every_price() -> None:
    with pytest.raises(UsageError, match="No price is given for: b"):
        Budget(money=1.0, prices={"a": Price()}).check(["a", "b"])
    Budget(money=1.0, prices={"a": Price(), "b": Price()}).check(["a", "b"])


@pytest.mark.parametrize(
    "budget", [Budget(requests=-1), Budget(seconds=float("nan")), Budget(money=-0.1), Budget(concurrency=0)]
)
def test_a_budget_that_makes_no_sense_is_refused(budget: Budget) -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        budget.check([])


def test_nothing_is_sent_without_consent_and_it_is_asked_once() -> None:
    asked: list[Announcement] = []
    with Adversary(Behaviour(CategoricalLaw(1))) as server:

        def answer(announcement: Announcement) -> bool:
            asked.append(announcement)
            assert server.seen == []
            return len(asked) > 1

        for _ in range(2):
            live = asking(server, Budget(requests=30), consent=answer)
            with live:
                if len(asked) == 0:
                    with pytest.raises(ConsentError):
                        live.ask(CALLS)
                    assert server.seen == []
                else:
                    live.ask(CALLS)
                    live.ask(CALLS)
    assert len(asked) == 2
    assert asked[0].endpoints == (("a", server.url, "model-a"),)
    assert asked[0].budget.requests == 30


texts = st.text(max_size=40)
asks = st.builds(
    lambda text, system, most, n: chat(text, system=system, max_tokens=most, n=n),
    texts,
    st.none() | texts,
    st.integers(1, 50),
    st.integers(1, 3),
)


@given(st.lists(st.tuples(asks, st.integers(0, 60)), max_size=12), st.integers(0, 3000))
def test_honest_usage_never_exceeds_an_admitted_budget(pairs: list[tuple[Ask, int]], tokens: int) -> None:
    """Whoever counts no more tokens than bytes, and a template of 16 a message, stays within the bound."""
    ledger = Ledger(Budget(tokens=tokens))
    for ask, template in pairs:
        try:
            ledger.admit([Call("a", ask, "t")])
        except BudgetError:
            continue
        count = sum(len(m.text.encode()) for m in ask.messages) + min(template, 16 * len(ask.messages))
        ledger.settle("a", ask, Usage(count, ask.max_tokens * ask.n))
        spent = ledger.spent()
        assert spent.prompt_tokens + spent.completion_tokens <= tokens
