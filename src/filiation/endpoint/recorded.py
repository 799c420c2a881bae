"""What a log remembers of a session, in the order in which the session's tests will ask for it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from filiation.endpoint.client import Exchange, Try
from filiation.endpoint.dialects import Dialect, read
from filiation.endpoint.log import Record, pack, placed_records, record_at, unpack
from filiation.endpoint.model import Allowance, Answer, Call, Capabilities, Failure, Support
from filiation.errors import BudgetError, LogError

CAPABILITY = "capability"
"""The test name of the requests that find out what an endpoint can do."""


@dataclass(frozen=True, slots=True)
class Sending:
    """A call as it is sent: with body fields that no test asks for, as the capability probe does."""

    call: Call
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def key(self) -> str:
        """Return the key of the request; that of the ask where nothing is added."""
        if not self.extra:
            return self.call.ask.key()
        words = json.dumps(self.extra, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{self.call.ask.key()}{words}".encode()).hexdigest()


def answer_of(dialect: Dialect, name: str, exchange: Exchange) -> Answer | Failure:
    """Return what an exchange says; the same live and from the log."""
    return exchange.failure or exchange.answer or read(dialect, name, exchange.text)


def exchange_record(
    name: str, sending: Sending, body: Mapping[str, Any], exchange: Exchange
) -> dict[str, Any]:
    """Return the line of the log for an exchange."""
    return {
        "kind": "exchange",
        "request": name,
        "role": sending.call.role,
        "test": sending.call.test,
        "key": sending.key(),
        "body": body,
        "status": exchange.status,
        "headers": dict(exchange.headers),
        "tries": [asdict(t) for t in exchange.tries],
        "sent": exchange.sent,
        "failure": None if exchange.failure is None else asdict(exchange.failure),
        **pack(exchange.text),
    }


def exchange_of(record: Record, path: Path) -> Exchange:
    """Return the exchange of a line of the log.

    Raises:
        LogError: the line is damaged.
    """
    if "place" in record:
        record = record_at(path, record["place"])
    try:
        failure = record["failure"]
        return Exchange(
            record["status"],
            dict(record["headers"]),
            unpack(record, path),
            tuple(Try(**t) for t in record["tries"]),
            None if failure is None else Failure(**failure),
            record["sent"],
        )
    except (KeyError, TypeError) as error:
        raise LogError(
            "The log is damaged.",
            file=str(path),
            reason=f"The exchange {record.get('request')!r} is not complete.",
            next_step="Use the log as it was written.",
        ) from error


@dataclass(slots=True)
class Recorded:
    """A log, taken apart.

    Attributes:
        run: its first line.
        exchanges: lines by request name; the last one counts, as a denied request is asked again after a resume.
        allowances: what tests were told, in order.
        refused: batches that the budget did not allow, by number.
        capabilities: by role.
        seconds: how long the session had been running at its last line.
        spent: what it had used when it came to its end.
    """

    path: Path
    run: Record
    exchanges: dict[str, Record] = field(default_factory=dict[str, Record])
    allowances: list[Allowance] = field(default_factory=list[Allowance])
    refused: dict[int, Record] = field(default_factory=dict[int, Record])
    capabilities: dict[str, Record] = field(default_factory=dict[str, Record])
    finished: bool = False
    seconds: float = 0.0
    spent: Record = field(default_factory=dict[str, Any])

    @classmethod
    def load(cls, path: Path) -> Recorded:
        """Read a log.

        Raises:
            LogError: it is none, or damaged.
        """
        records = placed_records(path)
        found = cls(path, next(records)[1])
        for place, record in records:
            found._add(place, record)
        return found

    def _add(self, place: int, record: Record) -> None:
        kind = record.get("kind")
        self.seconds = max(self.seconds, float(record.get("elapsed", 0.0)))
        try:
            if kind == "exchange":
                # A long body stays where it is: hundreds of whole vocabularies do not fit into memory.
                kept = {k: v for k, v in record.items() if k != "packed"}
                self.exchanges[record["request"]] = {**kept, "place": place} if "packed" in record else record
            elif kind == "allowance":
                self.allowances.append(Allowance(**record["left"]))
            elif kind == "refused":
                self.refused[record["batch"]] = record
            elif kind == "capabilities":
                self.capabilities[record["role"]] = record
            elif kind == "finished":
                self.finished = True
                self.spent = record["spent"]
        except (KeyError, TypeError) as error:
            raise LogError(
                "The log is damaged.", file=str(self.path), reason=f"A line of kind {kind!r} is not complete."
            ) from error

    def refuse(self, batch: int) -> None:
        """Raise BudgetError where the live session raised it."""
        refused = self.refused.get(batch)
        if refused is not None:
            raise BudgetError(refused["message"], reason=refused["reason"], next_step=refused["next"])

    def find(self, name: str, sending: Sending) -> Exchange | None:
        """Return the exchange of that name, None where the log has none.

        Raises:
            LogError: under that name, something else was asked.
        """
        record = self.exchanges.get(name)
        if record is None:
            return None
        if record.get("key") != sending.key():
            raise LogError(
                "The log is of another run.",
                file=str(self.path),
                reason=f"Under {name} it holds another request than these options, seed and version lead to.",
                next_step="Use the options of the run that wrote it, and the version of filiation that it names.",
            )
        return exchange_of(record, self.path)


def capabilities_of(record: Record) -> Capabilities:
    """Return the capabilities that a line of the log holds."""
    stated = dict(record["capabilities"])
    for name in ("token_logprob_ids", "prompt_logprobs", "prompt_ids", "seed", "n", "include_usage"):
        stated[name] = Support(stated[name])
    stated["notes"] = tuple(stated.get("notes", ()))
    known = {f.name for f in fields(Capabilities)}
    return Capabilities(**{k: v for k, v in stated.items() if k in known})
