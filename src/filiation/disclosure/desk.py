"""The files of a repository as a patch edits them: card, notice and heads, and what files cannot do."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from filiation.disclosure.context import Context
from filiation.disclosure.frontedit import set_key
from filiation.disclosure.model import Parent, RuleResult

CARD = "README.md"
NOTICE = "NOTICE"


@dataclass(frozen=True, slots=True)
class Left:
    """Something owed that a patch of files cannot give: the rule, a phrase key, its values."""

    rule: str
    reason: str
    values: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, eq=False)
class Patch:
    """What would be changed.

    Attributes:
        files: new text by path.
        name: a name that would meet the naming rules, or None where the present one does.
        left: what the patch cannot do.
        diff: the same as a unified diff.
    """

    files: Mapping[str, str]
    name: str | None
    left: tuple[Left, ...]
    diff: str


class Desk:
    """The files as they are being edited."""

    def __init__(self, context: Context, words: Mapping[str, str]) -> None:
        self.context = context
        self.words = words
        self.left: list[Left] = []
        self.name: str | None = None
        self._new: dict[str, str] = {}
        self.card = context.papers.card.path if context.papers.card else CARD

    def text(self, path: str) -> str:
        """Return a file as edited so far; an empty one where there is none."""
        if path not in self._new and self.context.repository.readable(path):
            return self.context.repository.text(path)
        return self._new.get(path, "")

    def put(self, path: str, text: str) -> None:
        """Replace a file's text."""
        self._new[path] = text

    def has(self, path: str) -> bool:
        """Return whether a path is taken."""
        return path in self._new or path in self.context.repository.files

    def front(self, key: str, values: Sequence[str]) -> None:
        """Set a key of the card's front matter."""
        self.put(self.card, set_key(self.text(self.card), key, list(values)))

    def say(self, sentence: str) -> None:
        """Add a sentence below the attribution heading, once."""
        text = self.text(self.card)
        if sentence in text:
            return
        heading = self.words["heading"]
        if heading not in text.splitlines():
            text = f"{text.rstrip()}\n\n{heading}\n" if text.strip() else f"{heading}\n"
        self.put(self.card, f"{text.rstrip()}\n\n{sentence}\n")

    def notice(self, line: str) -> None:
        """Add a line to the notice file, once."""
        notices = self.context.papers.notices
        path = notices[0].path if notices else NOTICE
        text = self.text(path)
        if line not in text:
            self.put(path, f"{text.rstrip()}\n\n{line}\n" if text.strip() else f"{line}\n")

    def parent(self, result: RuleResult) -> Parent | None:
        """Return the parent that a result speaks of."""
        return next((p for p in self.context.parents if p.name == result.parent), None)

    def patch(self) -> Patch:
        """Return what was edited."""
        changed = {p: t for p, t in sorted(self._new.items()) if not self._as_before(p, t)}
        diff = "".join(self._difference(path, text) for path, text in changed.items())
        return Patch(changed, self.name, _once(self.left), diff)

    def _as_before(self, path: str, text: str) -> bool:
        repository = self.context.repository
        return repository.readable(path) and repository.text(path) == text

    def _difference(self, path: str, text: str) -> str:
        repository = self.context.repository
        there = repository.readable(path)
        old = repository.text(path).splitlines(keepends=True) if there else []
        lines = difflib.unified_diff(
            old, text.splitlines(keepends=True), f"a/{path}" if there else "/dev/null", f"b/{path}"
        )
        return "".join(x if x.endswith("\n") else f"{x}\n\\ No newline at end of file\n" for x in lines)


def _once(left: Sequence[Left]) -> tuple[Left, ...]:
    """Say the same thing once: two rules may both want a licence text."""
    seen: dict[tuple[str, str], Left] = {}
    for entry in left:
        seen[(entry.reason, str(sorted(entry.values.items())))] = entry
    return tuple(seen.values())
