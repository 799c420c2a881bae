"""A live session: endpoints asked within a budget, every exchange on disk before the next batch is planned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from filiation.endpoint.announcing import Announcement, agreed, commitment, resumed_log, run_record
from filiation.endpoint.budget import Budget, Ledger
from filiation.endpoint.capability import discover
from filiation.endpoint.client import Client, Endpoint, Exchange
from filiation.endpoint.dialects import Request, build
from filiation.endpoint.keys import LogGuard, Redactor
from filiation.endpoint.log import ExchangeLog
from filiation.endpoint.model import (
    Allowance,
    Answer,
    Call,
    Capabilities,
    EndpointRecord,
    Failure,
    Spent,
)
from filiation.endpoint.order import sending_order
from filiation.endpoint.patience import Patience
from filiation.endpoint.recorded import (
    CAPABILITY,
    Sending,
    answer_of,
    capabilities_of,
    exchange_record,
)
from filiation.errors import (
    AccessDeniedError,
    BudgetError,
    ConsentError,
    NetworkError,
    UsageError,
)
from filiation.evidence import plain


@dataclass(slots=True)
class _Known:
    """What is known of an endpoint by now."""

    client: Client
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(chat=False, completions=False))
    models: set[str] = field(default_factory=set[str])
    sent: int = 0


class Session:
    """Asks live endpoints; an :class:`~filiation.endpoint.model.Asker`. For one thread; use it as a context manager.

    Args:
        endpoints: roles must differ.
        seed: of the order in which requests are sent.
        consent: asked once, right before the first request.
        log: the file to write; with ``resume``, the log of the interrupted session, with the same arguments.
        about: plain JSON kept in the log's first line, for whoever replays it: the options of the run.
        capabilities: what is known of the endpoints already, by role; the others are found out on entering.

    Raises:
        UsageError: the arguments contradict each other. LogError: the log is of another run.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        budget: Budget,
        seed: int,
        consent: Callable[[Announcement], bool],
        log: Path | None = None,
        resume: bool = False,
        patience: Patience | None = None,
        about: Mapping[str, Any] | None = None,
        capabilities: Mapping[str, Capabilities] | None = None,
    ) -> None:
        roles = [e.role for e in endpoints]
        if len(set(roles)) < len(roles) or not roles:
            raise UsageError("Each endpoint needs a role of its own.", reason=f"Given: {', '.join(roles)}.")
        budget.check(roles)
        self._seed = seed
        self._consent = consent
        self._has_consent = False
        self._ledger = Ledger(budget, (patience or Patience()).clock)
        redact = Redactor(e.key for e in endpoints)
        self._guard = LogGuard(redact)
        self._known = {
            e.role: _Known(Client(e, patience or Patience(), self._ledger.try_once, redact))
            for e in endpoints
        }
        self._given = dict(capabilities or {})
        self._pool = ThreadPoolExecutor(budget.concurrency, thread_name_prefix="filiation-ask")
        self._lock = threading.Lock()
        self._batch = 0
        self._allowances = 0
        run = run_record(endpoints, budget, seed, about or {})
        self._recorded = resumed_log(log, run) if resume else None
        self._log = None if log is None else ExchangeLog(log, redact, resume=resume)
        self._guard.install()
        if self._recorded is not None:
            self._ledger.continue_from(self._recorded.seconds)
            self._write({"kind": "resumed"})
        else:
            self._write({**run, "time": datetime.now(UTC).isoformat(timespec="seconds")})

    def __enter__(self) -> Session:
        try:
            for role in self._known:
                self._discover(role)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not (self._recorded is not None and self._recorded.finished):
            self._write({"kind": "finished", "spent": plain(self.spent())})
        self.close()

    def close(self) -> None:
        """Close connections and log. What is on disk can be resumed."""
        for known in self._known.values():
            known.client.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for known in self._known.values():
            known.client.close()
        if self._log is not None:
            self._log.close()
        self._guard.remove()

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The endpoints by role, with the model names that they have returned so far."""
        return {
            role: EndpointRecord(
                role,
                known.client.endpoint.locator,
                known.client.endpoint.model,
                known.client.dialect.name,
                known.capabilities,
                tuple(sorted(known.models)),
            )
            for role, known in self._known.items()
        }

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        """Answer every call, in the order of ``calls``; see :class:`~filiation.endpoint.model.Asker`.

        A request for which no time or no retry was left is a Failure of code ``budget``.
        """
        return tuple(answer for answer, _ in self._ask([Sending(call) for call in calls]))

    def allowance(self) -> Allowance:
        """What is left of the budget; written to the log, so that a replay says the same."""
        recorded, turn = self._recorded, self._allowances
        self._allowances += 1
        if recorded is not None and turn < len(recorded.allowances):
            return recorded.allowances[turn]
        left = self._ledger.allowance()
        self._write({"kind": "allowance", "left": asdict(left)})
        return left

    def spent(self) -> Spent:
        """What was used by now."""
        return self._ledger.spent()

    def _discover(self, role: str) -> None:
        known = self._known[role]
        recorded = None if self._recorded is None else self._recorded.capabilities.get(role)
        if role in self._given:
            known.capabilities = self._given[role]
        elif recorded is not None:
            # The requests are asked for again, and answered from the log, so that the account is the same.
            known.capabilities = capabilities_of(recorded)
        if role not in self._given:
            found = discover(self._ask, role, known.client.dialect, self._seed)
            if found.silence is not None:
                raise NetworkError(
                    "The endpoint does not answer.",
                    file=known.client.endpoint.locator,
                    reason=f"{found.silence}.",
                    next_step="Check the address, the model's name and the dialect; then resume from the log.",
                )
            known.capabilities = found.capabilities if recorded is None else known.capabilities
            known.client.dialect = found.dialect
        if recorded is None:
            stated = plain(known.capabilities)
            line = {"role": role, "capabilities": stated, "dialect": known.client.dialect.name}
            self._write({"kind": "capabilities", **line, "batches": self._batch})

    def _ask(self, sendings: Sequence[Sending]) -> tuple[tuple[Answer | Failure, str], ...]:
        for sending in sendings:
            if sending.call.role not in self._known:
                raise UsageError("No endpoint has this role.", reason=f"Asked for {sending.call.role!r}.")
        batch, self._batch = self._batch, self._batch + 1
        if self._recorded is not None:
            self._recorded.refuse(batch)
        named = self._named(sendings)
        found = {name: e for name, s in named if (e := self._stored(name, s)) is not None}
        missing = [(name, s) for name, s in named if name not in found]
        try:
            self._ledger.admit([s.call for _, s in missing])
        except BudgetError as error:
            refused = {
                "batch": batch,
                "message": error.message,
                "reason": error.reason,
                "next": error.next_step,
            }
            self._write({"kind": "refused", **refused})
            raise
        for _, sending in named:
            self._known[sending.call.role].sent += 1
        if missing:
            self._agree()
            found |= self._send_all([missing[i] for i in self._order(missing, batch)])
        return tuple(self._told(name, sending, found[name]) for name, sending in named)

    def _named(self, sendings: Sequence[Sending]) -> list[tuple[str, Sending]]:
        turn = {role: known.sent for role, known in self._known.items()}
        named: list[tuple[str, Sending]] = []
        for sending in sendings:
            turn[sending.call.role] += 1
            named.append((f"{sending.call.role}#{turn[sending.call.role]}", sending))
        return named

    def _order(self, missing: Sequence[tuple[str, Sending]], batch: int) -> list[int]:
        return sending_order([s.call for _, s in missing], self._seed, batch)

    def _stored(self, name: str, sending: Sending) -> Exchange | None:
        """Return what the interrupted session got, and put it on the account.

        Asked again is what may have ended it: a denied request, and a failure before anything was known.
        """
        role = sending.call.role
        exchange = None if self._recorded is None else self._recorded.find(name, sending)
        if exchange is None or self._recorded is None:
            return None
        is_early = sending.call.test == CAPABILITY and role not in self._recorded.capabilities
        if exchange.failure is not None and (exchange.failure.code == "denied" or is_early):
            return None
        self._ledger.book(role, exchange.sent)
        self._settle(name, sending, exchange)
        return exchange

    def _agree(self) -> None:
        if not self._has_consent:
            clients = [k.client for k in self._known.values()]
            announcement = Announcement(
                tuple((c.endpoint.role, c.endpoint.locator, c.endpoint.model) for c in clients),
                tuple((c.endpoint.role, str(c.endpoint.key)) for c in clients if c.endpoint.key is not None),
                self._ledger.budget,
                None if self._log is None else self._log.path,
            )
            if not self._consent(announcement):
                raise ConsentError(
                    "Nothing was sent.",
                    reason="The requests were not agreed to.",
                    next_step="Agree when asked, or pass --yes.",
                )
            self._has_consent = True
        self._ledger.start()

    def _send_all(self, batch: Sequence[tuple[str, Sending]]) -> dict[str, Exchange]:
        futures: dict[Future[Exchange], str] = {}
        try:
            for name, sending in batch:
                futures[self._pool.submit(self._send, name, sending)] = name
            wait(futures, return_when=FIRST_EXCEPTION)
        except BaseException:  # Ctrl-C: what is on its way is cut off, what has come is in the log
            for known in self._known.values():
                known.client.stop()
            raise
        finally:
            for future in futures:
                future.cancel()
            wait(futures)
        failed = [error for f in futures if not f.cancelled() and (error := f.exception()) is not None]
        if failed:
            raise failed[0]
        return {name: future.result() for future, name in futures.items()}

    def _send(self, name: str, sending: Sending) -> Exchange:
        """Send one request; runs in a thread of the pool."""
        role = sending.call.role
        client = self._known[role].client
        request = build(client.dialect, sending.call.ask, client.endpoint.model)
        if request.lacking is None:
            streamed: dict[str, Any] = {}
            if client.endpoint.stream and client.dialect.protocol == "openai":
                streamed = {"stream": True, **(client.dialect.usage_in_streams or {})}
            request = Request(request.route, {**request.body, **streamed, **sending.extra})
        started = datetime.now(UTC)
        exchange = client.send(name, request)
        self._settle(name, sending, exchange)
        times = {
            "time": started.isoformat(timespec="milliseconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        }
        self._write({**exchange_record(name, sending, request.body, exchange), **times})
        if exchange.failure is not None and exchange.failure.code == "denied":
            raise AccessDeniedError(
                "The endpoint refuses the request.",
                file=client.endpoint.locator,
                reason=f"{exchange.failure.reason}.",
                next_step="Check the key, the account and the model's name; then resume from the log.",
            )
        return exchange

    def _settle(self, name: str, sending: Sending, exchange: Exchange) -> None:
        answer = answer_of(self._known[sending.call.role].client.dialect, name, exchange)
        if isinstance(answer, Answer):
            self._ledger.settle(sending.call.role, sending.call.ask, answer.usage)

    def _told(self, name: str, sending: Sending, exchange: Exchange) -> tuple[Answer | Failure, str]:
        known = self._known[sending.call.role]
        answer = answer_of(known.client.dialect, name, exchange)
        if isinstance(answer, Answer) and answer.model is not None:
            known.models.add(answer.model)
        return answer, exchange.text

    def _write(self, record: Mapping[str, Any]) -> None:
        if self._log is not None:
            self._log.append({**record, "elapsed": round(self._ledger.elapsed(), 3)})


__all__ = ["Announcement", "Session", "agreed", "commitment"]
