"""How an audit was called, as its report says: what has to stand there before the call can be made again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from filiation.auditing import Request

#: A locator or a name: something, and no character that no file system or address takes.
Named = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]


@dataclass(frozen=True)
class GivenReport:
    """A comparison that was given as evidence: its file's name, without folders, and its SHA-256."""

    file: Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00/\\]+$")]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True)
class AuditCommand:
    """The ``command`` of an audit's report."""

    name: Literal["audit"]
    repository: Named
    against: list[Named] = field(default_factory=list[str])
    parents: list[Named] = field(default_factory=list[str])
    derived_on: Annotated[str, Field(max_length=40)] | None = None
    corpus: bool = True
    published_as: Named | None = None
    evidence: list[GivenReport] = field(default_factory=list[GivenReport])

    def request(self) -> Request:
        """Return the call; where the reports given as evidence are is for the caller to say."""
        return Request(
            self.repository,
            tuple(self.against),
            tuple(self.parents),
            self.derived_on,
            (),
            self.corpus,
            self.published_as,
        )
