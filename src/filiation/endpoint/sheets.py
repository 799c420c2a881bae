"""Chat sites that have no API: a sheet of questions to be asked by hand, and the same sheet with answers pasted in.

A sheet is plain text. Each question stands between two marks; what is pasted under the second mark is its answer::

    [[question 3 1f0c9a2b]]
    Name a river.
    [[answer 3 1f0c9a2b]]
    The Loire.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filiation.endpoint.model import (
    Allowance,
    Answer,
    Ask,
    Call,
    Capabilities,
    EndpointRecord,
    Failure,
    Speaker,
)
from filiation.errors import BudgetError, InputError, StorageError

SHEET = "sheet"
"""What stands in place of a dialect where a person asked."""
_ABOUT = re.compile(r"^\[\[sheet (\{.*\})\]\][ \t]*$", re.MULTILINE)
_MARK = re.compile(r"\[\[(question|answer) (\d+) ([0-9a-f]{8})\]\]")
_HEAD = """\
Questions for a chat site, written by filiation. Site: {site}

Ask every question in a new chat, in this order, exactly as it stands here, without search or tools. Paste the whole
answer under its mark, unchanged. A question that cannot be asked stays without an answer. Leave the marks as they are.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A question of a sheet; ``mark`` tells it from all others, and equal questions from each other."""

    number: int
    mark: str
    question: str
    answer: str | None = None


class _Sheet:
    """What writing and reading share: one role, text only, questions told apart by request and turn."""

    def __init__(self, role: str, site: str, locator: str) -> None:
        self._role = role
        able = Capabilities(chat=True, completions=False, notes=("filled_by_hand",))
        self._record = EndpointRecord(role, locator, site, SHEET, able)
        self._turns: Counter[str] = Counter()
        self._asked = 0

    @property
    def records(self) -> Mapping[str, EndpointRecord]:
        """The site, under its role."""
        return {self._role: self._record}

    def _next(self, call: Call) -> tuple[str, str, str | None]:
        """Return the name of a request, its mark, and its words; None where no person can ask it so."""
        self._asked += 1
        key = call.ask.key()
        turn = self._turns[key]
        self._turns[key] += 1
        mark = key[:8] if not turn else f"{int(key[:8], 16) ^ (turn * 0x9E3779B1 & 0xFFFFFFFF):08x}"
        return f"{call.role}#{self._asked}", mark, _words(call.ask)


class QuestionSheet(_Sheet):
    """Collects what the tests would ask; an :class:`~filiation.endpoint.model.Asker` that knows no answer yet.

    Args:
        site: the site's name, as the report will call it.
        most: questions that a person is asked to put.
        seed: of the order in which they stand on the sheet.

    :attr:`tests` counts the questions by the test that asks them.
    """

    def __init__(self, role: str, site: str, *, most: int = 60, seed: int = 0) -> None:
        super().__init__(role, site, f"sheet:{site}")
        self._most = most
        self._seed = seed
        self._entries: list[tuple[str, str]] = []
        self.tests: Counter[str] = Counter()

    def ask(self, calls: Sequence[Call]) -> tuple[Failure, ...]:
        """Write the questions down; each is a Failure of code ``empty`` for now.

        Raises:
            BudgetError: they are more than a person is asked to put. None of them is on the sheet.
        """
        if len(self._entries) + len(calls) > self._most:
            raise BudgetError(
                "The sheet would have too many questions.",
                reason=f"{len(self._entries) + len(calls)} of at most {self._most}.",
                next_step="Allow more questions.",
            )
        failures: list[Failure] = []
        for call in calls:
            name, mark, words = self._next(call)
            if words is not None:
                self._entries.append((mark, words))
                self.tests[call.test] += 1
            failures.append(_refused(name) if words is None else _open(name))
        return tuple(failures)

    def allowance(self) -> Allowance:
        """How many more questions there may be."""
        return Allowance(requests=self._most - len(self._entries))

    def entries(self) -> tuple[Entry, ...]:
        """Return the sheet's questions, in its order."""
        shuffled = list(self._entries)
        random.Random(f"{self._seed}/sheet").shuffle(shuffled)
        return tuple(Entry(i, mark, words) for i, (mark, words) in enumerate(shuffled, 1))

    def write(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the sheet; ``about`` is plain JSON that it keeps for whoever reads the answers.

        Raises:
            StorageError: the file exists already, or cannot be written.
        """
        parts = [_HEAD.format(site=self._record.model)]
        if about is not None:
            parts.append(f"[[sheet {json.dumps(about, sort_keys=True, ensure_ascii=False)}]]\n")
        for entry in self.entries():
            where = f"{entry.number} {entry.mark}"
            parts.append(f"[[question {where}]]\n{entry.question}\n[[answer {where}]]\n")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write("\n".join(parts))
        except OSError as error:
            raise StorageError(
                "The sheet cannot be written.",
                file=str(path),
                reason=f"{error.strerror or type(error).__name__}.",
                next_step="Give another name: a sheet may hold answers already, and is not overwritten.",
            ) from error


class AnswerSheet(_Sheet):
    """A sheet with answers; an :class:`~filiation.endpoint.model.Asker`.

    Args:
        text: what the sheet holds, where it was read before; a log keeps it.

    Raises:
        InputError: the file is no sheet, or its marks were altered.
    """

    def __init__(self, role: str, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = _text(path) if text is None else text
        site = re.search(r"^Questions for a chat site.*Site: (.*)$", self.text, re.MULTILINE)
        super().__init__(role, site[1].strip() if site else path.stem, f"sheet:{path.name}")
        self._entries = {entry.mark: entry for entry in _entries(path, self.text)}
        self._answered: set[str] = set()

    @property
    def about(self) -> Mapping[str, Any]:
        """What the sheet was told to keep.

        Raises:
            InputError: it keeps nothing, or that line was altered.
        """
        found = _ABOUT.search(self.text)
        try:
            about: object = json.loads(found[1]) if found else None
        except ValueError:
            about = None
        if not isinstance(about, dict):
            raise _altered(self.path, "The line that says what it was written for is missing or was altered.")
        return cast("Mapping[str, Any]", about)

    @property
    def answered(self) -> int:
        """How many questions have been asked for and had an answer."""
        return len(self._answered)

    def is_open(self, ask: Ask) -> bool:
        """Whether the question stands on the sheet and nobody has answered it."""
        entry = self._entries.get(ask.key()[:8])
        return entry is not None and not entry.answer

    def ask(self, calls: Sequence[Call]) -> tuple[Answer | Failure, ...]:
        """Answer from the sheet; a question without an answer is a Failure of code ``empty``.

        Raises:
            InputError: a question on the sheet was altered.
        """
        return tuple(self._answer(call) for call in calls)

    def allowance(self) -> Allowance:
        """How many questions of the sheet have not been asked for."""
        return Allowance(requests=max(0, len(self._entries) - self._asked))

    def _answer(self, call: Call) -> Answer | Failure:
        name, mark, words = self._next(call)
        if words is None:
            return _refused(name)
        entry = self._entries.get(mark)
        if entry is None or not entry.answer:
            return _open(name)
        if entry.question.split() != words.split():
            raise InputError(
                "A question on the sheet was altered.",
                file=str(self.path),
                reason=f"Question {entry.number} is not the one that was written.",
                next_step="Write the sheet again, and leave its questions as they are.",
            )
        self._answered.add(mark)
        return Answer(name, (entry.answer,), model=None)


def _words(ask: Ask) -> str | None:
    """Return what a person would type; None for what no chat site can do."""
    can = ask.prompt is None and len(ask.messages) == 1 and ask.messages[0].speaker is Speaker.USER
    plain = ask.top_logprobs is None and not ask.token_ids and not ask.prompt_logprobs and ask.n == 1
    return ask.messages[0].text.strip() if can and plain else None


def _refused(name: str) -> Failure:
    return Failure(name, "refused", "a chat site cannot be asked so")


def _open(name: str) -> Failure:
    return Failure(name, "empty", "the sheet holds no answer to it")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "The sheet cannot be read.",
            file=str(path),
            reason="It is not UTF-8 text." if isinstance(error, UnicodeDecodeError) else f"{error.strerror}.",
            next_step="Check the path, and save the sheet as plain text.",
        ) from error


def _entries(path: Path, text: str) -> list[Entry]:
    """Cut a sheet at its marks."""
    questions: dict[str, tuple[int, list[str]]] = {}
    answers: dict[str, list[str]] = {}
    into: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        match = _MARK.fullmatch(line.strip())
        if match is None:
            into.append(line)
            continue
        kind, position, mark = match[1], int(match[2]), match[3]
        if mark in (questions if kind == "question" else answers) or (
            kind == "answer" and mark not in questions
        ):
            raise _altered(path, f"Line {number}: the mark {match[0]} stands where none was written.")
        into = []
        if kind == "question":
            questions[mark] = (position, into)
        else:
            answers[mark] = into
    if not questions or questions.keys() != answers.keys():
        raise _altered(path, "A question or an answer has no mark.")
    return [
        Entry(position, mark, "\n".join(lines).strip(), "\n".join(answers[mark]).strip() or None)
        for mark, (position, lines) in questions.items()
    ]


def _altered(path: Path, reason: str) -> InputError:
    return InputError(
        "The file is not a sheet of questions, or its marks were altered.",
        file=str(path),
        reason=reason,
        next_step="Write the sheet again with --questions, and paste answers under their marks.",
    )
