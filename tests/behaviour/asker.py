"""An asker in memory: endpoints that follow laws; the transport is played, tokenizers and statistics are real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from filiation.endpoint.model import Allowance, Answer, Ask, Call, Capabilities, EndpointRecord, Failure
from filiation.errors import BudgetError

Law = Callable[[Ask, np.random.Generator], Answer | Failure | str]
"""What an endpoint says to a request; a bare string is the text of an answer. The asker names the requests."""

ABLE = Capabilities(chat=True, completions=True, usage=True)


def said(ask: Ask) -> str:
    """The words of a request."""
    return ask.prompt if isinstance(ask.prompt, str) else " ".join(m.text for m in ask.messages)


def able(**changes: object) -> Capabilities:
    """Capabilities with changes, for endpoints that lack something."""
    return replace(ABLE, **changes)  # type: ignore[arg-type]


@dataclass
class Scripted:
    """Plays :class:`filiation.endpoint.model.Asker`; every call is kept in :attr:`asked`.

    Attributes:
        laws: by role; all draw from one generator, made from ``seed``.
        capabilities: of all, or by role.
        requests: the budget.
        refuse_after: after how many requests a batch is refused though the budget allows it, as for money.
    """

    laws: Mapping[str, Law]
    capabilities: Capabilities | Mapping[str, Capabilities] = ABLE
    seed: int = field(default=0, kw_only=True)
    requests: int | None = field(default=None, kw_only=True)
    refuse_after: int | None = field(default=None, kw_only=True)
    asked: list[Call] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        return {
            role: EndpointRecord(role, f"memory:{role}", role, "scripted", self._able(role))
            for role in self.laws
        }

    def _able(self, role: str) -> Capabilities:
        given = self.capabilities
        return given if isinstance(given, Capabilities) else given.get(role, ABLE)

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        if self.requests is not None and len(self.asked) + len(calls) > self.requests:
            raise BudgetError("The requests are used up.")
        if self.refuse_after is not None and len(self.asked) >= self.refuse_after:
            raise BudgetError("The money is used up.")
        return tuple(self._answer(call) for call in calls)

    def _answer(self, call: Call) -> Answer | Failure:
        self.asked.append(call)
        name = f"{call.role}#{len(self.asked)}"
        got = self.laws[call.role](call.ask, self._rng)
        return Answer(name, (got,)) if isinstance(got, str) else replace(got, request=name)

    def allowance(self) -> Allowance:
        return Allowance(requests=None if self.requests is None else self.requests - len(self.asked))
