"""The budget: what may be asked of endpoints, counted before anything is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from filiation.endpoint.model import Allowance, Ask, Call, Spent, Usage
from filiation.errors import BudgetError, UsageError

_PER_MESSAGE = 16  # tokens that a chat template may add to one message, until the endpoint's counts say more


@dataclass(frozen=True, slots=True)
class Price:
    """What an endpoint charges, in one currency for the whole session.

    Attributes:
        prompt, completion: for a million tokens.
        request: for each request.
    """

    prompt: float = 0.0
    completion: float = 0.0
    request: float = 0.0

    def of(self, prompt: int, completion: int, requests: int = 1) -> float:
        """Return the cost of that many tokens and requests."""
        return (self.prompt * prompt + self.completion * completion) / 1e6 + self.request * requests


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a session may use; ``None`` sets no bound.

    Attributes:
        requests: sent requests, every retry among them.
        tokens: prompt and completion tokens together, as the endpoints state them, else as estimated from above.
        seconds: from the first request on; of a session that is resumed, added up.
        money: needs the price of every endpoint in ``prices``.
        concurrency: requests in flight at a time.
        prices: by role; an endpoint that costs nothing has ``Price()``.
    """

    requests: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    money: float | None = None
    concurrency: int = 4
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])

    def check(self, roles: Sequence[str]) -> None:
        """Raise UsageError where the budget contradicts itself or lacks the price of a role."""
        bounds = (self.requests, self.tokens, self.seconds, self.money)
        if any(bound is not None and not bound >= 0 for bound in bounds) or self.concurrency < 1:
            raise UsageError(
                "The budget makes no sense.",
                reason="A bound is negative, or no request may be in flight.",
                next_step="Give bounds of 0 or more, and a concurrency of at least 1.",
            )
        missing = [role for role in roles if role not in self.prices]
        if self.money is not None and missing:
            raise UsageError(
                "A bound on money needs prices.",
                reason=f"No price is given for: {', '.join(missing)}.",
                next_step="Give the price of a million prompt and completion tokens of each; 0 for a local model.",
            )


@dataclass(slots=True)
class _Learned:
    """By how much an endpoint's counts exceed what the request lets expect: hidden prompts, thinking."""

    prompt: int = 0
    completion: int = 0


class Ledger:
    """Keeps the account of a session. Safe for threads.

    A batch is reserved whole before any of it is sent; what an answer really used replaces its reservation.
    """

    def __init__(self, budget: Budget, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._seconds_before = 0.0
        self._requests = 0
        self._prompt = 0
        self._completion = 0
        self._money = 0.0
        self._by_role: dict[str, int] = {}
        self._learned: dict[str, _Learned] = {}

    def start(self) -> None:
        """Begin to count the seconds; later calls do nothing."""
        if self._since is None:
            self._since = self._clock()

    def elapsed(self) -> float:
        """Seconds since the first request, with those of the sessions that this one resumes."""
        return self._seconds_before + (0.0 if self._since is None else self._clock() - self._since)

    def continue_from(self, seconds: float) -> None:
        """Count on from what an interrupted session had used."""
        self._seconds_before = max(self._seconds_before, seconds)

    def allowance(self) -> Allowance:
        """Return what is left."""
        with self._lock:
            used = (self._requests, self._prompt + self._completion, self.elapsed(), self._money)
        budget = self.budget
        return Allowance(
            None if budget.requests is None else max(0, budget.requests - used[0]),
            None if budget.tokens is None else max(0, budget.tokens - used[1]),
            None if budget.seconds is None else max(0.0, round(budget.seconds - used[2], 3)),
            None if budget.money is None else max(0.0, round(budget.money - used[3], 9)),
        )

    def spent(self) -> Spent:
        """Return what was used."""
        with self._lock:
            return Spent(self._requests, self._prompt, self._completion, dict(sorted(self._by_role.items())))

    def admit(self, calls: Sequence[Call]) -> None:
        """Let a batch pass.

        Raises:
            BudgetError: it could exceed a bound. Nothing is booked.
        """
        prompt = completion = 0
        money = 0.0
        for call in calls:
            p, c = self.bound(call.role, call.ask)
            prompt, completion = prompt + p, completion + c
            money += self._price(call.role).of(p, c)
        left = self.allowance()
        for what, need, has in (
            ("requests", len(calls), left.requests),
            ("tokens", prompt + completion, left.tokens),
            ("money", money, left.money),
        ):
            if has is not None and need > has:
                raise _exceeded(what, need, has)
        if left.seconds is not None and left.seconds <= 0:
            raise _exceeded("seconds", 0, 0)

    def try_once(self, role: str) -> bool:
        """Book one sent request; False, and nothing booked, where no request or no time is left."""
        with self._lock:
            bound, seconds = self.budget.requests, self.budget.seconds
            if bound is not None and self._requests >= bound:
                return False
            if seconds is not None and self.elapsed() >= seconds:
                return False
            self._requests += 1
            self._by_role[role] = self._by_role.get(role, 0) + 1
            self._money += self._price(role).request
            return True

    def book(self, role: str, requests: int) -> None:
        """Book requests that an interrupted session had sent."""
        with self._lock:
            self._requests += requests
            self._by_role[role] = self._by_role.get(role, 0) + requests
            self._money += requests * self._price(role).request

    def settle(self, role: str, ask: Ask, usage: Usage | None) -> None:
        """Book the tokens of one answer: as stated, else the most that the request lets expect."""
        prompt, completion = self.bound(role, ask)
        with self._lock:
            learned = self._learned.setdefault(role, _Learned())
            if usage is not None and usage.prompt is not None:
                learned.prompt = max(learned.prompt, usage.prompt - _prompt_bound(ask))
                prompt = usage.prompt
            if usage is not None and usage.completion is not None:
                learned.completion = max(learned.completion, usage.completion - ask.max_tokens * ask.n)
                completion = usage.completion
            self._prompt += prompt
            self._completion += completion
            self._money += self._price(role).of(prompt, completion, 0)

    def bound(self, role: str, ask: Ask) -> tuple[int, int]:
        """Return the most prompt and completion tokens that ``ask`` lets expect from this endpoint."""
        learned = self._learned.get(role, _Learned())
        return _prompt_bound(ask) + learned.prompt, ask.max_tokens * ask.n + learned.completion

    def _price(self, role: str) -> Price:
        return self.budget.prices.get(role, Price())


def _prompt_bound(ask: Ask) -> int:
    """No tokenizer of bytes makes more tokens than there are bytes."""
    if isinstance(ask.prompt, tuple):
        return len(ask.prompt) + 1
    texts = [ask.prompt or "", *(m.text for m in ask.messages)]
    return sum(len(t.encode("utf-8", "surrogatepass")) for t in texts) + _PER_MESSAGE * (
        1 + len(ask.messages)
    )


def _exceeded(what: str, need: float, left: float) -> BudgetError:
    return BudgetError(
        "The budget does not allow these requests; none of them was sent.",
        reason=f"They may need {need:,.10g} {what}; {left:,.10g} are left."
        if need
        else "The time is used up.",
        next_step="Allow more, or ask for fewer tests.",
    )
