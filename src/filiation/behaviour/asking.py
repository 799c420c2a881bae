"""How a test of statistics asks: rows of requests on one prompt, in batches, within the budget, with a tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from filiation.endpoint.model import Answer, Ask, Asker, Call, Failure, chat
from filiation.errors import BudgetError

T = TypeVar("T")
Row = Mapping[str, tuple[str, Ask]]
"""One prompt: by slot (``x``, ``y``, a control's name), which role is asked and what."""


class Enquiry:
    """Asks rows for one test and counts what it used.

    Args:
        asker: a live session or a replayed log.
        test: the name under which the requests count.
        batch: how many rows are sent together.
    """

    def __init__(self, asker: Asker, test: str, batch: int = 50) -> None:
        self._asker = asker
        self._test = test
        self._batch = batch
        self.requests = 0
        self.exhausted = False
        self.failures: Counter[str] = Counter()

    def rows(self, items: Sequence[T], make: Callable[[T], Row]) -> list[tuple[T, dict[str, Answer]]]:
        """Ask the row of every item; return the items with the answers by slot, in order.

        A row with a failure is left out. Asking ends where the budget does: :attr:`exhausted` says so, and fewer rows
        come back.
        """
        complete: list[tuple[T, dict[str, Answer]]] = []
        for start in range(0, len(items), self._batch):
            some = [(item, make(item)) for item in items[start : start + self._batch]]
            affordable = self._affordable([row for _, row in some])
            self.exhausted = affordable < len(some)
            if affordable:
                complete += self._send(some[:affordable])
            if self.exhausted:
                break
        return complete

    def within(self, wanted: int, each: float) -> int:
        """Return how many of ``wanted`` prompts the requests that are left allow, at ``each`` requests a prompt."""
        left = self._asker.allowance().requests
        return wanted if left is None else min(wanted, int(left / each))

    def _affordable(self, rows: Sequence[Row]) -> int:
        left = self._asker.allowance()
        requests = tokens = 0
        for count, row in enumerate(rows):
            requests += len(row)
            tokens += sum(ask.max_tokens * ask.n for _, ask in row.values())
            over = left.requests is not None and requests > left.requests
            if over or (left.tokens is not None and tokens > left.tokens):
                return count
        return len(rows)

    def _send(self, rows: Sequence[tuple[T, Row]]) -> list[tuple[T, dict[str, Answer]]]:
        calls = [Call(role, ask, self._test) for _, row in rows for role, ask in row.values()]
        try:
            answers = iter(self._asker.ask(calls))
        except BudgetError:  # prompt tokens, seconds or money, which only the session can reckon
            self.exhausted = True
            return []
        complete: list[tuple[T, dict[str, Answer]]] = []
        for item, row in rows:
            got = {slot: (role, next(answers)) for slot, (role, _) in row.items()}
            asked = [each for each in got.values() if not _is_unasked(each[1])]
            self.requests += len(asked)
            self.failures.update(role for role, answer in asked if not isinstance(answer, Answer))
            kept = {slot: answer for slot, (_, answer) in got.items() if isinstance(answer, Answer)}
            if len(kept) == len(row):
                complete.append((item, kept))
        return complete


def _is_unasked(answer: Answer | Failure) -> bool:
    return isinstance(answer, Failure) and answer.code == "unasked"


def missing(asker: Asker, roles: Sequence[str]) -> str | None:
    """Return the first of ``roles`` that no endpoint plays, or ``None``."""
    return next((role for role in roles if role not in asker.records), None)


def thinks(asker: Asker, roles: Sequence[str]) -> bool:
    """Return whether one of the endpoints reasons before it answers: its first token is then no answer."""
    return any(asker.records[role].capabilities.reasoning for role in roles if role in asker.records)


class Form(StrEnum):
    """In which of two ways a text is put to everybody, so that all answer the same question."""

    CHAT = "chat"
    RAW = "raw"


def form(asker: Asker, roles: Sequence[str], first: Form = Form.CHAT) -> Form | None:
    """Return the form that all of ``roles`` can take, ``first`` where there is a choice; ``None`` where none is."""
    able = [asker.records[role].capabilities for role in roles]
    both = {Form.CHAT: all(a.chat for a in able), Form.RAW: all(a.completions for a in able)}
    return next((each for each in (first, *Form) if both[each]), None)


def worded(form: Form, text: str, instruction: str = "", **options: Any) -> Ask:
    """Return the request for ``text``; ``instruction`` goes before it in a conversation and is left out of raw text."""
    return Ask(prompt=text, **options) if form is Form.RAW else chat(instruction + text, **options)


def obstacle(asker: Asker, roles: Sequence[str], *, one_word: bool = True) -> str | None:
    """Return why ``roles`` cannot be asked, as a phrase key; ``None`` where they can.

    Args:
        asker: whose endpoints they are.
        roles: all who take part.
        one_word: whether the first words of an answer are what is read: not to be had from a model that thinks first.
    """
    if missing(asker, roles):
        return "endpoint_absent"
    if one_word and thinks(asker, roles):
        return "reasoning_model"
    return None if form(asker, roles) else "no_common_interface"
