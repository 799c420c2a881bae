"""A session from its log: the same answers in the same order, with no endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filiation.endpoint.dialects import Dialect, dialect
from filiation.endpoint.model import Allowance, Answer, Call, EndpointRecord, Failure, Spent
from filiation.endpoint.recorded import CAPABILITY, Recorded, Sending, answer_of, capabilities_of
from filiation.errors import AccessDeniedError, FiliationError, LogError


class Replay:
    """Answers from the log of a session; an :class:`~filiation.endpoint.model.Asker`.

    Equal calls in equal order get equal answers, allowances and refusals, byte for byte.

    Raises:
        LogError: the file is no log, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recorded = Recorded.load(path)
        try:
            self._endpoints = {str(e["role"]): dict(e) for e in self._recorded.run["endpoints"]}
        except (KeyError, TypeError) as error:
            raise self._lacks("its endpoints") from error
        self._dialects: dict[str, Dialect] = {r: dialect(e["dialect"]) for r, e in self._endpoints.items()}
        self._sent = dict.fromkeys(self._endpoints, 0)
        self._models: dict[str, set[str]] = {role: set() for role in self._endpoints}
        self._batch = 0
        self._allowances = 0
        self._skip_discovery()

    @property
    def seed(self) -> int:
        """The seed of the session."""
        return int(self._recorded.run["seed"])

    @property
    def about(self) -> Mapping[str, Any]:
        """What the session was told to keep: the options of the run."""
        return self._recorded.run.get("about", {})

    @property
    def finished(self) -> bool:
        """Whether the session came to its end."""
        return self._recorded.finished

    def spent(self) -> Spent:
        """What the live session had used at its end.

        Raises:
            LogError: it did not come to its end.
        """
        if not self.finished:
            raise self._lacks("the end of the session")
        return Spent(**self._recorded.spent)

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The endpoints by role, with the model names that they had returned by this point."""
        records: dict[str, EndpointRecord] = {}
        for role, stated in self._endpoints.items():
            line = self._recorded.capabilities.get(role)
            if line is None:
                raise self._lacks(f"what {role} can do: the session ended before that was known")
            models = tuple(sorted(self._models[role]))
            records[role] = EndpointRecord(
                role, stated["locator"], stated["model"], line["dialect"], capabilities_of(line), models
            )
        return records

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        """Answer every call as it was answered live.

        Raises:
            BudgetError, AccessDeniedError: where the live session raised it.
            LogError: the log holds no answer to one of the calls, or another request in its place.
        """
        batch, self._batch = self._batch, self._batch + 1
        self._recorded.refuse(batch)
        return tuple(self._answer(call) for call in calls)

    def allowance(self) -> Allowance:
        """What was left of the budget at this point of the live session."""
        turn, self._allowances = self._allowances, self._allowances + 1
        if turn >= len(self._recorded.allowances):
            raise self._lacks(f"the budget at point {turn + 1}")
        return self._recorded.allowances[turn]

    def _answer(self, call: Call) -> Answer | Failure:
        if call.role not in self._sent:
            raise self._lacks(f"an endpoint of role {call.role!r}")
        self._sent[call.role] += 1
        name = f"{call.role}#{self._sent[call.role]}"
        exchange = self._recorded.find(name, Sending(call))
        if exchange is None:
            raise self._lacks(f"the request {name}")
        answer = answer_of(self._dialects[call.role], name, exchange)
        if isinstance(answer, Failure) and answer.code == "denied":
            raise AccessDeniedError(
                "The endpoint refused the request.",
                file=str(self._endpoints[call.role]["locator"]),
                reason=f"{answer.reason}.",
            )
        if isinstance(answer, Answer) and answer.model is not None:
            self._models[call.role].add(answer.model)
        return answer

    def _skip_discovery(self) -> None:
        """Step over the requests by which the session found out what the endpoints can do."""
        for name, record in self._recorded.exchanges.items():
            if record.get("test") != CAPABILITY:
                continue
            role = str(record["role"])
            self._sent[role] += 1
            answer = answer_of(self._dialects[role], name, self._exchange(name))
            if isinstance(answer, Answer) and answer.model is not None:
                self._models[role].add(answer.model)
        self._batch = int(max((r.get("batches", 0) for r in self._recorded.capabilities.values()), default=0))

    def _exchange(self, name: str) -> Any:
        from filiation.endpoint.recorded import exchange_of

        return exchange_of(self._recorded.exchanges[name], self.path)

    def _lacks(self, what: str) -> FiliationError:
        return LogError(
            "The log cannot answer this run.",
            file=str(self.path),
            reason=f"It does not hold {what}.",
            next_step="Resume the session that wrote it, or replay it with that session's options and version.",
        )
