"""Licence expressions: ``A AND B``, ``A OR B``, ``A WITH X``, brackets. Own: three operators need no library."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_MAX_TOKENS = 200
_MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Expression:
    """A licence expression in its alternatives: one tuple of licences for each way to choose among ``OR``.

    ``exceptions`` are the names behind ``WITH``.
    """

    alternatives: tuple[tuple[str, ...], ...]
    exceptions: tuple[str, ...] = ()

    @property
    def single(self) -> str | None:
        """The one licence, where it names just one."""
        names = self.names
        return names[0] if len(names) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """Every licence named, in order, once."""
        return tuple(dict.fromkeys(name for way in self.alternatives for name in way))


def parse(text: str) -> Expression | None:
    """Return an expression; a plain name is one too.

    Returns:
        None: it cannot be read (unbalanced, too long, an operator without a name), which means *unknown*.
    """
    tokens = _TOKEN.findall(text[:4000])
    if not tokens or len(tokens) > _MAX_TOKENS:
        return None
    reader = _Reader(tokens)
    try:
        ways = reader.choice(0)
    except ValueError:
        return None
    return Expression(ways, tuple(reader.exceptions)) if reader.done else None


Ways = tuple[tuple[str, ...], ...]


class _Reader:
    """Recursive descent over the tokens; ``AND`` binds closer than ``OR``."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0
        self.exceptions: list[str] = []

    @property
    def done(self) -> bool:
        return self._at == len(self._tokens)

    def choice(self, depth: int) -> Ways:
        ways = self._both(depth)
        while self._next_is("or"):
            ways += self._both(depth)
            if len(ways) > _MAX_TOKENS:
                raise ValueError("too many alternatives")
        return ways

    def _both(self, depth: int) -> Ways:
        ways = self._one(depth)
        while self._next_is("and"):
            more = self._one(depth)
            if len(ways) * len(more) > _MAX_TOKENS:
                raise ValueError("too many alternatives")
            ways = tuple(a + b for a in ways for b in more)
        return ways

    def _one(self, depth: int) -> Ways:
        if depth > _MAX_DEPTH or self.done:
            raise ValueError("too deep, or a name is missing")
        token = self._take()
        if token == "(":
            inner = self.choice(depth + 1)
            if self.done or self._take() != ")":
                raise ValueError("a bracket is not closed")
            return inner
        if token == ")" or token.lower() in {"and", "or", "with"}:
            raise ValueError("an operator stands where a name should")
        if self._next_is("with"):
            if self.done:
                raise ValueError("an exception is missing")
            self.exceptions.append(self._take())
        return ((token,),)

    def _take(self) -> str:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _next_is(self, word: str) -> bool:
        if not self.done and self._tokens[self._at].lower() == word:
            self._at += 1
            return True
        return False
