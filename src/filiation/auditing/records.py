"""The records of an audit: what was examined, what each wing found, and the report that holds them.

The wings' own records are published as they are; :func:`audit_schema` is their JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from filiation.disclosure import RuleResult
from filiation.evidence import AUDIT_SCHEMA, AuditVerdict, Claim, Duty, Evidence, Place, plain
from filiation.repository import RepositoryFile
from filiation.source import CopiedFrom, Disclosed, FileFound, HeaderFinding, Level, Match, RenameMap
from filiation.tokenizer import Explanation, TokenizerRelation
from filiation.traces import Trace


@dataclass(frozen=True, slots=True)
class History:
    """How many commits are known, and the first and last of them (ISO 8601, as their authors' machines said)."""

    commits: int
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """A repository that was examined, pinned as well as it can be.

    ``digest`` is the SHA-256 over the path, size and identity of every file. ``notes`` are pairs of path and phrase
    key: what was left out, and why.
    """

    locator: str
    name: str
    digest: str
    files: tuple[RepositoryFile, ...]
    revision: str | None = None
    history: History | None = None
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """The repository in question and those it was compared with, in the caller's order."""

    suspect: RepositoryRecord
    references: tuple[RepositoryRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """What the wing source found: ``level`` is the strongest of ``files``, ``rename_map`` that of its file."""

    level: Level
    files: tuple[FileFound, ...] = ()
    matches: tuple[Match, ...] = ()
    rename_map: RenameMap = field(default_factory=RenameMap)
    headers: tuple[HeaderFinding, ...] = ()
    copied_from: tuple[CopiedFrom, ...] = ()
    disclosed: tuple[Disclosed, ...] = ()
    corpus: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class TokenizerComparison:
    """How the suspect's tokenizer is related to that of one reference."""

    reference: int
    relation: TokenizerRelation
    numbers: Mapping[str, Any]
    explanation: tuple[Explanation, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizerRecord:
    """What the wing tokenizer found.

    ``relation`` is the closest of ``comparisons``, and ``reference`` whose it is; without a reference it is
    ``cannot_tell``. ``recognised`` are the public tokenizers that the suspect's is or holds.
    """

    relation: TokenizerRelation
    reference: int | None = None
    comparisons: tuple[TokenizerComparison, ...] = ()
    recognised: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParentRecord:
    """A model or code base that the rules were asked about: why, and which licences bind whoever takes from it.

    ``open`` are licences of which one holds and the day, or the size, does not say which.
    """

    name: str
    basis: tuple[str, ...]
    relation: str | None = None
    licences: tuple[str, ...] = ()
    code_licences: tuple[str, ...] = ()
    open: tuple[str, ...] = ()
    when: str | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class NotExamined:
    """Something that was left out: by which head of the audit, where, and why (a phrase key).

    ``reference`` is the number of the reference it belongs to; null for the suspect's own.
    """

    head: str
    path: str
    why: str
    reference: int | None = None


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit found. Equal inputs give equal bytes (:func:`filiation.evidence.to_json`)."""

    tool: Mapping[str, str]
    command: Mapping[str, Any]
    models: Examined
    verdict: AuditVerdict
    traces: tuple[Trace, ...]
    source: SourceRecord
    tokenizer: TokenizerRecord
    claims: tuple[Claim, ...]
    parents: tuple[ParentRecord, ...]
    rules: tuple[RuleResult, ...]
    duties: tuple[Duty, ...]
    evidence: tuple[Evidence, ...]
    not_examined: tuple[NotExamined, ...]
    limits: tuple[str, ...]
    validation: Mapping[str, Any] | None = None
    schema: str = AUDIT_SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return plain(self)


@cache
def audit_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an audit's canonical JSON."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(AuditReport).json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = AUDIT_SCHEMA
    schema["additionalProperties"] = True
    return schema
