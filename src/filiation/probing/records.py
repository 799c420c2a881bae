"""The report of a probe: what was asked of whom, each test, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from filiation.behaviour.records import ProbeTest
from filiation.endpoint.model import EndpointRecord, Spent
from filiation.evidence import PROBE_SCHEMA, Evidence, ModelRecord, ProbeVerdict, plain


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A tokenizer that the counts were held against, pinned by the SHA-256 of its file."""

    name: str
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Who was asked, and what was at hand to hold the answers against.

    ``checkpoints`` are the local models by role (a candidate's output layer, a local reference); ``identity`` says
    which roles are one model; ``files`` holds the SHA-256 of the files of questions, by option.
    """

    suspect: EndpointRecord
    others: tuple[EndpointRecord, ...] = ()
    checkpoints: Mapping[str, ModelRecord] = field(default_factory=dict[str, ModelRecord])
    tokenizers: tuple[TokenizerFile, ...] = ()
    identity: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Commitment:
    """The seed that every probe was made from, and its SHA-256, which the log held before the first of them."""

    seed: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found. Equal exchanges give equal bytes (:func:`filiation.evidence.to_json`)."""

    tool: Mapping[str, str]
    command: Mapping[str, Any]
    models: Asked
    verdict: ProbeVerdict
    tests: tuple[ProbeTest, ...]
    evidence: tuple[Evidence, ...]
    spent: Spent
    commitment: Commitment
    log_sha256: str
    limits: tuple[str, ...]
    validation: Mapping[str, Any] | None = None
    schema: str = PROBE_SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return plain(self)


@cache
def probe_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a probe's canonical JSON."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(ProbeReport).json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = PROBE_SCHEMA
    schema["additionalProperties"] = True
    return schema
