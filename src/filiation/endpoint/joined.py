"""A sheet and live endpoints as one: a person asked a chat site, and the others are asked the same questions now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from filiation.endpoint.model import (
    Allowance,
    Answer,
    Asker,
    Call,
    Capabilities,
    EndpointRecord,
    Failure,
)
from filiation.endpoint.sheets import AnswerSheet, QuestionSheet


class Joined:
    """Answers from a sheet for its role, and from a session or its log for all others; an :class:`Asker`.

    A question that stands on the sheet without an answer is asked of nobody else: its prompt is lost anyway.
    """

    def __init__(self, sheet: AnswerSheet, others: Asker) -> None:
        self._sheet = sheet
        self._others = others

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The site first, then the others by role."""
        return {**self._sheet.records, **self._others.records}

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        """Answer every call; see :class:`~filiation.endpoint.model.Asker`.

        Raises:
            BudgetError, AccessDeniedError: as the others raise it. InputError: a question on the sheet was altered.
        """
        by_hand = [call for call in calls if call.role in self._sheet.records]
        open_ = {call.ask.key() for call in calls if self._sheet.is_open(call.ask)}
        live = [c for c in calls if c.role not in self._sheet.records and c.ask.key() not in open_]
        # First those who may refuse: then nothing of the batch has been taken from the sheet either.
        told = iter(self._others.ask(live) if live else ())
        read = iter(self._sheet.ask(by_hand))
        answers: list[Answer | Failure] = []
        for call in calls:
            if call.role in self._sheet.records:
                answers.append(next(read))
            elif call.ask.key() in open_:
                answers.append(Failure(call.role, "unasked", "the sheet holds no answer to it"))
            else:
                answers.append(next(told))
        return tuple(answers)

    def allowance(self) -> Allowance:
        """What is left for the others; questions on the sheet cost nothing, but count as if they did."""
        return self._others.allowance()


class Planned:
    """Writes a sheet's questions down while the others, who are asked later, are silent; an :class:`Asker`.

    Args:
        roles: those who will be asked beside the site, taken to be able to talk.
    """

    def __init__(self, sheet: QuestionSheet, roles: Sequence[str]) -> None:
        self._sheet = sheet
        able = Capabilities(chat=True, completions=False)
        self._others = {role: EndpointRecord(role, "", role, "", able) for role in roles}

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The site first, then the others by role."""
        return {**self._sheet.records, **self._others}

    def ask(self, calls: Sequence[Call]) -> tuple[Failure, ...]:
        """Write down what the site is to be asked; nobody answers yet.

        Raises:
            BudgetError: they are more than a person is asked to put.
        """
        mine = iter(self._sheet.ask([call for call in calls if call.role not in self._others]))
        silent = "asked when the sheet has answers"
        return tuple(
            Failure(call.role, "unasked", silent) if call.role in self._others else next(mine)
            for call in calls
        )

    def allowance(self) -> Allowance:
        """No bound but the sheet's own, which counts the site's questions alone."""
        return Allowance()
